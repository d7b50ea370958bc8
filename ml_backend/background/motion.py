"""How much moves in a clip from frame to frame besides the face: what a jump in the film is measured against."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from ml_backend.background.between import flow

LONGEST = 240
"""Pixels along the longer side: enough to see a body sway, quick enough for every frame."""
SHARE = 95
"""Percentile of the motion over the picture: the part that moves most counts, single wrong vectors don't."""


class MotionMeter:
    """Measures the motion from each frame to the next outside the face, frame after frame.

    Parameters
    ----------
    crop : (3,) x, y, side of the face crop; its inner part is left out; None to count everything

    Attributes
    ----------
    flown : (h, w, 2) float32, the motion of the last frame given, from the one before, in a picture of `LONGEST` and in
        its pixels; None before the second frame
    """

    def __init__(self, crop: np.ndarray | None = None) -> None:
        self._crop, self._before = crop, None
        self._values: list[float] = []
        self.flown: np.ndarray | None = None

    def add(self, frame: np.ndarray) -> None:
        """The next frame, (H, W, 3) uint8 RGB."""
        small, scale = _small(frame)
        if self._before is not None:
            self.flown = flow(self._before, small, longest=LONGEST)
            amount = np.linalg.norm(self.flown, axis=2)[_mask(small.shape, self._crop, scale)]
            self._values.append(float(np.percentile(amount, SHARE)) / scale if amount.size else 0.0)
        self._before = small

    def motion(self) -> np.ndarray:
        """(T,) float32 pixels from each frame to the next, the last one repeated so that there is one for each."""
        return np.array([*self._values, *self._values[-1:]] or [0.0], np.float32)


def surroundings_motion(frames: Iterable[np.ndarray], crop: np.ndarray | None = None) -> np.ndarray:
    """(T,) of all `frames`, see `MotionMeter`."""
    meter = MotionMeter(crop)
    for frame in frames:
        meter.add(frame)
    return meter.motion()


def _small(frame: np.ndarray) -> tuple[np.ndarray, float]:
    scale = min(1.0, LONGEST / max(frame.shape[:2]))
    return cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), scale


def _mask(shape: tuple[int, ...], crop: np.ndarray | None, scale: float) -> np.ndarray:
    counted = np.ones(shape[:2], bool)
    if crop is not None:
        x, y, side = (float(value) * scale for value in crop)
        y0, y1 = max(0, int(y + 0.12 * side)), max(0, int(y + 0.88 * side))
        x0, x1 = max(0, int(x + 0.12 * side)), max(0, int(x + 0.88 * side))
        counted[y0:y1, x0:x1] = False
    # Of a portrait that is all face, what is left at its edge.
    return counted if counted.mean() > 0.05 else np.ones(shape[:2], bool)
