"""One job at a time on the worker, as a state machine that a timer turns: nothing here waits.

idle → starting → running → done | failed, and from any of these with a worker → cancelling → failed. The scene is
touched by nobody here: whoever started the job reads `result` once the state is `DONE`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from . import worker_protocol
from .errors import UserInputError
from .worker_client import WorkerError, WorkerProcess

TICK_BUDGET = 0.003
"""Seconds that one turn spends on events at most; the rest waits for the next."""


class State(Enum):
    """Where the job is."""

    IDLE = "idle"
    STARTING = "starting"
    RUNNING = "running"
    CANCELLING = "cancelling"
    FAILED = "failed"
    DONE = "done"


BUSY = (State.STARTING, State.RUNNING, State.CANCELLING)


@dataclass(frozen=True)
class Limits:
    """Patience, seconds.

    Attributes
    ----------
    start : until the worker says hello (a first start from a cold disk takes a while)
    silence : without a heartbeat until the worker counts as hung
    terminate, kill : after a cancel, until the process is asked to end, and ended
    end : after its last word, until a process that should be gone is made to
    """

    start: float = 60.0
    silence: float = 20.0
    terminate: float = 0.6
    kill: float = 0.85
    end: float = 0.5


@dataclass
class Job:
    """What is known of the last job.

    Attributes
    ----------
    title : for the panel
    stage, done, total, seconds_left : progress; total 0 = nobody knows yet, seconds_left None = nobody can tell
    notes : what the user should know
    result : the answer's data, None until done
    error, kind : the sentence and its kind, "" unless failed; kind is "Cancelled" where the user wanted it
    """

    title: str = ""
    stage: str = ""
    done: int = 0
    total: int = 0
    seconds_left: float | None = None
    notes: list[str] = field(default_factory=list)
    result: dict[str, Any] | None = None
    error: str = ""
    kind: str = ""

    @property
    def share(self) -> float:
        """How much of the stage is done, 0 to 1."""
        return min(max(self.done / self.total, 0.0), 1.0) if self.total > 0 else 0.0


class Runner:
    """Starts the worker when it is needed, keeps it warm, gives it one job at a time.

    Parameters
    ----------
    log : file for the worker's words
    limits : how long to wait for what
    clock : seconds, for tests
    """

    def __init__(self, log: Path, limits: Limits | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.log, self.limits, self._clock = log, limits or Limits(), clock
        self.state = State.IDLE
        self.job = Job()
        self._process: WorkerProcess | None = None
        self._command: list[str] = []
        self._wanted: tuple[str, dict[str, Any]] = ("", {})
        self._number = 0
        self._greeted = False
        self._heard = self._since = 0.0
        self._asked_to_end = False
        self._silent_since: float | None = None

    @property
    def busy(self) -> bool:
        """Whether a job is under way."""
        return self.state in BUSY

    def start(self, worker: Sequence[str], command: str, options: dict[str, Any], title: str) -> None:
        """Begin a job; its progress comes with `tick`.

        Raises
        ------
        UserInputError
            If another job is under way.
        WorkerError
            If the worker can't be started.
        """
        if self.busy:
            raise UserInputError(f"{self.job.title} is still running; wait for it or cancel it.")
        if self._process is not None and (self._process.exit_code is not None or list(worker) != self._command):
            self._let_go()
        self._number += 1
        self.job = Job(title=title, stage="Starting the backend")
        self._wanted, self._heard, self._asked_to_end = (command, options), self._clock(), False
        if self._process is None:
            self.state = State.FAILED
            self._process, self._command, self._greeted = WorkerProcess(worker, self.log), list(worker), False
            self._silent_since = None
        self._since, self.state = self._clock(), State.STARTING
        if self._greeted:
            self._ask()

    def cancel(self) -> None:
        """Stop the job; within a second the state is `FAILED`, its kind "Cancelled"."""
        if self.state not in (State.STARTING, State.RUNNING) or self._process is None:
            return
        if self.state is State.STARTING and not self._greeted:
            self._kill()
            self._fail("Cancelled", "Stopped.")
            return
        self._process.send(0, "cancel")
        self.state, self._since, self._asked_to_end = State.CANCELLING, self._clock(), False
        self.job.stage, self.job.seconds_left = "Stopping", None

    def tick(self) -> bool:
        """Take in what the worker said; returns whether anything changed that a panel shows."""
        if self._process is None or not self.busy:
            return False
        before, changed = self.state, False
        until = time.perf_counter() + TICK_BUDGET
        while self.busy and time.perf_counter() < until and (event := self._process.next_event()) is not None:
            changed |= self._take(event)
        if self.busy:
            self._check_patience()
        return changed or self.state is not before

    def close(self) -> None:
        """Stop everything; for the add-on's end and a file that is closed."""
        if self.busy:
            self._kill()
            self._fail("Cancelled", "Stopped.")
        self._let_go()
        self.state = State.IDLE

    def wait(self, seconds: float) -> bool:
        """Turn until the job ends, for scripts; False if it still runs after `seconds`."""
        end = self._clock() + seconds
        while self.busy and self._clock() < end:
            if not self.tick():
                time.sleep(0.01)
        return not self.busy

    def _ask(self) -> None:
        assert self._process is not None
        self.state = State.RUNNING
        self._process.send(self._number, *self._wanted)

    def _take(self, event: dict[str, Any]) -> bool:
        """One event; returns whether a panel would show something else now."""
        kind = event["type"]
        self._heard = self._clock()
        if kind == "hello":
            self._greet(event)
        elif kind == "broken":
            self._kill()
            self._fail("ProtocolError", f"{event['sentence']}; check the interpreter in the preferences.")
        elif kind == "end":
            self._silent_since = self._clock()
        elif event.get("id") == self._number and kind != "heartbeat":
            self._answer(kind, event)
        elif kind == "error" and event.get("kind") == "BadRequest":
            self._fail("BadRequest", event["sentence"])
        else:
            return False
        return True

    def _greet(self, event: dict[str, Any]) -> None:
        if event["protocol"] != worker_protocol.PROTOCOL:
            self._kill()
            self._fail("VersionError", f"The backend (Parley {event['parley']}) speaks protocol {event['protocol']}, "
                                       f"this add-on {worker_protocol.PROTOCOL}; install the same version of both.")
            return
        self._greeted = True
        if self.state is State.STARTING:
            self._ask()

    def _answer(self, kind: str, event: dict[str, Any]) -> None:
        job = self.job
        if kind == "progress" and self.state is State.RUNNING:
            job.stage, job.done, job.total = event["stage"], event["done"], event["total"]
            job.seconds_left = event["seconds_left"]
        elif kind == "note":
            job.notes.append(event["text"])
        elif kind == "error":
            self._fail(event["kind"], event["sentence"])
        elif kind == "result" and self.state is State.CANCELLING:
            self._fail("Cancelled", "Stopped.")
        elif kind == "result":
            job.result, self.state = event["data"], State.DONE

    def _check_patience(self) -> None:
        now = self._clock()
        assert self._process is not None
        if self._silent_since is not None:
            if self._process.exit_code is not None or now - self._silent_since > self.limits.end:
                self._ended(self._process.exit_code)
        elif self.state is State.CANCELLING:
            if now - self._since > self.limits.kill:
                self._kill()
                self._fail("Cancelled", "Stopped.")
            elif now - self._since > self.limits.terminate and not self._asked_to_end:
                self._asked_to_end = True
                self._process.terminate()
        elif not self._greeted and now - self._since > self.limits.start:
            self._kill()
            self._fail("StartError", f"The backend did not start within {self.limits.start:g} s; see the log {self.log}"
                                     ", and check the interpreter in the preferences.")
        elif self._greeted and now - self._heard > self.limits.silence:
            self._kill()
            self._fail("HungError", "The backend does not answer any more and was stopped; nothing was changed. "
                                    f"Try again; the log is {self.log}.")

    def _ended(self, code: int | None) -> None:
        """The worker is gone, by itself or by somebody else's hand."""
        greeted = self._greeted
        self._kill()
        if self.state is State.CANCELLING:
            self._fail("Cancelled", "Stopped.")
        elif not greeted:
            self._fail("StartError", f"{self._command[0]} did not start as Parley's backend (exit code {code}); set it "
                                     f"up or choose another interpreter in the preferences. The log is {self.log}.")
        else:
            how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
            self._fail("CrashError", f"The backend ended in the middle of the job ({how}); nothing was changed. "
                                     f"Try again; the log is {self.log}.")

    def _fail(self, kind: str, sentence: str) -> None:
        self.state, self.job.kind, self.job.error = State.FAILED, kind, sentence
        self.job.seconds_left = None
        if kind == "Cancelled":
            self._let_go()  # one that had to be interrupted ends by itself; the next job finds a fresh one

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._let_go()

    def _let_go(self) -> None:
        """Forget the process, which ends by itself at the end of its input."""
        if self._process is not None:
            self._process.close()
            self._process, self._greeted = None, False


__all__ = ["BUSY", "Job", "Limits", "Runner", "State", "WorkerError"]
