"""Pasting the finished crop back into the clip's full frame."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from ml_backend.background.warp import resample

VISIBLE = 1 / 512  # of the mask: less would change no 8-bit value


def paste_back(full_frame: np.ndarray, patch: np.ndarray, crop: Sequence[float] | np.ndarray,
               mask: np.ndarray) -> np.ndarray:
    """Put `patch` where `crop_resize` took it from, by the inverse of its map.

    Parameters
    ----------
    full_frame : (H, W, 3) uint8 RGB
    patch : (S, S, 3) uint8 RGB
    crop : x, y, side in pixels of the frame; may reach outside it
    mask : (S, S) float in [0, 1], share of the patch

    Returns
    -------
    (H, W, 3) uint8, a new array; where the mask is 0 the frame bit for bit
    """
    x, y, side = (float(value) for value in crop)
    height, width = full_frame.shape[:2]
    left, top = max(0, math.floor(x)), max(0, math.floor(y))
    right, bottom = min(width, math.ceil(x + side)), min(height, math.ceil(y + side))
    result = full_frame.copy()
    if right <= left or bottom <= top:
        return result
    step = patch.shape[0] / side
    origin, size = ((left - x) * step, (top - y) * step), (right - left, bottom - top)
    # The patch repeats its border so that a mask reaching there doesn't mix in black.
    colour = resample(patch, step, origin, size, cv2.BORDER_REPLICATE).astype(np.float32)
    cover = resample(mask.astype(np.float32), step, origin, size, cv2.BORDER_CONSTANT)[..., None]
    behind = result[top:bottom, left:right]
    blend = behind + np.clip(cover, 0, 1) * (colour - behind)
    result[top:bottom, left:right] = np.where(cover > VISIBLE, (blend + 0.5).astype(np.uint8), behind)
    return result
