"""A film's frames taken apart for compositors: the face with its alpha, and what is behind it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ml_backend.film.paste_back import pasted


def over(rgba: np.ndarray, behind: np.ndarray) -> np.ndarray:
    """Straight-alpha `rgba` (H, W, 4) uint8 over `behind` (H, W, 3) uint8.

    Returns
    -------
    (H, W, 3) uint8; where the alpha is 0, `behind` bit for bit
    """
    alpha = rgba[..., 3:].astype(np.float32) / 255
    mixed = behind + alpha * (rgba[..., :3].astype(np.float32) - behind)
    return (mixed + 0.5).astype(np.uint8)


def face_layer(size: tuple[int, int], patch: np.ndarray, crop: Sequence[float] | np.ndarray,
               mask: np.ndarray) -> np.ndarray:
    """What `paste_back` would put on a frame, on a clear one.

    Parameters
    ----------
    size : width and height of the frame
    patch, crop, mask : as of `paste_back`

    Returns
    -------
    (H, W, 4) uint8, straight alpha
    """
    layer = np.zeros((size[1], size[0], 4), np.uint8)
    place, colour, cover = pasted((size[1], size[0]), patch, crop, mask)
    if place is not None:
        layer[place] = np.dstack([colour, np.clip(cover, 0, 1) * 255]) + 0.5
        layer[place][layer[place][..., 3] == 0] = 0
    return layer


def difference_layer(frame: np.ndarray, behind: np.ndarray) -> np.ndarray:
    """(H, W, 4) uint8: `frame`, opaque where it differs from `behind` (both (H, W, 3) uint8), clear elsewhere."""
    changed = (frame != behind).any(2, keepdims=True)
    return np.concatenate([np.where(changed, frame, 0), changed * np.uint8(255)], 2).astype(np.uint8)
