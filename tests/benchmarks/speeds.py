"""Speeds as ratios to something run beside them: a ratio survives a slow or busy machine, seconds alone do not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

from tests.benchmarks.instant import instant
from tests.benchmarks.timing import timed
from tests.benchmarks.ui import ui

ROOT = Path(__file__).resolve().parents[2]
TRACKED = 200
"""Frames of the clip that is tracked: eight seconds."""
KEYS = """
import sys, time, numpy as np, bpy
sys.path.insert(0, sys.argv[1])
from addon.bl import keyframes, rig
from addon.core import character, face_model, performance
from addon.core.timing import FrameClock
model = face_model.load(sys.argv[2])
head = rig.build(model, character.average(model), None, np.zeros(6))
frames, random = 1800, np.random.default_rng(0)
acted = performance.Performance(np.arange(frames) / 25, random.random((frames, 52)).astype("f4"),
                                list(model.expression_names), np.zeros((frames, 6), "f4"), {})
start = time.perf_counter(); keyframes.write(head, acted, FrameClock(25.0, 1.0, 1.0))
bulk = time.perf_counter() - start
block = head.mesh.data.shape_keys.key_blocks[1]; start = time.perf_counter()
for frame in range(200):
    block.value = 0.5; block.keyframe_insert("value", frame=frame + 5000)
single = (time.perf_counter() - start) / 200 * 52 * frames
print("RATIO", bulk / single, bulk)
"""


def motion() -> str:
    """Speech to keyframes against the speech's own length."""
    from ml_backend.audio.load import load_speech
    from ml_backend.config import head_model, motion_weights, sample_speech
    from ml_backend.face_model.model import load
    from ml_backend.motion.predict import predict

    speech, model = load_speech(sample_speech()), load(head_model())
    spent = timed(lambda: predict(speech, motion_weights(), model, seed=0))
    return f"{spent / speech.seconds:.4f} x the speech's length (bar 0.02)"


def tracking() -> str:
    """The whole track of a clip against a bare loop of the landmark network over the same frames."""
    from ml_backend.config import head_model
    from ml_backend.face_model.model import load
    from tests.benchmarks.face_speed import BAR, ratio

    picture = cv2.cvtColor(cv2.imread(str(ROOT / "blender_assets" / "head" / "preview.png")), cv2.COLOR_BGR2RGB)
    side = picture.shape[0]
    shifts = np.round(30 * np.sin(np.arange(TRACKED) / 12)).astype(int)
    frames = [np.ascontiguousarray(np.roll(picture[:, :side], shift, 1)) for shift in shifts]
    return f"{ratio(frames, load(head_model()))[0]:.2f} x the bare network's speed (bar {BAR})"


def keyframes() -> str:
    """52 keys x 1,800 frames in bulk against as many calls of keyframe_insert."""
    from ml_backend.config import head_model

    words = [sys.executable, "-c", KEYS, str(ROOT), str(head_model())]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    line = next((line for line in done.stdout.splitlines() if line.startswith("RATIO")), None)
    if line is None:
        return f"could not run: {done.stderr.strip().splitlines()[-1:]}"
    ratio, seconds = map(float, line.split()[1:])
    return f"{ratio:.6f} x keyframe_insert in a loop ({seconds:.3f} s; bar 0.2 s)"


def plates() -> str:
    """Matching 275 frames over 300 source frames against the published greedy matching."""
    from ml_backend.background.match import match

    random = np.random.default_rng(0)
    wanted, given = (np.cumsum(random.standard_normal((count, 6)), 0) * 0.01 for count in (275, 300))
    best, greedy = (timed(lambda c=c: match(wanted, given, config=c)) for c in ("path", "yi2020"))
    return f"{best / greedy:.1f} x the published matching's time ({best:.3f} s)"


def refiner() -> str:
    """One refined frame of 256 x 256 against reading and writing one PNG of that size."""
    import tempfile

    from ml_backend.refine.apply import Refiner
    from ml_backend.refine.train import fine_tune
    from ml_backend.refine.weights import load_weights

    random = np.random.default_rng(0)
    frames = [random.integers(0, 255, (256, 256, 3), np.uint8) for _ in range(12)]
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.safetensors"
        fine_tune(frames, frames, None, weights, minutes=1, max_steps=1)
        network = Refiner(load_weights(weights))
    identity, window = network.identities(frames)[0], np.stack(frames[:3])
    spent = timed(lambda: network.refine(window, identity, 1.0), 10)
    coding = timed(lambda: cv2.imdecode(cv2.imencode(".png", frames[0])[1], cv2.IMREAD_COLOR))
    return f"{spent / coding:.1f} x coding one PNG ({spent:.3f} s a frame; bar 0.12 s)"


BENCHMARKS = {"motion": motion, "tracking": tracking, "keyframes": keyframes, "plates": plates, "refiner": refiner,
              "ui": ui, "instant": instant}
