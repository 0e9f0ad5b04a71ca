"""The enumerations of unsay.h, by the names that Python gives their values."""

CONTINUE, STOP = 0, 1

COMPUTES = {"f32": 0, "bf16": 1, "int8": 2}
LOSSES = {
    "likelihood": 0, "ff": 1, "rr": 2, "rf": 3, "fll": 4, "rll": 5, "ul": 6, "nl": 7
}  # fmt: skip
FORMS = {"exact": 0, "published": 1}
EARLY_STOPPINGS = {False: 0, True: 1, "never": 2}
EXTENTS = {"all": 0, "first": 1, "last": 2}
FINISHES = ("end", "length", "stopped", "given")
ENDINGS = ("steps", "goal", "guard", "caller", "patience")
OPTIMIZERS = {"adamw": 0, "adafactor": 1, "sgd": 2}
SCHEDULES = {"linear": 0, "inverse_sqrt": 1}
SCOPES = {
    "all": 0, "decoder": 1, "cross_attention": 2, "head": 3, "feed_forward": 4, "tokens": 5,
    "auto": 7,
}  # fmt: skip
TENSORS_SCOPE = 6
SELECTS = {"avoid_p": 0, "loss": 1, "last": 2}
CONVERTERS = {
    f"{side}-{amount}": 3 * i + j
    for i, side in enumerate(("negative", "corrective", "mixed"))
    for j, amount in enumerate(("first", "diff", "full"))
}
AVOID, IGNORE, KEEP = -1, 0, 1

GATED, TIED_HEAD, ROUNDS = 1, 2, 4
