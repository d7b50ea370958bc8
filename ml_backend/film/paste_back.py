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
    result = full_frame.copy()
    place, colour, cover = pasted(full_frame.shape[:2], patch, crop, mask)
    if place is None:
        return result
    cover = np.where(cover > VISIBLE, np.minimum(cover, 1), 0)
    left, top, width, height = cv2.boundingRect((cover > 0).view(np.uint8))
    if width:
        box = (slice(top, top + height), slice(left, left + width))
        # A blend by nothing keeps the frame's bytes.
        parts = [np.ascontiguousarray(values[box]) for values in (result[place], colour, 1 - cover, cover)]
        result[place][box] = cv2.blendLinear(*parts)
    return result


def pasted(shape: tuple[int, ...], patch: np.ndarray, crop: Sequence[float] | np.ndarray,
           mask: np.ndarray) -> tuple[tuple[slice, slice] | None, np.ndarray, np.ndarray]:
    """The part of a frame of `shape` (H, W) that `crop` covers, with the patch's colours and cover there.

    Returns
    -------
    rows and columns, None where the crop lies outside; (h, w, 3) uint8 colours; (h, w) float32 cover
    """
    x, y, side = (float(value) for value in crop)
    height, width = shape
    left, top = max(0, math.floor(x)), max(0, math.floor(y))
    right, bottom = min(width, math.ceil(x + side)), min(height, math.ceil(y + side))
    if right <= left or bottom <= top:
        return None, np.zeros((0, 0, 3), np.uint8), np.zeros((0, 0), np.float32)
    step = patch.shape[0] / side
    origin, size = ((left - x) * step, (top - y) * step), (right - left, bottom - top)
    # The patch repeats its border so that a mask reaching there doesn't mix in black.
    colour = resample(patch, step, origin, size, cv2.BORDER_REPLICATE)
    cover = resample(mask.astype(np.float32), step, origin, size, cv2.BORDER_CONSTANT)
    return (slice(top, bottom), slice(left, right)), colour, cover
