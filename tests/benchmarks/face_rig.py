"""Seconds that Blender takes to build the whole head, and the memory that it takes there and in a .blend."""

from __future__ import annotations

from pathlib import Path

from ml_backend.blender import Blender, child_script, run_job
from ml_backend.config import head_model
from tests.benchmarks.report import Figure

PART = "rig"
BAR = 0.5
CHILD = Path(__file__).with_name("face_rig_child.py")


def measure(blender: Blender, work: Path, model_file: Path | None = None) -> list[Figure]:
    """Build the head in a child process and look at what it costs."""
    work.mkdir(parents=True, exist_ok=True)
    job = {"face_model": str((model_file or head_model()).resolve()), "scene": str(work / "rig.blend")}
    words = tuple(str(CHILD) if word == str(child_script()) else word for word in blender.command)
    found = run_job(Blender(words, blender.module), job, work / "rig.json", work / "rig.log")
    size = f"{found['vertices']} vertices, {found['keys']} shape keys, Blender {found['blender']}"
    return [Figure(PART, "whole head built", found["seconds"], "s", BAR, False, f"best of {found['repeats']}; {size}"),
            Figure(PART, ".blend, compressed", found["compressed"] / 1e6, "MB"),
            Figure(PART, ".blend, plain", found["plain"] / 1e6, "MB", note="about what Blender's data take in memory"),
            Figure(PART, "process, growth by one head", found["grown"] / 1e6, "MB", note="resident memory")]
