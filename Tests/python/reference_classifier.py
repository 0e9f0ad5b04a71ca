"""A token classifier in float64 NumPy, written down as docs/classifier.md states it; and texts for
it to learn from."""

import random

import numpy

MASK = (1 << 64) - 1


def split_mix(seed):
    """The numbers of SplitMix64."""
    while True:
        seed = (seed + 0x9E3779B97F4A7C15) & MASK
        z = seed
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
        yield z ^ (z >> 31)


def shuffle(order, numbers):
    for last in range(len(order) - 1, 0, -1):
        place = next(numbers) * (last + 1) >> 64
        order[last], order[place] = order[place], order[last]


def labels(model, text, marked):
    """1 for each token that shares a character with a marked range."""
    return [
        float(any(max(begin, start) < min(end, stop) for start, stop in marked))
        for begin, end in model.encode(text).spans
    ]


class Reference:
    """p(marked | token), from the encoder's state of the token."""

    def __init__(
        self, model, comments, *, passes=40, rate=0.02, decay=1e-3, batch_size=512, max_ids=512,
        seed=0,
    ):  # fmt: skip
        self.model = model
        texts = [(text, ranges) for text, ranges in comments if text.strip()]
        states = [numpy.asarray(model.encoder_states(text)) for text, _ in texts]
        if max_ids < 512:
            states = [
                numpy.asarray(model.encoder_states(model.encode(text).ids[:max_ids]))
                for text, _ in texts
            ]
        x = numpy.concatenate(states).astype(numpy.float64)
        y = numpy.concatenate([labels(model, *comment)[:max_ids] for comment in texts])
        self.mean, self.scale = x.mean(0), x.std(0) + 1e-6
        x = (x - self.mean) / self.scale
        weight = numpy.where(y > 0, 0.5 / y.mean(), 0.5 / (1 - y.mean()))
        w = numpy.zeros(x.shape[1] + 1)
        first, second = numpy.zeros_like(w), numpy.zeros_like(w)
        order, numbers, count = list(range(len(y))), split_mix(seed), 0
        for _ in range(passes):
            shuffle(order, numbers)
            for begin in range(0, len(y), batch_size):
                rows = order[begin : begin + batch_size]
                error = (self.sigmoid(x[rows] @ w[:-1] + w[-1]) - y[rows]) * weight[rows]
                error /= len(rows)
                gradient = numpy.append(x[rows].T @ error + decay * w[:-1], error.sum())
                count += 1
                first = 0.9 * first + 0.1 * gradient
                second = 0.999 * second + 0.001 * gradient**2
                step = first / (1 - 0.9**count)
                w = w - rate * step / (numpy.sqrt(second / (1 - 0.999**count)) + 1e-8)
        self.w, self.tokens, self.marked = w, len(y), int(y.sum())
        scores = x @ w[:-1] + w[-1]
        losses = numpy.logaddexp(0, numpy.where(y > 0, -scores, scores))
        self.loss = float((losses * weight).mean())

    @staticmethod
    def sigmoid(scores):
        return 1 / (1 + numpy.exp(-numpy.clip(scores, -30, 30)))

    def probabilities(self, text):
        states = numpy.asarray(self.model.encoder_states(text), numpy.float64)
        return self.sigmoid((states - self.mean) / self.scale @ self.w[:-1] + self.w[-1])

    def spans(self, text, threshold=0.5):
        """Runs of tokens at or above the threshold, as characters of the text."""
        found = []
        for (begin, end), p in zip(self.model.encode(text).spans, self.probabilities(text)):
            while begin < end and text[begin].isspace():
                begin += 1
            while begin < end and text[end - 1].isspace():
                end -= 1
            if p < threshold or begin >= end:
                continue
            if found and not text[found[-1][1] : begin].strip():
                found[-1] = (found[-1][0], end)
            else:
                found.append((begin, end))
        return found


def marked_comments(count):
    """Sentences of seven words, of which one is marked."""
    rng = random.Random(1)
    text = "you are a very good reader of files and the system has many naïve tools for data"
    fine = text.split()
    comments = []
    for _ in range(count):
        words = [rng.choice(fine) for _ in range(7)]
        place = rng.randrange(7)
        words[place] = rng.choice(["stupid", "terrible", "broken"])
        begin = len(" ".join(words[:place])) + (place > 0)
        comments.append((" ".join(words), [(begin, begin + len(words[place]))]))
    return comments
