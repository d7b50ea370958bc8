"""What in a clip does harm to plates: a camera that moves or zooms, passers-by, letters over the chin."""

from __future__ import annotations

import cv2
import numpy as np

STEP = 2
"""Cells of a flow taken along each side of one that is used: neighbours say the same."""
BESIDE, LEAST_WALL = 0.6, 0.06
"""Face heights to either side that may be hair or shoulders; share of the picture that has to be left to tell from."""
ALIKE = 0.006
"""Of the picture's longer side: motion this near to the camera's is the camera's."""
LETTERS = 90
"""Grey levels within two pixels: skin has no such edges, letters have nothing else."""
FACE = 160
"""Pixels of a face's height at which letters are sought: a subtitle's strokes are some pixels wide then."""
CHIN_AND_CHEEKS = (132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361, 425, 205)
LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
"""MediaPipe's points: along the jaw and across the cheeks; around the lips."""


def wall(landmarks: np.ndarray, shape: tuple[int, ...], scale: float) -> np.ndarray:
    """(h, w) bool, what is beside and above a person in a small picture of `shape`: nothing of the body moves there.

    Parameters
    ----------
    landmarks : (T, 478, ≥2) pixels of the frames, NaN for none
    shape : of the small picture, rows and columns
    scale : its pixels along one of the frames'
    """
    flat = landmarks[np.isfinite(landmarks).all((1, 2)), :, :2] * scale
    out = np.ones(shape, bool)
    if len(flat):
        low, high = np.percentile(flat.min(1), 5, axis=0), np.percentile(flat.max(1), 95, axis=0)
        spare = BESIDE * (high[1] - low[1])
        out[max(0, int(high[1])):] = False
        out[:, max(0, int(low[0] - spare)):max(0, int(high[0] + spare))] = False
    return out if out.mean() >= LEAST_WALL else np.zeros(shape, bool)


def camera_motion(moved: np.ndarray, counted: np.ndarray) -> tuple[np.ndarray, float]:
    """The camera's part of a motion, a shift and a growth, and how much else moves.

    Parameters
    ----------
    moved : (h, w, 2) pixels that each point moves until the next frame
    counted : (h, w) bool, what is background

    Returns
    -------
    (3,) shift to the right and down in pixels, at the picture's middle, and growth (0.01 for one percent); and the
    share of what is counted that moves otherwise. Zeros where nothing is counted.
    """
    counted, moved = counted[::STEP, ::STEP], moved[::STEP, ::STEP]
    rows, columns = np.nonzero(counted)
    if len(rows) < 8:
        return np.zeros(3), 0.0
    height, width = counted.shape
    there = np.stack([columns - width / 2, rows - height / 2], 1) * STEP
    flown = moved[rows, columns].astype(np.float64)
    limit = ALIKE * STEP * max(height, width)
    found = np.array([*np.median(flown, 0), 0.0])
    for _ in range(4):
        apart = np.linalg.norm(flown - found[:2] - found[2] * there, axis=1)
        near = apart <= max(limit, float(np.median(apart)))
        middle, centre = flown[near].mean(0), there[near].mean(0)
        spread = ((there[near] - centre) ** 2).sum()
        growth = ((flown[near] - middle) * (there[near] - centre)).sum() / max(spread, 1e-9)
        found = np.array([*(middle - growth * centre), growth])
    apart = np.linalg.norm(flown - found[:2] - found[2] * there, axis=1)
    return found, float((apart > limit).mean())


def lettering(frame: np.ndarray, landmarks: np.ndarray) -> float:
    """Share of the chin and the cheeks, lips left out, with edges as hard as those of letters.

    Parameters
    ----------
    frame : (H, W, 3) uint8 RGB
    landmarks : (478, ≥2) pixels
    """
    flat = landmarks[:, :2].astype(np.float64)
    if not np.isfinite(flat).all():
        return 0.0
    low = np.maximum(np.floor(flat.min(0)).astype(int), 0)
    high = np.minimum(np.ceil(flat.max(0)).astype(int), frame.shape[1::-1])
    if (high - low < 16).any():
        return 0.0
    scale = min(1.0, FACE / float(np.ptp(flat[:, 1])))
    part = cv2.cvtColor(np.ascontiguousarray(frame[low[1]:high[1], low[0]:high[0]]), cv2.COLOR_RGB2GRAY)
    part = cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    place = (flat - low) * scale
    counted = np.zeros(part.shape, np.uint8)
    cv2.fillPoly(counted, [np.round(place[list(CHIN_AND_CHEEKS)]).astype(np.int32)], (1,))
    counted = cv2.erode(counted, np.ones((7, 7), np.uint8))
    lips = cv2.convexHull(np.round(place[list(LIPS)]).astype(np.int32))
    cv2.fillConvexPoly(counted, lips, (0,))
    cv2.polylines(counted, [lips], True, (0,), 9)
    steps = cv2.morphologyEx(part, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    return float(((steps > LETTERS) * counted).sum() / max(int(counted.sum()), 1))
