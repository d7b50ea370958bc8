"""Runs in Blender: renders a job's frames as the pipeline does and as Blender alone does, in turns."""

# Blender's type stubs allow None and every kind of data where these objects have one kind.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
REPEATS = 2


def main() -> int:
    """Do the job named last on the command line."""
    sys.path.insert(0, str(ROOT))
    from tests.benchmarks.child import serve

    return serve(lambda job, _: measure(job))


def measure(data: dict) -> dict:
    """Best seconds of the processor for both ways over all frames of the job, and of the clock for ours."""
    import bpy

    from addon.bl import keyframes, render, rig, scene
    from addon.core import job as jobs

    job = jobs.parse({name: value for name, value in data.items() if name not in ("schema", "version")})
    inputs = scene.read(job)
    scene.empty_file()
    head = rig.build(inputs.model, inputs.character, inputs.texture, inputs.rest, inputs.worn)
    stage, count, out = bpy.context.scene, len(inputs.act), job.output or Path()
    stage.camera = scene._camera(job, inputs)
    render.configure(stage, job.engine, (job.size, job.size), job.samples)
    keyframes.write_samples(head, inputs.act, np.arange(count) + 1)

    def ours() -> None:
        render.frames(stage, list(range(count)), out, lambda done, total: None)

    def bare() -> None:
        stage.render.filepath = str(out / "######")
        stage.frame_start, stage.frame_end, stage.frame_step = 1, count, 1
        bpy.ops.render.render(animation=True)

    best = {"ours": float("inf"), "bare": float("inf"), "clock": float("inf")}
    for action in (bare, *(ours, bare) * REPEATS):
        shutil.rmtree(out, ignore_errors=True)
        clock, processor = time.perf_counter(), time.process_time()
        action()
        best[action.__name__] = min(best[action.__name__], time.process_time() - processor)
        if action is ours:
            best["clock"] = min(best["clock"], time.perf_counter() - clock)
    return {**best, "repeats": REPEATS}


if __name__ == "__main__":
    sys.exit(main())
