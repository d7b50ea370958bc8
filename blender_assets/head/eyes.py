"""Eyeballs, and lids that lie on them."""

from __future__ import annotations

import numpy as np

from blender_assets.head import landmarks as lm
from blender_assets.head.part import Part, fan, grid_quads

RADIUS = 0.0125  # m; slightly more than an eye's 12 mm, so that it fills the lids of the mean face
LID_CLEARANCE = 0.0007  # m between eyeball and the lids' margin
SEGMENTS = 32
LIMBUS = float(np.degrees(np.arcsin(0.0061 / RADIUS)))
ANGLES = np.radians([5.5, 10, 12, 21, LIMBUS, 31, 41, 52, 64, 78, 92, 112])
MATERIALS = ("pupil", "pupil", "iris", "iris", "iris", *["sclera"] * 7)  # of the fan, then of each ring
MIDDLES = {"left": (385, 386, 387, 380, 374, 373), "right": (158, 159, 160, 153, 145, 144)}


def centre(points: np.ndarray, side: str) -> np.ndarray:
    """(3,) centre of the eyeball of `side` behind the lids of the landmarks `points` (478, 3)."""
    iris = points[lm.IRIS_LEFT if side == "left" else lm.IRIS_RIGHT]
    lids = points[list(MIDDLES[side])]
    away = ((lids[:, :2] - iris[:2]) ** 2).sum(1)
    depth = lids[:, 2] + np.sqrt((RADIUS + LID_CLEARANCE) ** 2 - away)
    return np.array([iris[0], iris[1], np.median(depth)])


def outside(points: np.ndarray, middle: np.ndarray, clearance: float | np.ndarray) -> np.ndarray:
    """`points` (N, 3) pushed radially out of the eyeball at `middle` (3,) to at least `clearance` above
    it."""
    away = points - middle
    length = np.linalg.norm(away, axis=-1, keepdims=True)
    needed = RADIUS + np.broadcast_to(np.asarray(clearance), length.shape[:-1])[..., None]
    return middle + away * np.maximum(1, needed / length)


def eyeball(middle: np.ndarray, side: str) -> Part:
    """The eyeball of `side` at `middle`: rings around the gaze, first vertex the pupil's centre; looks at
    −z."""
    turn = 2 * np.pi * np.arange(SEGMENTS) / SEGMENTS
    polar, around = np.meshgrid(ANGLES, turn, indexing="ij")
    unit = np.stack(
        [np.sin(polar) * np.cos(around), -np.sin(polar) * np.sin(around), -np.cos(polar)], -1
    ).reshape(-1, 3)
    vertices = np.concatenate([[[0, 0, -1.0]], unit]) * RADIUS + middle
    faces = np.concatenate(
        [fan(0, 1 + np.arange(SEGMENTS)), grid_quads(len(ANGLES), SEGMENTS, closed=True, start=1)[:, ::-1]]
    )
    disc = np.concatenate(
        [
            [[0, 0]],
            (polar / ANGLES[-1])[..., None].reshape(-1, 1)
            * np.stack([np.cos(around), np.sin(around)], -1).reshape(-1, 2),
        ]
    )
    return Part(f"eye_{side}", vertices, faces, 0.5 + 0.49 * disc, np.repeat(MATERIALS, SEGMENTS))


def iris_vertices() -> list[int]:
    """Vertices of an eyeball at MediaPipe's five iris points: centre, image right, top, image left,
    bottom."""
    ring = 1 + SEGMENTS * int(np.argmin(np.abs(np.degrees(ANGLES) - LIMBUS)))
    return [0, *(ring + SEGMENTS // 4 * quarter for quarter in range(4))]


def rim(margin: np.ndarray, middle: np.ndarray, side: str) -> Part:
    """The lids' edge: from the margin loop (N, 3) inward onto the eyeball at `middle`, so that no gap shows
    at the canthi."""
    n = len(margin)
    away = margin - middle
    length = np.linalg.norm(away, axis=1, keepdims=True)
    opening = margin.mean(0)
    rings = [margin]
    for share, sunk, spread in ((0.55, 0.0, 0.0), (1.0, 0.0004, 0.0), (1.0, 0.0016, 0.0022)):
        wanted = length + share * (RADIUS - sunk - length)
        ring = middle + away / length * wanted
        outward = (margin - opening) * [1, 1, 0]
        outward /= np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-6)
        rings.append(ring + spread * outward)
    faces = grid_quads(len(rings), n, closed=True)
    if side == "right":
        faces = faces[:, ::-1]
    turn = 2 * np.pi * np.arange(n) / n
    radius = 1 - 0.15 * np.arange(len(rings))
    disc = (radius[:, None, None] * np.stack([np.cos(turn), np.sin(turn)], -1)).reshape(-1, 2)
    return Part(f"lids_{side}", np.concatenate(rings), faces, 0.5 + 0.49 * disc, np.full(len(faces), "lids"))
