"""The optimizers and schedules in NumPy, in double, as plain as they can be written."""

import numpy


class AdamW:
    """PyTorch's constants; decay is decoupled, towards `reference`."""

    def __init__(self, rate, decay=0.0):
        self.rate, self.decay, self.steps, self.moments = rate, decay, 0, {}

    def step(self, name, weight, gradient, reference=0.0):
        m, v = self.moments.get(name, (0.0, 0.0))
        t = self.steps + 1
        m = 0.9 * m + 0.1 * gradient
        v = 0.999 * v + 0.001 * gradient**2
        self.moments[name] = (m, v)
        update = m / (1 - 0.9**t) / (numpy.sqrt(v / (1 - 0.999**t)) + 1e-8)
        return weight - self.rate * update - self.rate * self.decay * (weight - reference)


class SGD:
    """PyTorch's momentum; decay is decoupled, towards `reference`."""

    def __init__(self, rate, decay=0.0, momentum=0.9):
        self.rate, self.decay, self.momentum = rate, decay, momentum
        self.steps, self.velocity = 0, {}

    def step(self, name, weight, gradient, reference=0.0):
        velocity = self.momentum * self.velocity.get(name, 0.0) + gradient
        self.velocity[name] = velocity
        return weight - self.rate * (velocity + self.decay * (weight - reference))


class Adafactor:
    """T5X's: Shazeer and Stern (2018), algorithms 4 and 5, without momentum."""

    def __init__(self, rate, decay=0.0):
        self.rate, self.decay, self.steps, self.moments = rate, decay, 0, {}

    def step(self, name, weight, gradient, reference=0.0):
        beta2 = 1 - (self.steps + 1) ** -0.8
        squares = gradient**2 + 1e-30
        if weight.ndim == 2 and min(weight.shape) >= 128:
            rows, columns = self.moments.get(name, (0.0, 0.0))
            rows = beta2 * rows + (1 - beta2) * squares.mean(axis=1)
            columns = beta2 * columns + (1 - beta2) * squares.mean(axis=0)
            self.moments[name] = (rows, columns)
            second = rows[:, None] * columns[None, :] / rows.mean()
        else:
            second = beta2 * self.moments.get(name, 0.0) + (1 - beta2) * squares
            self.moments[name] = second
        update = gradient / numpy.sqrt(second)
        update /= max(1.0, root_mean_square(update) / 1.0)
        step = self.rate * max(1e-3, root_mean_square(weight))
        return weight - step * update - self.rate * self.decay * (weight - reference)


def root_mean_square(values):
    return numpy.sqrt(numpy.mean(values**2))


OPTIMIZERS = {"adamw": AdamW, "sgd": SGD, "adafactor": Adafactor}


def learning_rate(step, peak, schedule, warmup_steps, decay_steps):
    """Of step 1, 2, ...; "inverse_sqrt" is transformers' get_inverse_sqrt_schedule."""
    if step <= warmup_steps:
        return peak * step / warmup_steps
    if schedule == "inverse_sqrt":
        scale = warmup_steps or 10_000
        return peak / ((step + scale - warmup_steps) / scale) ** 0.5
    return peak * max(0.0, 1 - (step - warmup_steps) / decay_steps) if decay_steps else peak
