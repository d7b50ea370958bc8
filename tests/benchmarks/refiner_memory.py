"""A validation clip refined as films are: by the memory of its own frames."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from ml_backend.background.composite import FEATHER, composite, face_mask
from ml_backend.face_model.model import FaceModel
from ml_backend.reconstruct.recall_frames import Drawn
from ml_backend.refine.recalling import Remembered, give, remember
from ml_backend.refine.train import FROM_SCRATCH, tail_length
from tests.benchmarks.refiner_clips import RefinerClip


@dataclass(frozen=True)
class Recollected:
    """Test frames (H, W, 3) uint8 with what they lacked, what came of the memory, and what it took.

    `fitting` and `each` are seconds of the processor, of remembering and of one frame.
    """

    frames: list[np.ndarray]
    remembered: Remembered
    wall: float
    fitting: float
    each: float


def recollect(clip: RefinerClip, model: FaceModel) -> Recollected:
    """Remember the part to fit to, give it to the test part."""
    drawn = clip.drawn
    assert drawn is not None
    face, test = drawn.face(model), range(clip.fit, len(clip.real))
    ends = np.arange(clip.fit - tail_length(clip.fit, FROM_SCRATCH.tail), clip.fit)
    first = replace(drawn.acted, expression=drawn.acted.expression[:clip.fit], pose=drawn.acted.pose[:clip.fit])
    begun, busy = time.monotonic(), time.process_time()
    found = remember(face, first, lambda t: _frame(clip, drawn.own, t), lambda t: _frame(clip, drawn.unseen, t), ends,
                     clip.landmarks[:clip.fit])
    wall, fitting = time.monotonic() - begun, time.process_time() - busy
    frames, busy = [clip.composites[t] for t in test], time.process_time()
    if found.recall is not None:
        amounts = found.recall.amounts(drawn.acted.described(found.recall.names))
        frames = [give(face, found.recall, amounts[t], _frame(clip, drawn.own, t), drawn.acted, t) for t in test]
    return Recollected(frames, found, wall, fitting, (time.process_time() - busy) / max(len(frames), 1))


def _frame(clip: RefinerClip, rgba: np.ndarray, t: int) -> Drawn:
    shown = face_mask(rgba[t, ..., 3], FEATHER * rgba.shape[1])
    return Drawn(composite(rgba[t], clip.real[t], mask=shown), clip.real[t], shown)
