"""A job in a thread of this Blender, from outside like one on the worker (`jobs.Runner`): turned, never waited for.

The thread touches no Blender data; whoever started the job reads `job.result` once the state is `DONE`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from .errors import ParleyError, UserInputError
from .jobs import BUSY, Job, State

Report = Callable[[str, int, int], None]
Work = Callable[[Report], dict[str, Any]]
"""The work: given a function to call with stage, done and total, returns the result's data."""
PATIENCE = 0.8
"""Seconds after a cancel in which the work should notice by itself; after that nobody waits for it any longer."""
POLL_SECONDS = 0.01

log = logging.getLogger("parley")


class Stopped(Exception):
    """Raised inside the work by its report, once nobody wants the result."""


class ThreadRunner:
    """One job, then one more.

    Parameters
    ----------
    clock : seconds, for tests
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.state = State.IDLE
        self.job = Job()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._seen: tuple[str, int, int] = ("", 0, 0)
        self._since = 0.0

    @property
    def busy(self) -> bool:
        """Whether a job is under way."""
        return self.state in BUSY

    def start(self, work: Work, title: str) -> None:
        """Begin; raises `UserInputError` if another job is under way."""
        if self.busy:
            raise UserInputError(f"{self.job.title} is still running; wait for it or cancel it.")
        self.job, self._stop, self.state = Job(title=title, stage="Starting"), threading.Event(), State.RUNNING
        self._thread = threading.Thread(target=_do, args=(work, self.job, self._stop), daemon=True)
        self._thread.start()

    def cancel(self) -> None:
        """Stop the job; within a second the state is `FAILED`, its kind "Cancelled"."""
        if self.state is State.RUNNING:
            self._stop.set()
            self.state, self._since, self.job.stage = State.CANCELLING, self._clock(), "Stopping"

    def tick(self) -> bool:
        """Look how far the work is; returns whether anything changed that a panel shows."""
        if not self.busy or self._thread is None:
            return False
        before = self._seen
        self._seen = (self.job.stage, self.job.done, self.job.total)
        if self.state is State.CANCELLING and (not self._thread.is_alive() or self._clock() - self._since > PATIENCE):
            self._forget()
        elif not self._thread.is_alive():
            self.state = State.DONE if self.job.result is not None else State.FAILED
            self._thread = None
        return not self.busy or self._seen != before

    def wait(self, seconds: float) -> bool:
        """Turn until the job ends, for scripts; False if it still runs after `seconds`."""
        end = self._clock() + seconds
        while self.busy and self._clock() < end:
            if not self.tick() and self._thread is not None:
                self._thread.join(POLL_SECONDS)
        return not self.busy

    def close(self) -> None:
        """Stop everything; for the add-on's end and a file that is closed."""
        if self.busy:
            self._stop.set()
            self._forget()
        self.state = State.IDLE

    def _forget(self) -> None:
        """Leave the thread to end by itself; what it still says goes to a job that nobody reads."""
        self.state, self._thread = State.FAILED, None
        self.job = Job(title=self.job.title, kind="Cancelled", error="Stopped.", notes=list(self.job.notes))


def _do(work: Work, job: Job, stop: threading.Event) -> None:
    """The thread: do the work, note its result or its error in `job`."""
    def report(stage: str, done: int, total: int) -> None:
        if stop.is_set():
            raise Stopped
        job.stage, job.done, job.total = stage, done, total

    try:
        job.result = work(report)
    except Stopped:
        job.kind, job.error = "Cancelled", "Stopped."
    except ParleyError as error:
        job.kind, job.error = type(error).__name__, str(error)
    except Exception as error:
        # The thread's edge: without this the job would seem to end without a word.
        log.exception("unexpected error in %s", job.title)
        job.kind = type(error).__name__
        job.error = f"Something unexpected happened: {error}. The console has the details."
