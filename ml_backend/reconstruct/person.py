"""Which pixels show a person: MediaPipe's selfie segmentation, whose weights are part of its wheel."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np

from ml_backend.reconstruct.mesh import quiet, rgb, warm_up

NETWORK_SIDE = 256
"""Pixels: the network sees its picture at this size."""


def person_mask(frame: np.ndarray, window: np.ndarray | None = None) -> np.ndarray:
    """(H, W) float32 in [0, 1]: how surely each pixel shows a person, hair and clothes included.

    Parameters
    ----------
    frame : (H, W, 3) RGB uint8
    window : (3,) x, y, side, pixels: look there only, which resolves a head in a large frame better; 0 outside
    """
    picture = rgb(frame)
    if window is None:
        with _network() as network:
            return _segment(network, picture)
    height, width = picture.shape[:2]
    x, y, side = (round(float(value)) for value in window)
    left, top, right, bottom = max(x, 0), max(y, 0), min(x + side, width), min(y + side, height)
    out = np.zeros((height, width), np.float32)
    if right - left < 2 or bottom - top < 2:
        return out
    with _network() as network:
        out[top:bottom, left:right] = _segment(network, np.ascontiguousarray(picture[top:bottom, left:right]))
    return out


def inner(mask: np.ndarray, margin: float) -> np.ndarray:
    """(H, W) float32: `mask` drawn in by `margin` pixels, with an edge as soft as that."""
    radius = max(1, round(margin))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    # Beyond the picture's edge the person goes on.
    sure = cv2.erode(np.clip(2 * mask - 0.5, 0, 1), kernel, borderType=cv2.BORDER_REPLICATE)
    return np.minimum(sure, cv2.GaussianBlur(sure, (0, 0), radius / 2, borderType=cv2.BORDER_REPLICATE))


def _segment(network: Any, picture: np.ndarray) -> np.ndarray:
    scale = NETWORK_SIDE / max(picture.shape[:2])
    small = picture if scale >= 1 else cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    found = network.process(np.ascontiguousarray(small)).segmentation_mask
    full = cv2.resize(np.asarray(found, np.float32), picture.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return np.clip(full, 0, 1)


@contextmanager
def _network() -> Iterator[Any]:
    with quiet():
        import mediapipe  # here, since it takes a second: see `mesh.face_mesh`

        network = mediapipe.solutions.selfie_segmentation.SelfieSegmentation(model_selection=0)
        warm_up(network)
    try:
        yield network
    finally:
        network.close()
