"""The skin around a mouth as it looks from the front, from a picture and the pose found in it.

A sheet of the head's own space, bent as the mean face is, hangs at the mouth that was found, and each of its points
takes its colour where the camera sees it. So neither the turn of the head nor its size matters much to what reads the
view, and what the landmarks got wrong shows: lips that lie elsewhere on the sheet than theirs.
"""

from __future__ import annotations

import cv2
import numpy as np

from ml_backend.face_model.synthesis import project
from ml_backend.reconstruct.equations import View
from ml_backend.reconstruct.points import Rig

WIDTH, HEIGHT = 64, 56
STEP = 0.0016
"""Metres on the sheet from pixel to pixel."""
MIDDLE = (61, 291, 0, 17)
"""Landmarks about whose middle the sheet hangs: corners of the mouth, edges of the lips."""
BLUR = 0.4
"""Blur of a picture that is drawn smaller, as share of its pixels to one of the view."""


def mouth_view(picture: np.ndarray, view: View, target: np.ndarray, points: Rig) -> np.ndarray:
    """(`HEIGHT`, `WIDTH`, 3) uint8 of the mouth in `picture` (H, W, 3) RGB uint8; outside it the edge is repeated.

    Parameters
    ----------
    view : its first frame's pose and camera
    target : (L, 3) metres, where the landmarks lie in model space under that pose
    """
    place = sheet(points) + target[points.rows(MIDDLE)].mean(0)
    camera = place @ view.rotation[0].T + view.translation[0]
    # Behind the camera there is nothing to see, and nothing to divide by.
    camera[:, 2] = np.maximum(camera[:, 2], 1e-3)
    seen = project(camera, view.focal, view.centre).reshape(HEIGHT, WIDTH, 2).astype(np.float32)
    size = float(np.linalg.norm(seen[HEIGHT // 2, -1] - seen[HEIGHT // 2, 0])) / (WIDTH - 1)
    cut, seen = _around(picture, seen)
    if size > 1:
        cut = cv2.GaussianBlur(cut, (0, 0), BLUR * size)
    return cv2.remap(cut, seen[..., 0], seen[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def sheet(points: Rig) -> np.ndarray:
    """(`HEIGHT` · `WIDTH`, 3) metres about the mouth's middle, row by row from above, +x last: the mean face's bend."""
    around = points.mean - points.mean[points.rows(MIDDLE)].mean(0)
    near = around[(np.abs(around[:, 0]) < 0.05) & (np.abs(around[:, 1]) < 0.045) & (around[:, 2] < 0.05)]
    bend = np.linalg.lstsq(_powers(near[:, 0], near[:, 1]), near[:, 2], rcond=None)[0]
    down, across = np.mgrid[:HEIGHT, :WIDTH].reshape(2, -1) * STEP
    down, across = down - down.mean(), across - across.mean()
    return np.stack([across, down, _powers(across, down) @ bend], 1)


def _powers(across: np.ndarray, down: np.ndarray) -> np.ndarray:
    """(N, 4) what the depth of the sheet is linear in; alike on both sides."""
    return np.stack([np.ones_like(across), across**2, down, down**2], 1)


def _around(picture: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The part of `picture` where the places `seen` (H, W, 2) lie, since blur costs by area, and their places in it."""
    height, width = picture.shape[:2]
    margin = 8
    low = np.clip(np.floor(seen.reshape(-1, 2).min(0)).astype(int) - margin, 0, [width - 1, height - 1])
    high = np.clip(np.ceil(seen.reshape(-1, 2).max(0)).astype(int) + margin, low + 1, [width, height])
    return picture[low[1]:high[1], low[0]:high[0]], (seen - low).astype(np.float32)
