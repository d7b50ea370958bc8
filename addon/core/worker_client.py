"""The worker as a process: started in a clean environment, read by a thread, asked, stopped. Knows no job."""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from . import worker_protocol
from .errors import ParleyError, ProtocolError
from .worker_protocol import Message

LOG_LIMIT = 4 << 20
"""Bytes of log after which a worker's old log is put aside."""
CHATTER_LIMIT = 1 << 20
"""Bytes of chatter on the worker's standard output that the log takes."""
QUEUE_LIMIT = 2000
"""Events that may wait; a client that is not asked for them holds the worker up rather than filling memory."""


class WorkerError(ParleyError):
    """The backend's process can't be started or does not answer as one of ours."""


def clean_environment(given: Mapping[str, str]) -> dict[str, str]:
    """`given` without what would make another Python find Blender's modules, and nothing buffered."""
    kept = {name: value for name, value in given.items()
            if not name.startswith(("PYTHON", "BLENDER", "CONDA_PYTHON", "__PYVENV")) and name != "VIRTUAL_ENV"}
    return {**kept, "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"}


def worker_command(interpreter: Path | str) -> list[str]:
    """How `interpreter` is started as the worker: without the user's own packages, without the current folder."""
    return [str(interpreter), "-s", "-P", "-m", "ml_backend.worker"]


class WorkerProcess:
    """One running worker.

    Parameters
    ----------
    command : program and arguments
    log : file that takes what the worker writes to standard error, and chatter
    """

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self.log = log
        self._events: queue.Queue[Message] = queue.Queue(QUEUE_LIMIT)
        self._lock = threading.Lock()
        self._progress: Message | None = None
        self._beaten = False
        self._wanted = True
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            if log.exists() and log.stat().st_size > LOG_LIMIT:
                os.replace(log, log.with_suffix(".old.log"))
            with open(log, "ab") as stream:
                self._child = subprocess.Popen(
                    list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stream, cwd=log.parent,
                    env=clean_environment(os.environ), **_apart())
        except OSError as error:
            raise WorkerError(f"The backend can't be started with {command[0]} ({error.strerror}); set it up or choose "
                              "another interpreter in the add-on's preferences.") from error
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._child.poll()

    def send(self, number: int, command: str, options: dict[str, Any] | None = None) -> bool:
        """Ask; False where the worker is gone or takes nothing in, which its end will tell."""
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(worker_protocol.request(number, command, options))
            self._child.stdin.flush()
        except (OSError, ValueError):
            return False
        return True

    def next_event(self) -> Message | None:
        """The oldest event not yet seen, without waiting; of progress and heartbeats the newest. None = no news."""
        with contextlib.suppress(queue.Empty):
            return self._events.get_nowait()
        with self._lock:
            latest, self._progress = self._progress, None
            beaten, self._beaten = self._beaten, False
        return latest or ({"type": "heartbeat"} if beaten else None)

    def terminate(self) -> None:
        """Ask the process to end."""
        with contextlib.suppress(OSError):
            self._child.terminate()

    def kill(self) -> None:
        """End the process without asking."""
        with contextlib.suppress(OSError):
            self._child.kill()

    def close(self) -> None:
        """Let it end by itself: close its standard input. Never waits."""
        self._wanted = False
        with contextlib.suppress(OSError):
            if self._child.stdin is not None:
                self._child.stdin.close()

    def _read(self) -> None:
        """Sort the worker's lines into events and chatter until it closes its standard output."""
        stream = self._child.stdout
        assert stream is not None
        with contextlib.suppress(OSError, ValueError), open(self.log, "ab", buffering=0) as log:
            taken = 0
            while line := stream.readline(worker_protocol.LINE_LIMIT + 1):
                if len(line) > worker_protocol.LINE_LIMIT:
                    self._put({"type": "broken", "sentence": "The backend sent a line without an end"})
                    break
                if not self._sort(line) and taken < CHATTER_LIMIT:
                    taken += len(line)
                    log.write(line)
        self._put({"type": "end"})
        _drain(stream)
        self._child.wait()

    def _sort(self, line: bytes) -> bool:
        """Keep the event on `line`; False if there is none."""
        try:
            message = worker_protocol.decode(line)
        except ProtocolError as error:
            self._put({"type": "broken", "sentence": str(error).rstrip(".")})
            return True
        if message is None:
            return False
        if message["type"] in ("progress", "heartbeat"):
            with self._lock:
                self._beaten = True
                self._progress = message if message["type"] == "progress" else self._progress
        else:
            with self._lock:
                latest, self._progress = self._progress, None
            for one in filter(None, (latest, message)):
                self._put(one)
        return True

    def _put(self, message: Message) -> None:
        while self._wanted:
            with contextlib.suppress(queue.Full):
                self._events.put(message, timeout=0.5)
                break


def _drain(stream: IO[bytes]) -> None:
    """Read on, so that a process which is about to be stopped does not hang on a full pipe."""
    with contextlib.suppress(OSError, ValueError):
        while stream.read(1 << 16):
            pass


def _apart() -> dict[str, Any]:
    """Arguments that keep a Ctrl-C in Blender's terminal from the worker, and a console window from Windows' users."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}
