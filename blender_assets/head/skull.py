"""Skin beyond the tracked face: cranium, jaw's underside and neck as one ring grid from the face oval to
the neck's cut."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from blender_assets.head.part import grid_quads, smoothstep

CENTRE = np.array([0.0, -0.010, 0.060])  # what all of the head's surface can be seen from
NECK_CUT = 0.168  # m below the origin
# Adult means (Farkas 1994): head 195 mm long, 152 mm broad, neck 380 mm around.
CRANIUM = (np.array([0.0, -0.046, 0.058]), np.array([0.0755, 0.094, 0.098]))
JAW = (np.array([0.0, 0.034, 0.026]), np.array([0.060, 0.060, 0.056]))
NECK_TOP, NECK_BOTTOM = np.array([0.0, 0.03, 0.080]), np.array([0.0, 0.25, 0.112])
RINGS = 24


def _ellipsoid(points: np.ndarray, centre: np.ndarray, radii: np.ndarray) -> np.ndarray:
    scaled = (points - centre) / radii
    length = np.linalg.norm(scaled, axis=-1)
    return (length - 1) * radii.min()


def _neck(points: np.ndarray) -> np.ndarray:
    axis = NECK_BOTTOM - NECK_TOP
    t = np.clip((points - NECK_TOP) @ axis / (axis @ axis), 0, 1)
    return np.linalg.norm(points - NECK_TOP - t[..., None] * axis, axis=-1) - neck_radius(points[..., 1])


def neck_radius(y: np.ndarray) -> np.ndarray:
    """(…,) m: the neck's radius at heights `y`, narrowest below the jaw, wider towards the shoulders."""
    return 0.0515 + 0.016 * smoothstep(y, 0.09, 0.21)


def _union(a: np.ndarray, b: np.ndarray, blend: float) -> np.ndarray:
    """Smooth minimum of two distances over `blend` metres (Quilez's polynomial form)."""
    h = np.clip(0.5 + 0.5 * (b - a) / blend, 0, 1)
    return b + (a - b) * h - blend * h * (1 - h)


def distance(points: np.ndarray) -> np.ndarray:
    """(…,) signed pseudo-distance (m) of `points` (…, 3) from the head's surface."""
    skull = _union(_ellipsoid(points, *CRANIUM), _ellipsoid(points, *JAW), 0.02)
    return _union(skull, _neck(points), 0.022)


def surface(directions: np.ndarray) -> np.ndarray:
    """(N, 3) surface points seen from `CENTRE` along unit `directions` (N, 3)."""
    low, high = np.zeros(len(directions)), np.full(len(directions), 0.4)
    for _ in range(40):
        middle = 0.5 * (low + high)
        outside = distance(CENTRE + middle[:, None] * directions) > 0
        low, high = np.where(outside, low, middle), np.where(outside, middle, high)
    return CENTRE + low[:, None] * directions


def _to_map(points: np.ndarray) -> np.ndarray:
    """(N, 2) azimuthal equidistant map, crown in the middle, of `points` (N, 3) seen from `CENTRE`."""
    d = points - CENTRE
    d = d / np.linalg.norm(d, axis=1, keepdims=True)
    angle = np.arccos(-d[:, 1])
    flat = d[:, [0, 2]] / np.maximum(np.linalg.norm(d[:, [0, 2]], axis=1, keepdims=True), 1e-9)
    return angle[:, None] * flat


def _from_map(points: np.ndarray) -> np.ndarray:
    angle = np.linalg.norm(points, axis=1)
    flat = points / np.maximum(angle[:, None], 1e-9)
    return np.stack([np.sin(angle) * flat[:, 0], -np.cos(angle), np.sin(angle) * flat[:, 1]], 1)


def neck_ring(oval: np.ndarray) -> np.ndarray:
    """(N, 3) points of the neck's cut, one for each point of the face `oval` (N, 3): crown to nape, chin to
    throat."""
    middle = 0.5 * (oval[:, 1].min() + oval[:, 1].max())
    turn = np.arctan2(oval[:, 0] / np.abs(oval[:, 0]).max(), (oval[:, 1] - middle) / np.ptp(oval[:, 1]) * 2)
    axis = NECK_TOP + (NECK_BOTTOM - NECK_TOP) * (NECK_CUT - NECK_TOP[1]) / (NECK_BOTTOM[1] - NECK_TOP[1])
    return axis + neck_radius(np.array(NECK_CUT)) * np.stack(
        [np.sin(turn), np.zeros(len(turn)), -np.cos(turn)], 1
    )


def rings(oval: np.ndarray) -> np.ndarray:
    """(RINGS, N, 3) points outside the face oval (N, 3), from the first ring beyond it to the neck's cut."""
    start, end = _to_map(oval), _to_map(neck_ring(oval))
    offset = np.linalg.norm(oval - CENTRE, axis=1) - np.linalg.norm(
        surface(_from_map(start)) - CENTRE, axis=1
    )
    result = []
    for step in range(1, RINGS + 1):
        t = (step / RINGS) ** 1.15
        directions = _from_map(start + t * (end - start))
        fade = 1 - smoothstep(np.array(t), 0.0, 0.35)
        result.append(surface(directions) + (fade * offset)[:, None] * directions)
    return np.stack(result)


def ring_quads(oval: np.ndarray, first: int) -> np.ndarray:
    """(F, 4) quads between the `oval` vertices (N,) and the rings numbered from `first`, facing outward."""
    n = len(oval)
    quads = grid_quads(RINGS + 1, n, closed=True)
    number = np.concatenate([oval, first + np.arange(RINGS * n)])
    return number[quads]


def fair(points: np.ndarray, quads: np.ndarray, free: np.ndarray, pull: np.ndarray) -> np.ndarray:
    """`points` (V, 3) with the `free` (N,) ones moved to the smoothest surface that stays near them.

    `pull` (N,) weighs the distance from the start against the squared bi-Laplacian; 0 lets a vertex go
    where it is smooth.
    """
    edges = np.concatenate([quads[:, [i, (i + 1) % 4]] for i in range(4)])
    ones = np.ones(len(edges))
    adjacency = sparse.coo_matrix((ones, (edges[:, 0], edges[:, 1])), shape=(len(points),) * 2).tocsr()
    adjacency = ((adjacency + adjacency.T) > 0).astype(float)
    operator = (
        sparse.identity(len(points)) - sparse.diags(1 / np.asarray(adjacency.sum(1)).ravel()) @ adjacency
    )
    operator = operator.tocsr()
    fixed = np.setdiff1d(np.arange(len(points)), free)
    near = np.unique(np.concatenate([free, adjacency[free].nonzero()[1]]))
    energy = operator[near]
    left, right = energy[:, free], energy[:, fixed] @ points[fixed]
    system = (left.T @ left + sparse.diags(pull)).tocsc()
    result = points.copy()
    result[free] = splu(system).solve(-(left.T @ right) + pull[:, None] * points[free])
    return result
