"""A run killed at a random frame and started again: the same bytes as one that nobody touched."""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from ml_backend.errors import StageError
from tests.benchmarks.report import Figure

PART = "resume"
SIZE, LONGEST = "128", 900.0


def measure(options: argparse.Namespace) -> list[Figure]:
    """Bytes compared, frames that were not rendered twice, and Blender's starts."""
    work = options.cache / "film_resume"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    run(work / "whole" / "film.mp4", options.blender)
    whole = frames(work / "whole")
    cut = random.Random().randrange(1, len(whole) - 1)
    kill_at(work / "cut" / "film.mp4", cut, options.blender)
    before = {name: path.stat().st_mtime_ns for name, path in found(work / "cut").items()}
    run(work / "cut" / "film.mp4", options.blender)
    same = frames(work / "cut") == whole
    film = (work / "whole" / "film.mp4").read_bytes() == (work / "cut" / "film.mp4").read_bytes()
    after = found(work / "cut")
    kept = sum(after[name].stat().st_mtime_ns == stamp for name, stamp in before.items())
    report = json.loads((work / "whole" / "film.take" / "report.json").read_text())
    note = f"killed at frame {cut} of {len(whole)}"
    return [Figure(PART, "frames are the same bytes", float(same), "", 1.0, True, note),
            Figure(PART, "the film is the same bytes", float(film), "", 1.0, True, note),
            Figure(PART, "frames of the killed run that were kept", kept / max(1, len(before)), "", 0.99, True, note),
            Figure(PART, "Blender's starts a process and take", report["blender_processes"]["starts_each"], "", 1.0,
                   False, f"{report['blender_processes']['used']} processes")]


def command(out: Path, blender: str | None) -> list[str]:
    """The built-in head says the bundled sample."""
    words = [sys.executable, "-m", "ml_backend.cli", "talk", "--out", str(out), "--size", SIZE]
    return words + (["--blender", blender] if blender else [])


def run(out: Path, blender: str | None) -> None:
    """To its end; raises `StageError` if it doesn't get there."""
    done = subprocess.run(command(out, blender), capture_output=True, text=True, check=False)
    if done.returncode:
        raise StageError(f"The benchmark's film could not be made: {done.stderr.strip().splitlines()[-1]}")


def kill_at(out: Path, frame: int, blender: str | None) -> None:
    """Kill the run, without a word, and its Blenders once `frame` frames are there."""
    child = subprocess.Popen(command(out, blender), stderr=subprocess.DEVNULL, start_new_session=True)
    limit = time.monotonic() + LONGEST
    while len(found(out.parent)) < frame and child.poll() is None and time.monotonic() < limit:
        time.sleep(0.005)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def found(folder: Path) -> dict[str, Path]:
    """Rendered frames by name."""
    return {path.name: path for path in (folder / "film.take" / "frames_rgba").glob("*.png")}


def frames(folder: Path) -> dict[str, bytes]:
    """Content of the rendered frames by name."""
    return {name: path.read_bytes() for name, path in sorted(found(folder).items())}
