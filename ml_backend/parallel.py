"""The same work for many frames, in as many threads as there are cores."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import TypeVar

from ml_backend.progress import Progress, silent

Made = TypeVar("Made")
MOST_THREADS = 8
"""More frames at once than this take memory and, sharing Python's lock, gain nothing."""


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def each(count: int, work: Callable[[int], object], progress: Progress = silent) -> None:
    """Call ``work(index)`` for every index below `count`, in no certain order; what one raises ends the rest.

    Parameters
    ----------
    work : mostly NumPy, OpenCV and files, which leave Python's lock to other threads
    progress : called in this thread, with how many are done
    """
    pool = ThreadPoolExecutor(min(cores(), MOST_THREADS))
    try:
        waiting = [pool.submit(work, index) for index in range(count)]
        for done, future in enumerate(as_completed(waiting), 1):
            future.result()
            progress(done, count)
    finally:
        pool.shutdown(cancel_futures=True)


def in_order(count: int, work: Callable[[int], Made]) -> Generator[Made, None, None]:
    """Yield ``work(index)`` for every index below `count`, in order, a few of them made ahead."""
    threads = min(cores(), MOST_THREADS)
    pool, waiting = ThreadPoolExecutor(threads), deque[Future[Made]]()
    try:
        for index in range(count):
            waiting.append(pool.submit(work, index))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
