"""Runs in Blender: builds the head of a job several times and says how long that took and what it weighs."""

# Blender's type stubs allow None and every kind of data where these objects have one kind.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
REPEATS = 5


def main() -> int:
    """Do the job named last on the command line."""
    sys.path.insert(0, str(ROOT))
    from tests.benchmarks.child import serve

    return serve(lambda job, _: build(job))


def resident() -> int:
    """Bytes of this process's resident memory; 0 where the system does not say it in a file."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def build(job: dict) -> dict:
    """Seconds, sizes in bytes and counts; leaves the .blend without and with compression in place of one."""
    import bpy

    from addon.bl import rig, scene
    from addon.core import character, face_model

    model = face_model.load(job["face_model"])
    person, rest = character.average(model), np.array([0, 0, 0, 0, 0, 1.0])
    best, grown = float("inf"), 0
    for number in range(REPEATS):
        scene.empty_file()
        before, start = resident(), time.perf_counter()
        head = rig.build(model, person, None, rest)
        bpy.context.view_layer.update()
        best = min(best, time.perf_counter() - start)
        grown = resident() - before if number == 0 else grown
    sizes = {}
    for name, compress in (("compressed", True), ("plain", False)):
        bpy.ops.wm.save_as_mainfile(filepath=job["scene"], check_existing=False, compress=compress)
        sizes[name] = Path(job["scene"]).stat().st_size
    return {"seconds": best, "repeats": REPEATS, "grown": grown, **sizes, "vertices": len(model.mean_shape),
            "keys": len(head.keys.key_blocks) - 1, "blender": bpy.app.version_string}


if __name__ == "__main__":
    sys.exit(main())
