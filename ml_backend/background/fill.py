"""A guess at what was never seen of a room: what is beside it, mirrored, as far as a moving head uncovers it."""

from __future__ import annotations

import cv2
import numpy as np

from ml_backend.background.composite import diffuse

COARSE = 4
"""Pixels per pixel of the smooth picture that stands in where no mirror reaches."""
ROUND = 0.02
"""Of a head's length: radius of the hole's outline, about which is mirrored; a frayed one would fray what it shows."""
REACH = 0.5
"""Of a head's length: depth at which the mirror's picture has given way to the smooth one."""
AROUND = 0.2
"""Of a head's length: within this is looked at in which direction the room goes on."""
EDGE = (0.03, 0.1)
"""Of a head's length: up to the first depth OpenCV's inpainting goes on with the room's edges, beyond the second the
mirror shows its patterns. On rings hidden for a trial in two clips the one is nearer the truth up to .1; at .15 the
other is in one of the two."""
INPAINT_RADIUS = 5
SOFTER, BLUR = (0.03, 0.06, 0.12), 0.5
"""Of a head's length: depths beyond which the guess is blurred more, fully at twice each; of such a depth, by how much.
"""
NEAREST, AGREEING = 2, 3
"""Powers by which a near mirror outweighs a far one, and one along a room's edges one across them."""


def filled(image: np.ndarray, known: np.ndarray, unit: float) -> np.ndarray:
    """`image` (H, W, 3) uint8 with a guess where it is not `known` (H, W) bool; the same bytes elsewhere.

    Beside the hole's outline colours go on as Bertalmío et al. 2001 (Navier–Stokes inpainting, OpenCV's) have it, which
    leaves no frayed edge. Deeper in each row goes on from its left and its right, each column from above, where a room
    has its wall; of these counts most what is near and goes along what is seen beside the hole, folds of a curtain,
    say. `unit` is the length of a head in pixels.
    """
    if known.all() or not known.any():
        return image.copy()
    smooth = _smooth(image, known)
    closed = ~known | (cv2.GaussianBlur((~known).astype(np.float32), (0, 0), max(ROUND * unit, 0.5)) > 0.3)
    closed = ~known if closed.all() else closed
    total = np.zeros((*known.shape, 4), np.float32)
    for turn, agrees in zip((_same, _mirror, _across), _agreement(image, ~closed, unit), strict=True):
        total += turn(_from_left(turn(image), turn(closed))) * agrees[..., None]
    deep = cv2.distanceTransform(closed.astype(np.uint8), cv2.DIST_L2, 5) / (REACH * unit)
    share = np.clip(1 - deep, 0, 1)[..., None] * (total[..., 3:] > 0)
    guess = smooth + share * (total[..., :3] / np.maximum(total[..., 3:], 1e-20) - smooth)
    guess = _soft(image, known, _beside(image, known, guess, unit), unit)
    return np.where(known[..., None], image, np.clip(guess + 0.5, 0, 255).astype(np.uint8))


def _beside(image: np.ndarray, known: np.ndarray, guess: np.ndarray, unit: float) -> np.ndarray:
    """(H, W, 3) float32 `guess`, inpainted where what is known is near."""
    hole = (~known).astype(np.uint8)
    depth = cv2.distanceTransform(hole, cv2.DIST_L2, 5) / unit
    share = np.clip((EDGE[1] - depth) / (EDGE[1] - EDGE[0]), 0, 1)[..., None]
    near = cv2.inpaint(image, hole, INPAINT_RADIUS, cv2.INPAINT_NS)
    return guess + share * (near - guess)


def _soft(image: np.ndarray, known: np.ndarray, guess: np.ndarray, unit: float) -> np.ndarray:
    """(H, W, 3) float32 `guess`, the softer the further from what is known: an edge there is one nobody has seen."""
    away = cv2.distanceTransform((~known).astype(np.uint8), cv2.DIST_L2, 5) / unit
    whole = np.where(known[..., None], image, guess).astype(np.float32)
    for blur in SOFTER:
        share = np.clip(away / blur - 1, 0, 1)[..., None]
        guess = guess + share * (cv2.GaussianBlur(whole, (0, 0), max(BLUR * blur * unit, 0.5)) - guess)
    return guess


def _smooth(image: np.ndarray, known: np.ndarray) -> np.ndarray:
    size = tuple(max(1, round(length / COARSE)) for length in known.shape[::-1])
    total = np.dstack([image * known[..., None], known]).astype(np.float32)
    field = diffuse(cv2.resize(total, size, interpolation=cv2.INTER_AREA))
    return cv2.resize(field, known.shape[::-1], interpolation=cv2.INTER_LINEAR)


def _agreement(image: np.ndarray, known: np.ndarray, unit: float) -> list[np.ndarray]:
    """(H, W) float32 for rows from the left, from the right, and columns: how little changes along them."""
    grey = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), 1.5)
    inner = cv2.erode(known.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(np.float32)
    across, down = (cv2.GaussianBlur(cv2.Sobel(grey, cv2.CV_32F, *order) ** 2 * inner, (0, 0), AROUND * unit)
                    for order in ((1, 0), (0, 1)))
    rows = (down + 1e-3) / (across + down + 2e-3)
    return [rows**AGREEING, rows**AGREEING, (1 - rows) ** AGREEING]


def _same(values: np.ndarray) -> np.ndarray:
    return values


def _mirror(values: np.ndarray) -> np.ndarray:
    return values[:, ::-1]


def _across(values: np.ndarray) -> np.ndarray:
    return np.swapaxes(values, 0, 1)


def _from_left(image: np.ndarray, closed: np.ndarray) -> np.ndarray:
    """(H, W, 4) what `closed` gets from its left, each row mirrored, times its weight, and the weight."""
    place, rows = np.arange(closed.shape[1], dtype=np.int32), np.arange(len(closed))[:, None]
    edge = np.maximum.accumulate(np.where(closed, -1, place), axis=1)
    begin = np.maximum.accumulate(np.where(closed, place + 1, 0), axis=1)
    there = closed & (edge >= 0)
    # A mirror that reaches beyond what is seen goes on with the last of it.
    source = np.maximum(2 * edge - place, begin[rows, np.maximum(edge, 0)])
    source = np.where(there, np.minimum(source, edge), 0)
    weight = np.where(there, 1 / (1.0 + place - edge) ** NEAREST, 0).astype(np.float32)
    return np.dstack([image[rows, source] * weight[..., None], weight])
