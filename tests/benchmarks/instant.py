"""The instant engine: a minute of speech to keys as a share of that minute, and what it costs Blender's main thread."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60
CHILD = """
import os, sys, tempfile, time, wave, numpy as np, bpy
sys.path.insert(0, sys.argv[1])
folder = tempfile.mkdtemp()
os.environ["PARLEY_DATA"] = folder
import addon
from addon.bl import heads, instant, layers, worker
from addon.core.instant import sound
addon.register()
bpy.ops.parley.add_head()
values, rate = sound.read_wav(instant.sample())
long = np.tile(values, (int(sys.argv[2]) * rate // len(values) + 1, 1))[:int(sys.argv[2]) * rate]
path = os.path.join(folder, "long.wav")
with wave.open(path, "wb") as file:
    file.setnchannels(2); file.setsampwidth(2); file.setframerate(48000)
    spread = np.repeat(np.repeat(long, 3, 0), 2, 1)
    file.writeframes((spread * 32767).astype("<i2").tobytes())
scene = bpy.context.scene
scene.render.fps = 25
scene.parley_speech.source, scene.parley_speech.filepath = "FILE", path
scene.parley_speech.add_sound = False
scene.parley_performance.engine = "INSTANT"
wait, spent, gaps, turns = worker.wait, {}, [], []
def turning():
    # What Blender's window does while the job runs: turns of the timer, Python between them that is held up or not.
    begun = last = time.perf_counter()
    used = time.process_time()
    while True:
        turned = time.perf_counter(); worker.runner().tick(); turns.append(time.perf_counter() - turned)
        if not worker.runner().busy:
            break
        worker.redraw()
        time.sleep(0.005)
        now = time.perf_counter(); gaps.append(now - last - 0.005); last = now
    spent["work"], spent["used"] = time.perf_counter() - begun, time.process_time() - used
    begun = time.perf_counter(); worker.turn(); spent["keys"] = time.perf_counter() - begun
worker.wait = turning
begun = time.perf_counter()
assert bpy.ops.parley.animate() == {"FINISHED"}, worker.outcome().error
whole = time.perf_counter() - begun
worker.wait = wait
first = whole - spent["work"] - spent["keys"]
def cancel():
    time.sleep(0.3); worker.cancel(); begun = time.perf_counter(); wait(); spent["cancel"] = time.perf_counter() - begun
worker.wait = cancel
try:
    bpy.ops.parley.animate()
except RuntimeError as error:
    assert "was stopped" in str(error), error
print("INSTANT", whole, spent["work"], spent["used"], spent["keys"], first, max(gaps), max(turns), spent["cancel"])
addon.unregister()
"""


def instant() -> str:
    """Seconds of everything for a minute of 48 kHz stereo, from the operator's call to the last key."""
    words = [sys.executable, "-c", CHILD, str(ROOT), str(SECONDS)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    line = next((line for line in done.stdout.splitlines() if line.startswith("INSTANT")), None)
    if line is None:
        return f"could not run: {done.stderr.strip().splitlines()[-1:]}"
    whole, work, used, keys, start, gap, turn, cancel = map(float, line.split()[1:])
    return (f"{(used + keys + start) / SECONDS:.3f} x the speech's length of processor time (bar {5 / 60:.3f}), "
            f"{whole:.2f} s by the clock, of it {work:.2f} s in the thread, keys {1e3 * keys:.0f} ms, the start "
            f"{1e3 * start:.0f} ms; longest stop of the main thread beside it {1e3 * gap:.0f} ms (bar 50), longest "
            f"turn {1e3 * turn:.1f} ms (bar 5); cancel {cancel:.2f} s (bar 1)")
