"""The losses of one token in float64 NumPy, written down as the manual states them.

z: logits of the trained model p; q_logits: of the reference q; x: the written token; mark: -1
avoid, 0 ignore, 1 keep. d is q, or where the token is avoided q with x scaled by `retain` and
the whole rescaled. The exact form is mathematics with two floors, the published one follows
the code that came with the method.
"""

import numpy

LOWEST = 1e-6  # of an avoided token's probability in log d, exact form
LIMIT = 10.3
CLIP = 1e-7
SMOOTHING = 1e-6

EXACT = {
    "likelihood": ("none", "likelihood"),
    "ff": ("forward", "forward"),
    "rr": ("reverse", "reverse"),
    "rf": ("reverse", "forward"),
    "fll": ("forward", "likelihood"),
    "rll": ("reverse", "likelihood"),
    "ul": ("unlikelihood", "likelihood"),
    "nl": ("negative", "likelihood"),
}


def log_softmax(z):
    z = numpy.asarray(z, numpy.float64)
    shifted = z - z.max()
    return shifted - numpy.log(numpy.exp(shifted).sum())


def log_target(q_logits, x, mark, retain):
    """log d."""
    log_q = log_softmax(q_logits)
    if mark < 0:
        with numpy.errstate(divide="ignore"):
            log_q = log_q.copy()
            log_q[x] += numpy.log(retain)
        log_q -= log_q.max()
        log_q -= numpy.log(numpy.exp(log_q).sum())
    return log_q


def exact(loss, z, q_logits, x, mark, alpha=1.0, retain=0.0):
    if mark == 0:
        return 0.0
    term = EXACT[loss][0 if mark < 0 else 1]
    log_p = log_softmax(z)
    p = numpy.exp(log_p)
    others = numpy.delete(log_p, x)
    if term == "none":
        value = 0.0
    elif term == "likelihood":
        value = -log_p[x]
    elif term == "unlikelihood":
        value = -(others.max() + numpy.log(numpy.exp(others - others.max()).sum()))
    elif term == "negative":
        value = max(log_p[x], -LIMIT)
    else:
        log_d = log_target(q_logits, x, mark, retain)
        d = numpy.exp(log_d)
        if term == "forward":
            some = d > 0
            value = (d[some] * (log_d[some] - log_p[some])).sum()
        else:
            if mark < 0:
                log_d[x] = max(log_d[x], numpy.log(LOWEST))
            value = (p * (log_p - log_d)).sum()
    return float((alpha if mark < 0 else 1.0) * value)


def published(loss, z, q_logits, x, mark, alpha=1.0, retain=0.0):
    if mark == 0:
        return 0.0
    log_p = log_softmax(z)
    p = numpy.exp(log_p)

    def smooth(d):
        return (d + SMOOTHING) / (d + SMOOTHING).sum()

    d = numpy.exp(log_target(q_logits, x, mark, retain))
    written = numpy.zeros_like(p)
    written[x] = 1
    forward = -(d * log_p).sum()
    reverse = (p * (log_p - numpy.log(smooth(d)))).sum()
    avoided = {
        "likelihood": 0.0, "ff": forward, "rr": reverse, "rf": reverse, "fll": forward,
        "rll": reverse, "ul": -numpy.log(1 - min(p[x], 1 - CLIP)), "nl": log_p[x],
    }  # fmt: skip
    kept = {
        "likelihood": -log_p[x], "ff": forward, "rr": reverse,
        "rf": -(smooth(d) * log_p).sum(), "fll": -log_p[x],
        "rll": -(smooth(written) * log_p).sum(), "ul": -log_p[x], "nl": -log_p[x],
    }  # fmt: skip
    value = alpha * avoided[loss] if mark < 0 else kept[loss]
    if loss == "nl" and value > LIMIT:
        value = LIMIT
    return float(value)


FORMS = {"exact": exact, "published": published}


def gradient(form, loss, z, *rest, **options):
    """By central differences in float64."""
    z = numpy.asarray(z, numpy.float64)
    out = numpy.zeros_like(z)
    for i in range(len(z)):
        h = 1e-5
        up, down = z.copy(), z.copy()
        up[i] += h
        down[i] -= h
        rise = FORMS[form](loss, up, *rest, **options) - FORMS[form](loss, down, *rest, **options)
        out[i] = rise / (2 * h)
    return out
