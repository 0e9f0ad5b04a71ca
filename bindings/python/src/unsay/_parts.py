"""Many inputs in one call, a few of them at a time.

Scoring and embedding have no callbacks, and Python sees a signal only between calls of the
library. What each input gets does not depend on what else is in a call, so neither does it on
where calls end.
"""

import time
from ctypes import byref, c_void_p
from typing import Callable, Sequence

from ._interrupt import Interrupts
from ._library import functions
from .errors import ArgumentError

FIRST_IDS = 512
SHORT_SECONDS, LONG_SECONDS = 0.1, 0.4


def in_parts(model: int, sizes: Sequence[int], call: Callable[[int, int, int], None]) -> None:
    """Calls `call(model, begin, end)` for all inputs, whose ids `sizes` counts, roughly.

    In the main thread, where Ctrl-C may happen, parts are as large as take some tenths of a
    second, or single inputs. All see the weights of one moment, those of a clone.
    """
    if len(sizes) < 2 or not Interrupts().can_happen:
        call(model, 0, len(sizes))
        return
    clone = c_void_p()
    functions.model_clone(model, byref(clone))
    try:
        begin, budget = 0, FIRST_IDS
        while begin < len(sizes):
            end = end_of_part(sizes, begin, budget)
            started = time.perf_counter()
            call(clone.value or 0, begin, end)
            seconds = time.perf_counter() - started
            if seconds < SHORT_SECONDS:
                budget *= 2
            elif seconds > LONG_SECONDS:
                budget = max(1, budget // 2)
            begin = end
    except ArgumentError:
        # It tells an input by its place in the part: have it told by its place among all.
        call(model, 0, len(sizes))
    finally:
        functions.model_close(clone)


def end_of_part(sizes: Sequence[int], begin: int, budget: int) -> int:
    """As many inputs as fit the budget of ids, but at least one."""
    end, ids = begin + 1, sizes[begin]
    while end < len(sizes) and ids + sizes[end] <= budget:
        ids += sizes[end]
        end += 1
    return end
