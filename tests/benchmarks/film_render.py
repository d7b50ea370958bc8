"""What the pipeline adds to Blender's own time."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from ml_backend.artefacts import performance as performance_file
from ml_backend.artefacts.performance import Performance
from ml_backend.blender import child_script, find_blender, run_job
from ml_backend.config import head_model
from ml_backend.face_model.model import load
from ml_backend.talk.builtin import builtin_character
from tests.benchmarks.report import Figure

PART = "render"
BAR = 1.15
CHILD = Path(__file__).with_name("film_render_child.py")
FRAMES, SIZE = 10, 512


def files(work: Path, frames: int, size: int) -> dict:
    """A job of the built-in head moving its jaw and head for `frames` frames."""
    work.mkdir(parents=True, exist_ok=True)
    model = load(head_model())
    person = builtin_character(model, size, work / "character.npz")
    wave = np.sin(np.arange(frames) / 3)[:, None]
    moved = np.zeros((frames, 52), np.float32)
    moved[:, list(model.expression_names).index("jawOpen")] = (0.3 + 0.3 * wave)[:, 0]
    pose = person.pose_mean + np.array([0.05, 0.1, 0.02, 0, 0, 0]) * wave
    names = list(map(str, model.expression_names))
    act = Performance(np.arange(frames) / 25, moved, names, pose.astype(np.float32), {})
    performance_file.save(act, work / "performance.npz")
    return {"schema": "parley.job", "version": 1, "face_model": str(head_model().resolve()), "view": "portrait",
            "character": str((work / "character.npz").resolve()), "size": size,
            "performance": str((work / "performance.npz").resolve()), "output": str((work / "out").resolve()),
            "backdrop_to": str((work / "backdrop.png").resolve())}


def measure(options: argparse.Namespace) -> list[Figure]:
    """Ours over bare, and seconds a frame."""
    blender, work = find_blender(options.blender), (options.cache / "film_render").resolve()
    job = files(work, FRAMES, SIZE)
    words = tuple(str(CHILD) if word == str(child_script()) else word for word in blender.command)
    found = run_job(replace(blender, command=words), job, work / "job.json", work / "job.log")
    note = f"processor's time, {FRAMES} frames of the built-in head, {SIZE}², in turns, best of {found['repeats']}"
    return [Figure(PART, "time over a bare animation render's", found["ours"] / found["bare"], "", BAR, False, note),
            Figure(PART, "seconds a frame", found["clock"] / FRAMES, "s", note=f"{os.cpu_count()} cores, no bar")]
