"""One job of the child process from start to end: messages out, errors in words, exit code."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Iterable
from pathlib import Path

from ..core import job as jobs
from ..core import protocol
from ..core.errors import ParleyError


class Channel:
    """Standard output for messages alone: what Blender's C code prints is sent to standard error instead."""

    def __init__(self) -> None:
        sys.stdout.flush()
        self._out = os.dup(1)
        os.dup2(2, 1)

    def send(self, message: protocol.Message) -> None:
        """Write `message` as one line."""
        os.write(self._out, protocol.encode(message).encode("ascii"))

    def progress(self, stage: str, done: int, total: int) -> None:
        """Say that `done` of `total` steps of `stage` are finished."""
        self.send(protocol.progress(stage, done, total))

    def warn(self, text: str) -> None:
        """Say something that stops nothing."""
        self.send(protocol.warning(text))


def serve(paths: Iterable[str]) -> int:
    """Do the jobs at `paths`, one after the other as they arrive, a failed one too; returns the exit code."""
    channel = Channel()
    for path in paths:
        run(Path(path.rstrip("\r\n")), channel)
    return 0


def run(path: Path, channel: Channel | None = None) -> int:
    """Do the job at `path` and say how it went on `channel`; returns the exit code."""
    channel = channel or Channel()
    began = time.monotonic()
    try:
        job = jobs.load(path)
        # Blender is loaded only for a job that can be done, so that a bad one is answered at once.
        from . import scene

        done = scene.perform(job, channel.progress, channel.warn)
    except ParleyError as error:
        channel.send(protocol.error(type(error).__name__, str(error)))
        return error.exit_code
    except ImportError as error:
        channel.send(protocol.error("ImportError", f"Blender's Python module can't be loaded ({error})."))
        return 2
    except Exception as error:
        # The process's edge: whatever went wrong, the parent gets a sentence and the log the whole story.
        traceback.print_exc()
        channel.send(protocol.error(type(error).__name__, f"Something unexpected happened: {error}"))
        return 1
    channel.send(protocol.result(**done, seconds=round(time.monotonic() - began, 3)))
    return 0
