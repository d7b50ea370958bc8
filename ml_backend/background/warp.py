"""Exact scaling between a full frame and its square crop.

A crop (x, y, side) covers the area from x to x + side and y to y + side, where pixel i covers i to i + 1 and its centre
is i + 0.5. Cropping and pasting use the same map in its two directions, so that nothing drifts by half a pixel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np


def crop_resize(frame: np.ndarray, crop: Sequence[float] | np.ndarray, size: int) -> np.ndarray:
    """Square crop of `frame`, scaled to `size`.

    Parameters
    ----------
    frame : (H, W) or (H, W, C), uint8 or float32
    crop : x, y, side in pixels of `frame`, fractions allowed; what lies outside the frame repeats its border
    size : pixels of the result's sides

    Returns
    -------
    (size, size) or (size, size, C), dtype of `frame`
    """
    x, y, side = (float(value) for value in crop)
    return resample(frame, side / size, (x, y), (size, size), cv2.BORDER_REPLICATE)


def resample(image: np.ndarray, step: float, origin: tuple[float, float], size: tuple[int, int],
             border: int) -> np.ndarray:
    """Axis-aligned scaling with anti-aliasing.

    Parameters
    ----------
    image : (H, W) or (H, W, C), uint8 or float32
    step : pixels of `image` per output pixel
    origin : x, y in `image` of the output's upper left corner (a corner, not a pixel centre)
    size : width and height of the output
    border : OpenCV border mode for what lies outside `image`
    """
    if step == 1 and all(value == round(value) for value in origin):
        return _shift(image, round(origin[0]), round(origin[1]), size, border)
    # Where the picture shrinks, take several samples per pixel and average them; a single one would flicker.
    fold = max(1, math.ceil(step - 1e-6))
    fine = step / fold
    matrix = np.array([[fine, 0, origin[0] + fine / 2 - 0.5], [0, fine, origin[1] + fine / 2 - 0.5]])
    cubic = fine < 1 and image.ndim == 3
    flags = (cv2.INTER_CUBIC if cubic else cv2.INTER_LINEAR) | cv2.WARP_INVERSE_MAP
    result = cv2.warpAffine(image, matrix, (size[0] * fold, size[1] * fold), flags=flags, borderMode=border)
    return cv2.resize(result, size, interpolation=cv2.INTER_AREA) if fold > 1 else result


def _shift(image: np.ndarray, x: int, y: int, size: tuple[int, int], border: int) -> np.ndarray:
    """Whole pixels are copied, not interpolated."""
    height, width = image.shape[:2]
    left, top = max(0, -x), max(0, -y)
    right, bottom = max(0, x + size[0] - width), max(0, y + size[1] - height)
    if left or top or right or bottom:
        image = cv2.copyMakeBorder(image, top, bottom, left, right, border)
    return image[y + top : y + top + size[1], x + left : x + left + size[0]].copy()
