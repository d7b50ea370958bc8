"""What the user sees of a run: a bar per stage on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ml_backend.progress import Progress as ProgressCallback

PLAIN_INTERVAL = 10.0
"""Seconds between two plain progress lines of one stage."""


class Terminal:
    """Writes stage progress, warnings and results to standard error, so that standard output stays free for results."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = Console(file=_own_stream(), highlight=False, soft_wrap=True)
        self.quiet = quiet
        self.warnings: list[str] = []

    def say(self, text: str) -> None:
        """One line of information."""
        if not self.quiet:
            self.console.print(text, markup=False)

    def warn(self, text: str) -> None:
        """One line that the user should read; kept for the report."""
        if text not in self.warnings:
            self.warnings.append(text)
            self.console.print(f"Note: {text}", markup=False, style="yellow")

    @contextlib.contextmanager
    def stage(self, title: str) -> Iterator[ProgressCallback]:
        """Show progress of one stage; yields the callback ``(done, total)``."""
        if self.quiet:
            yield lambda done, total: None
        elif self.console.is_terminal:
            yield from self._bar(title)
        else:
            yield self._lines(title)

    def _bar(self, title: str) -> Iterator[ProgressCallback]:
        columns = (
            TextColumn("{task.description:<34}"),
            BarColumn(28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.console) as bars:
            task = bars.add_task(title, total=None)
            yield lambda done, total: bars.update(task, completed=done, total=max(total, 1))
            total = bars.tasks[0].total or 1
            bars.update(task, completed=total, total=total)

    def _lines(self, title: str) -> ProgressCallback:
        self.say(f"{title} …")
        start = last = time.monotonic()

        def update(done: int, total: int) -> None:
            nonlocal last
            now = time.monotonic()
            if done and now - last >= PLAIN_INTERVAL:
                last = now
                left = (now - start) / done * max(total - done, 0)
                self.say(f"{title}: {done}/{total}, about {left:.0f} s left")

        return update


def _own_stream() -> TextIO:
    """Standard error by a handle of its own, which `hushed` leaves alone."""
    try:
        handle = os.dup(sys.stderr.fileno())
    except (OSError, ValueError, AttributeError):
        return sys.stderr  # replaced by something that is no file, as in tests
    return os.fdopen(handle, "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace")


@contextlib.contextmanager
def hushed(log: Path) -> Iterator[None]:
    """Send what libraries write to the error stream (MediaPipe's greetings can't be switched off) to the file `log`."""
    try:
        kept = os.dup(2)
    except OSError:  # no error stream: nothing to hush
        yield
        return
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        sink = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        os.dup2(sink, 2)
        os.close(sink)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def fail(text: str) -> None:
    """Print the one sentence of an error to standard error."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"parley: {text}", markup=False, style="bold red")
    sys.stderr.flush()
