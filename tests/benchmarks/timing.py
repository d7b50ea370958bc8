"""Times that mean something on a busy machine: the best of several, and two things timed in turns."""

from __future__ import annotations

import time
from collections.abc import Callable


def timed(action: Callable[[], object], repeats: int = 3) -> float:
    """Best of `repeats` times, seconds."""
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        best = min(best, time.perf_counter() - start)
    return best


def in_turns(first: Callable[[], object], second: Callable[[], object], repeats: int = 2) -> tuple[float, float]:
    """Best times of two actions, seconds, run alternately so that both meet the same load."""
    best = [float("inf"), float("inf")]
    for _ in range(repeats):
        for place, action in enumerate((first, second)):
            best[place] = min(best[place], timed(action, 1))
    return best[0], best[1]
