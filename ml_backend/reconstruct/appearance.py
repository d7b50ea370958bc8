"""What a picture shows about lips and brows that landmarks do not: directions of edges around them.

The patches lie as the outer corners of the eyes do, whose distance in space sets their scale. In cells of each, the
strength of edges in every direction counts beside that of the neighbourhood (histograms of oriented gradients, Dalal
and Triggs, CVPR 2005, with soft cells), so that neither light nor the colour of a skin matters much.
"""

from __future__ import annotations

import cv2
import numpy as np

MOUTH, BROWS = (72, 56), (104, 56)
"""Width and height of the patches, pixels."""
EYES = 72.0
"""Pixels between the outer corners of the eyes."""
CORNERS = (33, 263)
MOUTH_POINTS, BROW_POINTS = (61, 291, 0, 17), (105, 334, 168)
"""Landmarks about whose middle the patches are cut."""
CELL, DIRECTIONS = 8, 8
SOFT, POOL, AROUND, FAINT = 0.8, 0.45, 1.2, 0.15
"""Blur of the patch, pixels, and of the cells; of the neighbourhood, cells; share of the mean edge added to it."""
COUNT = DIRECTIONS * sum((width // CELL) * (height // CELL) for width, height in (MOUTH, BROWS))


def appearance(picture: np.ndarray, mark: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(`COUNT`,) float32 of the face with landmarks `mark` (478, 3) px in `picture` (H, W, 3) RGB uint8, and mirrored.

    The landmarks must be finite.
    """
    cut = patches(picture, mark)
    plain, flipped = (np.concatenate([_edges(part[:, ::step]) for part in cut]) for step in (1, -1))
    return plain, flipped


def patches(picture: np.ndarray, mark: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Grey uint8 patches of mouth and brows; arguments of `appearance`."""
    first, second = mark[list(CORNERS)].astype(float)
    scale = EYES / max(float(np.linalg.norm(first - second)), 1e-6)
    turn = np.arctan2(*(second - first)[1::-1])
    across, down = np.cos(turn) * scale, np.sin(turn) * scale
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    if scale < 0.7:
        grey = cv2.GaussianBlur(grey, (0, 0), 0.4 / scale)
    upright = np.array([[across, down], [-down, across]])
    return _cut(grey, upright, mark, MOUTH_POINTS, MOUTH), _cut(grey, upright, mark, BROW_POINTS, BROWS)


def _cut(grey: np.ndarray, upright: np.ndarray, mark: np.ndarray, points: tuple[int, ...], size: tuple[int, int]
         ) -> np.ndarray:
    middle = mark[list(points), :2].astype(float).mean(0)
    whole = np.concatenate([upright, (np.array(size) / 2 - upright @ middle)[:, None]], 1)
    return cv2.warpAffine(grey, whole, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _edges(patch: np.ndarray) -> np.ndarray:
    """(D,) float32 of a patch (H, W)."""
    grey = cv2.GaussianBlur(patch.astype(np.float32), (0, 0), SOFT)
    along, down = (cv2.Sobel(grey, cv2.CV_32F, *order, ksize=1) for order in ((1, 0), (0, 1)))
    place = np.arctan2(down, along) % (2 * np.pi) / (2 * np.pi) * DIRECTIONS
    lower, strength = np.floor(place), np.hypot(along, down)
    share, low = place - lower, lower.astype(int) % DIRECTIONS
    split = np.zeros((*patch.shape, DIRECTIONS), np.float32)
    rows, columns = np.indices(patch.shape)
    split[rows, columns, low] += strength * (1 - share)
    split[rows, columns, (low + 1) % DIRECTIONS] += strength * share
    cells = cv2.GaussianBlur(split, (0, 0), CELL * POOL)[CELL // 2::CELL, CELL // 2::CELL]
    total = np.sqrt((cells**2).sum(-1))
    around = cv2.GaussianBlur(total, (0, 0), AROUND) + FAINT * total.mean() + 1e-3
    return np.sqrt(cells / around[..., None]).ravel()
