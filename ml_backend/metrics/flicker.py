"""Flicker: what changes from one frame to the next that no motion explains."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np

_FLOOR = 0.05
"""Grey levels: where a film stands still, nothing over nothing is no flicker."""


def warped_change(frames: Sequence[np.ndarray] | np.ndarray) -> float:
    """Mean absolute difference, in [0, 255], of each frame from its predecessor moved onto it by optical flow.

    Parameters
    ----------
    frames : T ≥ 2 pictures (H, W, 3) uint8 RGB of one size, consecutive

    The flow is OpenCV's DIS (Kroeger et al. 2016). Pixels that come from outside the picture don't count.
    """
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    height, width = frames[0].shape[:2]
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float32)
    changes = []
    for before, after in pairwise(frames):
        field = flow.calc(_grey(after), _grey(before), np.zeros((height, width, 2), np.float32))
        at = grid + field
        moved = cv2.remap(before, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        inside = ((at >= 0) & (at <= (width - 1, height - 1))).all(-1)
        difference = np.abs(after.astype(np.int16) - moved.astype(np.int16)).mean(-1)
        changes.append(float(difference[inside].mean()) if inside.any() else 0.0)
    return float(np.mean(changes))


def flicker_ratio(frames: Sequence[np.ndarray] | np.ndarray, real: Sequence[np.ndarray] | np.ndarray) -> float:
    """`warped_change` of `frames` over that of `real`: 1 = as calm as the real film, more = flickers."""
    return (warped_change(frames) + _FLOOR) / (warped_change(real) + _FLOOR)


def _grey(picture: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY)
