"""Blender as a child process: found, started, listened to, stopped. The job runs in the add-on's own code."""

from __future__ import annotations

import importlib.util
import json
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ml_backend.errors import DependencyError, ParleyError, StageError, UserInputError
from ml_backend.progress import Progress, silent

HOW_TO_GET = (
    'install it with: pip install "parley[blender]" (Python 3.11), or name a Blender of 4.2 or newer with '
    "--blender or PARLEY_BLENDER"
)
STOP_SECONDS = 5.0
OLDEST = (4, 2)
ANSWER_SECONDS = 60.0
"""How long a Blender may take to say its version; the first start from a cold disk takes a while."""
LEAST_SPACE = 4 << 20
"""Bytes: with less than this left a failed job most likely failed for want of space."""
SCENE_MODULE = Path(sys.prefix) / "share" / "parley" / "bpy-4.5"


@dataclass(frozen=True)
class Blender:
    """How to start a Blender: the words before the job's path; its module's folder if that is not this Python's."""

    command: tuple[str, ...]
    module: Path | None = None

    @property
    def name(self) -> str:
        """For the report."""
        return Path(self.command[0]).name if "-b" in self.command else "bpy module"


def child_script() -> Path:
    """The add-on's job runner, found without importing the add-on."""
    found = importlib.util.find_spec("addon")
    if found is None or not found.submodule_search_locations:
        raise DependencyError("Parley's Blender add-on is not beside the backend; install Parley again.")
    return Path(next(iter(found.submodule_search_locations))) / "bl" / "child.py"


def find_blender(executable: str | None) -> Blender:
    """The Blender named by `executable`, ``PARLEY_BLENDER``, the ``bpy`` module of this Python, or on the PATH.

    Raises
    ------
    DependencyError
        If none is there; the message says how to get one.
    """
    named = executable or os.environ.get("PARLEY_BLENDER")
    script = str(child_script())
    if named:
        path = shutil.which(named)
        if path is None:
            raise DependencyError(f"{named} is no Blender that can be started; {HOW_TO_GET}.")
        _check_version(path)
        return Blender((path, "-b", "--factory-startup", "--python-exit-code", "1", "--python", script, "--"))
    if importlib.util.find_spec("bpy") is not None:
        return Blender((sys.executable, script))
    if path := shutil.which("blender"):
        return Blender((path, "-b", "--factory-startup", "--python-exit-code", "1", "--python", script, "--"))
    raise DependencyError(f"Blender is missing; {HOW_TO_GET}.")


def find_scene_blender(renderer: Blender) -> Blender:
    """The Blender that saves scenes: an older module beside this Python where there is one, else `renderer`.

    A .blend saved by Blender 5 opens in 4.5 or newer only; one saved by 4.5 opens in 4.2 as well. ``tests/setup.sh``
    puts a 4.5 module into `SCENE_MODULE`, where it can't get in the renderer's way.
    """
    if renderer.command[0] != sys.executable or not (SCENE_MODULE / "bpy").is_dir():
        return renderer
    return Blender(renderer.command, SCENE_MODULE)


def _check_version(path: str) -> None:
    """Raise `DependencyError` unless the program at `path` says that it is a Blender that is new enough."""
    try:
        done = subprocess.run(
            [path, "--version"], capture_output=True, text=True, errors="replace", timeout=ANSWER_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DependencyError(f"{path} is no Blender that can be started; {HOW_TO_GET}.") from error
    found = re.search(r"^Blender (\d+)\.(\d+)", done.stdout, re.MULTILINE)
    if found is None:
        raise DependencyError(f"{path} is no Blender; {HOW_TO_GET}.")
    if (int(found[1]), int(found[2])) < OLDEST:
        raise DependencyError(f"{path} is Blender {found[1]}.{found[2]}, which is too old; {HOW_TO_GET}.")


def run_job(
    blender: Blender,
    job: dict,
    job_path: Path,
    log: Path,
    *,
    progress: Progress = silent,
    warn: Callable[[str], None] = lambda text: None,
) -> dict:
    """Write `job` to `job_path`, run it, pass on its progress and warnings, return its result message.

    Raises
    ------
    StageError
        If Blender could not be started or the job failed; names the log file.
    UserInputError
        If the job failed on a full disk.
    Cancelled
        Whatever `progress` raises, after Blender was stopped.
    """
    job_path.parent.mkdir(parents=True, exist_ok=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    job_path.write_text(json.dumps(job, indent=1))
    with open(log, "a", encoding="utf-8") as log_stream:
        child = start(blender, [str(job_path)], log_stream, stdin=subprocess.DEVNULL)
        try:
            result = _listen(child, log_stream, progress, warn)
        except BaseException:
            stop(child)
            raise
    if "error" in result:
        raise failure(result["error"], job, log)
    return result


def start(blender: Blender, words: list[str], log: IO[str], *, stdin: int) -> subprocess.Popen:
    """Start `blender` with `words` at the end of its command line; raises `StageError` where that can't be done."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    if blender.module is not None:
        environment["PYTHONPATH"] = str(blender.module)
    try:
        return subprocess.Popen(
            [*blender.command, *words],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        raise StageError(f"Blender can't be started ({error.strerror}); {HOW_TO_GET}.") from error


def failure(text: str, job: dict, log: Path) -> ParleyError:
    """The error to raise for a `job` that failed with `text`: the full disk where that is the likely cause."""
    try:
        _check_space(job, log)
    except UserInputError as error:
        return error
    return StageError(f"Blender stopped: {text} (log: {log}).")


def _check_space(job: dict, log: Path) -> None:
    """Raise `UserInputError` if there is no room where the failed `job` wrote."""
    for path in (job.get("output"), job.get("scene"), str(log)):
        place = Path(path).absolute() if path else None
        while place is not None and not place.is_dir():
            place = place.parent
        if place is not None and shutil.disk_usage(place).free < LEAST_SPACE:
            raise UserInputError(
                f"The disk of {place} is full; free some space and run the same command again: it resumes."
            )


def _listen(child: subprocess.Popen, log_stream, progress: Progress, warn: Callable[[str], None]) -> dict:
    lines: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=_pump, args=(child.stdout, lines), daemon=True).start()
    result: dict | None = None
    while (line := lines.get()) is not None:
        message = parse_line(line)
        if message is None:
            log_stream.write(line)
        elif message["type"] == "progress":
            progress(int(message["done"]), int(message["total"]))
        elif message["type"] == "warning":
            warn(str(message["text"]))
        elif message["type"] == "error":
            result = {"error": str(message["text"])}
        elif message["type"] == "result":
            result = message
    code = child.wait()
    if result is None:
        return {"error": f"it ended with code {code} before the job was done"}
    return result


def _pump(stream, lines: queue.Queue) -> None:
    for line in stream:
        lines.put(line)
    lines.put(None)


def parse_line(line: str) -> dict | None:
    """The protocol message on `line`, or None where Blender itself is talking."""
    if not line.startswith("{"):
        return None
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) and "type" in message else None


def stop(child: subprocess.Popen) -> None:
    """End a child process, by force if need be."""
    child.terminate()
    try:
        child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
