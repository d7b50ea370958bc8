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
AROUND = 5
"""Pixels across that a moving pixel makes its neighbours count as moving."""
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
    small = _grey(first, longest), _grey(second, longest)
    full = cv2.resize(_search(*small), (width, height), interpolation=cv2.INTER_LINEAR)
    return full * np.array([width / small[0].shape[1], height / small[0].shape[0]], np.float32)


def _grey(image: np.ndarray, longest: int) -> np.ndarray:
    height, width = image.shape[:2]
    scale = min(1.0, longest / max(height, width))
    size = (max(16, round(width * scale)), max(16, round(height * scale)))
    return cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)


def _search(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    return search.calc(first, second, np.zeros((*first.shape, 2), np.float32))


def between(first: np.ndarray, second: np.ndarray, share: float) -> np.ndarray:
    """The picture at `share` (0 to 1) of the way from `first` to `second`.

    Returns
    -------
    (H, W, 3) uint8; where nothing moves, the nearer frame bit for bit
    """
    nearest = first if share < 0.5 else second
    small = _grey(first, LONGEST), _grey(second, LONGEST)
    scale = np.array(first.shape[1::-1], np.float32) / np.array(small[0].shape[::-1], np.float32)
    forth, back = _search(*small) * scale, _search(*small[::-1]) * scale
    amount = np.maximum(np.linalg.norm(forth, axis=2), np.linalg.norm(back, axis=2))
    if amount.max() < STILL[0] or np.percentile(amount, 99) > LARGEST * max(first.shape):
        return nearest.copy()
    side = max(3, round(AROUND / scale.max()) | 1)
    moving = cv2.dilate(amount.astype(np.float32), np.ones((side, side), np.uint8))
    weight = np.clip((moving - STILL[0]) / (STILL[1] - STILL[0]), 0, 1)
    # Only what moves is made anew, in the rectangle around it.
    left, top, wide, tall = cv2.boundingRect((weight > 0).astype(np.uint8))
    part = _box(left, top, wide, tall, scale, first.shape)
    weight, forth, back = (_upscaled(values, part, scale) for values in (weight, forth, back))
    columns = np.arange(part[1].start, part[1].stop, dtype=np.float32)
    rows = np.arange(part[0].start, part[0].stop, dtype=np.float32)[:, None]
    moved = [cv2.remap(image, columns - past * flown[..., 0], rows - past * flown[..., 1], cv2.INTER_CUBIC,
                       borderMode=cv2.BORDER_REPLICATE)
             for image, flown, past in ((first, forth, share), (second, back, 1 - share))]
    out = nearest.copy()
    mixed = cv2.addWeighted(moved[0], 1 - share, moved[1], share, 0)
    out[part] = cv2.blendLinear(np.ascontiguousarray(nearest[part]), mixed, 1 - weight, weight)
    return out


def _box(left: int, top: int, wide: int, tall: int, scale: np.ndarray, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Rows and columns of the frame that a box of the small picture covers, and a little more."""
    x0, y0 = (max(0, int((first - 1) * step)) for first, step in zip((left, top), scale, strict=True))
    return (slice(y0, min(shape[0], int(np.ceil((top + tall + 1) * scale[1])))),
            slice(x0, min(shape[1], int(np.ceil((left + wide + 1) * scale[0])))))


def _upscaled(values: np.ndarray, part: tuple[slice, slice], scale: np.ndarray) -> np.ndarray:
    """`values` (h, w, …) of the small picture as they are in a `part` of the full one."""
    if np.all(scale == 1):
        return np.ascontiguousarray(values[part])
    matrix = np.array([[1 / scale[0], 0, (part[1].start + 0.5) / scale[0] - 0.5],
                       [0, 1 / scale[1], (part[0].start + 0.5) / scale[1] - 0.5]])
    size = (part[1].stop - part[1].start, part[0].stop - part[0].start)
    return cv2.warpAffine(values, matrix, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                          borderMode=cv2.BORDER_REPLICATE)
