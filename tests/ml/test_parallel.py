"""Work shared among threads."""

from __future__ import annotations

from time import sleep

import pytest

from ml_backend.errors import Cancelled
from ml_backend.parallel import MOST_THREADS, cores, each, in_order


def test_everything_is_done_once_and_counted() -> None:
    done: list[int] = []
    told: list[tuple[int, int]] = []
    each(40, done.append, lambda *numbers: told.append(numbers))
    assert sorted(done) == list(range(40)) and told == [(number, 40) for number in range(1, 41)]
    each(0, done.append)
    assert len(done) == 40 and cores() >= 1


def test_what_one_raises_ends_the_rest() -> None:
    done: list[int] = []

    def work(index: int) -> None:
        if index == 3:
            raise ValueError("three")
        done.append(index)
        sleep(0.005)

    with pytest.raises(ValueError, match="three"):
        each(5000, work)
    assert len(done) < 1000


def test_progress_may_cancel() -> None:
    def stop(done: int, total: int) -> None:
        if done > 2:
            raise Cancelled

    seen: list[int] = []

    def work(index: int) -> None:
        seen.append(index)
        sleep(0.005)

    with pytest.raises(Cancelled):
        each(5000, work, stop)
    assert len(seen) < 1000


def test_results_come_in_order_and_only_a_few_are_made_ahead() -> None:
    made: list[int] = []

    def work(index: int) -> int:
        sleep(0.004 if index % 3 == 0 else 0.0)
        made.append(index)
        return index

    found = in_order(50, work)
    assert [next(found) for _ in range(5)] == [0, 1, 2, 3, 4]
    assert len(made) <= 6 + MOST_THREADS
    assert list(found) == list(range(5, 50))
    abandoned = in_order(5000, work)
    next(abandoned)
    abandoned.close()
    assert len(made) < 80
    with pytest.raises(ZeroDivisionError):
        list(in_order(3, lambda index: 1 // (1 - index)))
