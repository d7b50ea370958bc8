"""Moments between two frames of a clip: optical flow in place of repeated frames."""

from __future__ import annotations

import cv2
import numpy as np

SNAP = 0.13
"""Frames: a moment as near as this to a frame is that frame, sharper than any interpolation."""
STILL = (0.25, 0.75)
"""Pixels of motion up to which a pixel is the nearest frame's own, and from which it is interpolated."""
LONGEST = 640
"""Pixels along the longer side at which motion is measured."""
LARGEST = 0.06
"""Of the frame's longer side: faster motion is none that flow could follow; the nearest frame is shown."""


def snapped(position: np.ndarray) -> np.ndarray:
    """(T,) float32: moments close to a frame put onto it."""
    whole = np.rint(position)
    return np.where(np.abs(position - whole) <= SNAP, whole, position).astype(np.float32)


def flow(first: np.ndarray, second: np.ndarray, *, longest: int = LONGEST) -> np.ndarray:
    """(H, W, 2) float32 pixels that each point of `first` moves until `second`; both (H, W, 3) uint8 RGB.

    Dense inverse search, Kroeger et al. 2016, as OpenCV has it.
    """
    height, width = first.shape[:2]
    scale = min(1.0, longest / max(height, width))
    size = (max(16, round(width * scale)), max(16, round(height * scale)))
    grey = [cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA)
            for image in (first, second)]
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    moved = search.calc(grey[0], grey[1], np.zeros((*grey[0].shape, 2), np.float32))
    full = cv2.resize(moved, (width, height), interpolation=cv2.INTER_LINEAR)
    return full * np.array([width / size[0], height / size[1]], np.float32)


def between(first: np.ndarray, second: np.ndarray, share: float) -> np.ndarray:
    """The picture at `share` (0 to 1) of the way from `first` to `second`.

    Returns
    -------
    (H, W, 3) uint8; where nothing moves, the nearer frame bit for bit
    """
    nearest = first if share < 0.5 else second
    forth, back = flow(first, second), flow(second, first)
    amount = np.maximum(np.linalg.norm(forth, axis=2), np.linalg.norm(back, axis=2))
    if amount.max() < STILL[0] or np.percentile(amount, 99) > LARGEST * max(first.shape):
        return nearest.copy()
    rows, columns = np.mgrid[:first.shape[0], :first.shape[1]].astype(np.float32)
    parts = [cv2.remap(image, columns - part * moved[..., 0], rows - part * moved[..., 1], cv2.INTER_CUBIC,
                       borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
             for image, moved, part in ((first, forth, share), (second, back, 1 - share))]
    mixed = parts[0] + np.float32(share) * (parts[1] - parts[0])
    moving = cv2.dilate(amount.astype(np.float32), np.ones((5, 5), np.uint8))
    weight = np.clip((moving - STILL[0]) / (STILL[1] - STILL[0]), 0, 1)[..., None]
    blend = nearest + weight * (mixed - nearest)
    return np.where(weight > 0, np.clip(blend + 0.5, 0, 255).astype(np.uint8), nearest)
