"""The rig's shading in NumPy, for the engine that has no shader nodes: C = t Σ γ_b Φ_b(n)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .pose import rotation_matrix, spherical_harmonics

OPENERS: dict[str, float] = {
    "jawOpen": 2.0, "mouthClose": -2.0, "mouthFunnel": 0.5, "mouthLowerDownLeft": 0.6, "mouthLowerDownRight": 0.6,
    "mouthUpperUpLeft": 0.6, "mouthUpperUpRight": 0.6, "tongueOut": 2.0,
}
"""How much each expression at weight 1 adds to the share of the light that gets into the mouth."""
CLOSED = 0.25
"""That share while the lips are shut: what little of teeth a narrow gap shows is dark."""


def opening(weights: Mapping[str, float]) -> float:
    """Share of the light that gets into the mouth at expression `weights`, `CLOSED` to 1."""
    total = CLOSED + sum(gain * float(weights.get(name, 0.0)) for name, gain in OPENERS.items())
    return min(max(total, CLOSED), 1.0)


def triangles(faces: np.ndarray) -> np.ndarray:
    """(N, 3): `faces` (F, 4), -1 in the 4th for triangles, with every quad split in two."""
    quads = faces[faces[:, 3] >= 0]
    return np.concatenate([faces[:, :3], quads[:, [0, 2, 3]]])


def vertex_normals(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """(V, 3) unit outward normals of `points` (V, 3) with triangles `corners` (N, 3), weighted by area."""
    a, b, c = (points[corners[:, i]] for i in range(3))
    face = np.cross(b - a, c - a)
    index = corners.T.ravel()
    total = np.stack([np.bincount(index, np.tile(face[:, axis], 3), len(points)) for axis in range(3)], 1)
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-20)


def irradiance(points: np.ndarray, corners: np.ndarray, angles: np.ndarray, light: np.ndarray) -> np.ndarray:
    """(V, 3) light at model-space `points` (V, 3) turned by `angles` (3,) rad under `light` (9, 3), not below 0."""
    normals = vertex_normals(points, corners) @ rotation_matrix(angles).T
    return np.maximum(spherical_harmonics(normals) @ light, 0)
