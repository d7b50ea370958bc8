"""Faces of people who don't exist, half one real person and half another, in shape and in colour.

A few dozen real people are too few to learn what makes faces differ. Two of them brought to their common shape and
mixed look like a third, with real skin, real cameras and real light, and there are as many as there are pairs.
"""

from __future__ import annotations

import cv2
import numpy as np
from scipy.interpolate import LinearNDInterpolator
from scipy.spatial import Delaunay

from ml_backend.progress import Progress, silent
from ml_backend.recognise.faces import KEPT, Faces

OUTLINE = 24
"""Points around the picture that stay where they are."""
NOSE, SIDES = 1, (234, 454)
"""MediaPipe's nose tip and the face's edges left and right, which tell how far it is turned."""


def draw_blends(faces: Faces, people: int, views: int, *, seed: int = 0, progress: Progress = silent) -> np.ndarray:
    """(people, views, 144, 144, 3) uint8: `views` pictures of `people` pairs drawn from the persons of `faces`.

    Each picture mixes one of either person in which they face the same way as nearly as there is one. Fewer people come
    out where there are not as many pairs.
    """
    random = np.random.default_rng([seed, 3])
    names = np.unique(faces.person)
    pairs = np.array([(a, b) for a in range(len(names)) for b in range(a + 1, len(names))]).reshape(-1, 2)
    pairs = pairs[random.permutation(len(pairs))[:people]]
    turns = _turns(faces.points)
    out = np.zeros((len(pairs), views, KEPT, KEPT, 3), np.uint8)
    for number, (a, b) in enumerate(pairs):
        first, second = (np.flatnonzero(faces.person == names[k]) for k in (a, b))
        share = random.uniform(0.4, 0.6)
        for view in range(views):
            one = int(random.choice(first))
            near = second[np.argsort(np.abs(turns[second] - turns[one]))[:4]]
            out[number, view] = blend(faces, one, int(random.choice(near)), share)
        progress(number + 1, len(pairs))
    return out


def blend(faces: Faces, one: int, other: int, share: float) -> np.ndarray:
    """(144, 144, 3) uint8: faces `one` and `other` in the shape between them, `share` of the second."""
    edge = _outline()
    points = [np.concatenate([faces.points[k], edge]) for k in (one, other)]
    common = (1 - share) * points[0] + share * points[1]
    mesh = Delaunay(common)
    grid = np.stack(np.meshgrid(np.arange(KEPT), np.arange(KEPT)), -1).reshape(-1, 2)
    parts = []
    for k, own in zip((one, other), points, strict=True):
        where = LinearNDInterpolator(mesh, own)(grid).astype(np.float32).reshape(KEPT, KEPT, 2)
        parts.append(cv2.remap(faces.pictures[k], where[..., 0], where[..., 1], cv2.INTER_LINEAR,
                               borderMode=cv2.BORDER_REPLICATE).astype(np.float32))
    return np.round((1 - share) * parts[0] + share * parts[1]).astype(np.uint8)


def _turns(points: np.ndarray) -> np.ndarray:
    """(N,) where the nose lies between the face's edges, −1 to 1."""
    left, right = (points[:, k, 0] for k in SIDES)
    return 2 * (points[:, NOSE, 0] - left) / np.maximum(right - left, 1) - 1


def _outline() -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, OUTLINE, endpoint=False)
    ring = np.stack([np.cos(angle), np.sin(angle)], 1)
    # On the square's edge, a little outside, so that no pixel lies beyond the mesh.
    ring /= np.abs(ring).max(1, keepdims=True)
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    return (np.concatenate([ring, corners]) * 1.02 + 1) * (KEPT - 1) / 2
