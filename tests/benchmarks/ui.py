"""What the add-on costs Blender's main thread: the timer's turns beside a job, starting one, writing its keys."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHILD = """
import os, sys, tempfile, time, numpy as np, bpy
sys.path.insert(0, sys.argv[1])
os.environ["PARLEY_PYTHON"], os.environ["PARLEY_DATA"] = sys.executable, tempfile.mkdtemp()
import addon
from addon.bl import heads, layers, worker
from addon.core.performance import Performance
from addon.core.timing import FrameClock
addon.register()
bpy.ops.parley.add_head()
begun = time.perf_counter(); worker.start("animate", {"out": os.path.join(worker.job_folder(), "a.npz")}, "Animate",
                                          lambda job: "")
start = time.perf_counter() - begun
while worker.runner().busy or worker.turn():
    worker.turn(); time.sleep(0.02)
assert not worker.outcome().error, worker.outcome().error
turns = list(worker.turns())
worker.runner().close()  # a cold worker is busy with imports, the slowest to notice
worker.start("animate", {"out": os.path.join(worker.job_folder(), "b.npz")}, "Animate", lambda job: "")
until = time.perf_counter() + 0.8
while time.perf_counter() < until:
    worker.turn(); time.sleep(0.02)
assert worker.runner().state.value == "running"
begun = time.perf_counter(); worker.cancel()
while worker.runner().busy:
    worker.turn(); time.sleep(0.01)
stopped = time.perf_counter() - begun
head, frames = heads.current(bpy.context), 1800
names = [block.name for block in head.keys.key_blocks][1:]
act = Performance(np.arange(frames) / 25, np.random.default_rng(0).random((frames, len(names))).astype("f4"), names,
                  np.zeros((frames, 6), "f4"), {})
keyed = []
for _ in range(3):
    begun = time.perf_counter(); layers.write(head, act, FrameClock(25.0, 1.0, 1.0), "line", live=True)
    keyed.append(time.perf_counter() - begun)
# Solving from geometry: reading the meshes, then the worst wait of a main thread that wakes every 20 ms.
from addon.bl import targets
from addon.core import mapping_align, mapping_geometry
from addon.features.retarget.operators import _our_shapes
begun = time.perf_counter(); meshes = targets.raws(targets.of([head.mesh])); read = time.perf_counter() - begun
def solve(report):
    shapes, keys = mapping_align.joined(meshes)
    return {"solution": mapping_geometry.solve(shapes, keys, _our_shapes(""), None, report)}
worker.start_thread(solve, "Solve", lambda job: "", [])
waits, began = [], time.perf_counter()
while worker.runner().busy:
    begun = time.perf_counter(); time.sleep(0.02); worker.turn(); waits.append(time.perf_counter() - begun - 0.02)
assert not worker.outcome().error, worker.outcome().error
print("UI", len(turns), np.median(turns), max(turns), start, stopped, min(keyed), len(names), read,
      float(np.percentile(waits, 99)), max(waits), time.perf_counter() - began)
addon.unregister()
"""


def ui() -> str:
    """Times of the main thread, milliseconds, with the real worker at a real job."""
    done = subprocess.run([sys.executable, "-c", CHILD, str(ROOT)], capture_output=True, text=True, check=False)
    line = next((line for line in done.stdout.splitlines() if line.startswith("UI")), None)
    if line is None:
        return f"could not run: {done.stderr.strip().splitlines()[-1:]}"
    count, median, most, start, stopped, keyed, channels, read, usual, worst, solved = map(float, line.split()[1:])
    return (f"{count:.0f} turns: median {1e3 * median:.2f} ms, longest {1e3 * most:.2f} ms (bar 5); a job's start "
            f"{1e3 * start:.1f} ms (bar 50); cancel {stopped:.2f} s (bar 1); {channels:.0f} keys x 1,800 frames in "
            f"layers with live amounts {1e3 * keyed:.0f} ms (bar 200); solve from geometry in {solved:.1f} s: its "
            f"start {1e3 * read:.0f} ms, then the main thread waits {1e3 * usual:.0f} (99 %) to {1e3 * worst:.0f} ms")
