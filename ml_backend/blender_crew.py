"""Blender processes that stay for a whole take: started when needed, given job after job, sharing the long ones.

EEVEE draws on one core where there is no graphics card, so two processes on two cores finish in half the time.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from ml_backend.blender import Blender, failure, parse_line, start
from ml_backend.progress import Progress, silent

MOST = 4
"""Processes at most: more find no work on a graphics card and little memory on a small machine."""

MEMORY_BYTES = 1.5 * 2**30
"""What one process takes: the 4K frames of a 10,000-vertex head with hair, and the graphics driver's share."""

FRAMES_EACH = 30
"""Fewer frames than this for each process aren't worth starting another one (two to four seconds)."""

PATIENCE = 1.5
"""Seconds that stopped processes get to end by themselves."""

PARTS = ".rendering*"
"""Folders of half-written frames in an output folder; those of a run that was killed are removed."""


def sensible_processes() -> int:
    """How many processes this machine's cores and free memory allow."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(MOST, cores, int(_free_memory() // MEMORY_BYTES)))


def _free_memory() -> float:
    """Bytes that can still be had; as good as endless where the system doesn't say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return float("inf")
    found = [float(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    return found[0] if found else float("inf")


class Crew:
    """The Blender processes of one take.

    Parameters
    ----------
    blender : how to start one
    folder : where job files go; it also stands on the processes' command line, so that they can be told apart
    log : file that takes what Blender says
    processes : how many at most; 0 = as many as this machine allows

    Attributes
    ----------
    started : int, processes started so far
    most : int, processes that worked at the same time
    """

    def __init__(self, blender: Blender, folder: Path, log: Path, *, processes: int = 0) -> None:
        self.blender, self.folder, self.log = blender, Path(folder), Path(log)
        self.processes = processes
        self.started = self.most = 0
        self._children: list[subprocess.Popen] = []
        self._lines: queue.Queue[tuple[int, str | None]] = queue.Queue()

    def run(self, job: dict, name: str, *, frames: int = 0, progress: Progress = silent,
            warn: Callable[[str], None] = lambda text: None) -> dict:
        """Do `job`, shared among processes if it renders many `frames`; returns the (first) result message.

        Parameters
        ----------
        job : see ``addon/core/job.py``
        name : of the job's file in the crew's folder
        frames : how many it renders, 0 if none

        Raises
        ------
        StageError
            If a process could not be started or the job failed; names the log.
        UserInputError
            If the job failed on a full disk.
        Cancelled
            Whatever `progress` raises; all processes are stopped then.
        """
        most = self.processes or sensible_processes()
        count = max(1, min(most, frames // FRAMES_EACH)) if job.get("output") else 1
        _sweep(job)
        try:
            self._start(count)
            for number, child in enumerate(self._children[:count]):
                share = job if count == 1 else {**job, "share": [number, count]}
                path = self.folder / (f"{name}.json" if count == 1 else f"{name}_{number + 1}.json")
                path.write_text(json.dumps(share, indent=1), encoding="utf-8")
                _give(child, path)
            results = self._listen(count, progress, warn)
        except BaseException:
            self.close()
            _sweep(job)
            raise
        wrong = next((result for result in results if "error" in result), None)
        if wrong is not None:
            self.close()
            raise failure(wrong["error"], job, self.log)
        rendered = sum(int(result.get("rendered", 0)) for result in results)
        return {**results[0], "rendered": rendered, "processes": count}

    def close(self) -> None:
        """Stop all processes."""
        for child in self._children:
            child.terminate()
        limit = time.monotonic() + PATIENCE
        for child in self._children:
            try:
                child.wait(max(0.0, limit - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()  # frames get their names only when they are whole: nothing is lost
                child.wait()
        self._children.clear()
        self._lines = queue.Queue()

    def _start(self, count: int) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if any(child.poll() is not None for child in self._children):
            self.close()  # one has died since its last job
        self.most = max(self.most, count)
        while len(self._children) < count:
            with open(self.log, "a", encoding="utf-8") as log:
                child = start(self.blender, ["--serve", str(self.folder)], log, stdin=subprocess.PIPE)
            pump = threading.Thread(target=_pump, args=(child, len(self._children), self._lines), daemon=True)
            pump.start()
            self._children.append(child)
            self.started += 1

    def _listen(self, count: int, progress: Progress, warn: Callable[[str], None]) -> list[dict]:
        """Messages of `count` processes until each has ended its job or one has failed."""
        results: dict[int, dict] = {}
        steps: dict[int, tuple[int, int]] = {}
        with open(self.log, "a", encoding="utf-8") as log:
            while len(results) < count:
                number, line = self._lines.get()
                message = {"type": "end"} if line is None else parse_line(line)
                if message is None:
                    log.write(line or "")
                elif message["type"] == "progress":
                    _report(message, number, count, steps, progress)
                elif message["type"] == "warning":
                    warn(str(message["text"]))
                elif message["type"] == "result":
                    results[number] = message
                else:
                    text = message.get("text") or f"it ended with code {self._children[number].wait()} too early"
                    return [{"error": str(text)}]
        return [results[number] for number in range(count)]


def _sweep(job: dict) -> None:
    """Remove half-written frames."""
    if job.get("output"):
        for left in Path(job["output"]).glob(PARTS):
            shutil.rmtree(left, ignore_errors=True)


def _report(message: dict, number: int, count: int, steps: dict[int, tuple[int, int]], progress: Progress) -> None:
    """Pass on one process's progress, or the sum of all once they draw."""
    if count == 1:
        progress(int(message["done"]), int(message["total"]))
    elif message["stage"] == "render":
        steps[number] = int(message["done"]), int(message["total"])
        if len(steps) == count:
            progress(sum(done for done, _ in steps.values()), sum(total for _, total in steps.values()))


def _give(child: subprocess.Popen, path: Path) -> None:
    assert child.stdin is not None
    try:
        child.stdin.write(f"{path.resolve()}\n")
        child.stdin.flush()
    except OSError:
        return  # it has died; listening finds out with what code


def _pump(child: subprocess.Popen, number: int, lines: queue.Queue) -> None:
    assert child.stdout is not None
    for line in child.stdout:
        lines.put((number, line))
    lines.put((number, None))
