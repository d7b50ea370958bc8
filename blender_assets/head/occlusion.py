"""How much of the sky each point of the skin sees, by rays: what folds and hollows darken."""

from __future__ import annotations

import bpy  # noqa: F401 - brings mathutils along
import numpy as np
from mathutils.bvhtree import BVHTree

from addon.core.shading import vertex_normals
from ml_backend.face_model.model import FaceModel

RAYS, REACH, LIFT = 128, 0.045, 0.0006
"""Rays a vertex; m beyond which nothing darkens; m above the skin where rays start."""
POSES: tuple[dict[str, float], ...] = ({}, {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0, "jawOpen": 0.12})
"""A fold that opens in one of these poses keeps half of its light in all of them."""
LIT = ("skin", "ear_left", "ear_right")


def skin(model: FaceModel, seed: int = 5) -> np.ndarray:
    """(V,) in [0, 1]: the share of cosine-weighted rays that leave the skin unhindered; 1 off the skin."""
    random = np.random.default_rng(seed)
    directions = _directions(random)
    chosen = np.flatnonzero(np.isin(model.vertex_part, [list(model.part_names).index(name) for name in LIT]))
    total = np.zeros(len(model.mean_shape))
    for pose in POSES:
        points = model.mean_shape.astype(np.float64)
        for name, weight in pose.items():
            points = points + weight * model.expression_basis[model.names.index(name)]
        total[chosen] += _open(points, model.triangles(), chosen, directions) / len(POSES)
    others = np.ones(len(total), bool)
    others[chosen] = False
    total[others] = 1
    return total


def _directions(random: np.random.Generator) -> np.ndarray:
    """(RAYS, 3) about +z, cosine-weighted."""
    radius, turn = np.sqrt((np.arange(RAYS) + 0.5) / RAYS), np.arange(RAYS) * 2.39996 + random.uniform(0, 6)
    return np.stack([radius * np.cos(turn), radius * np.sin(turn), np.sqrt(1 - radius**2)], 1)


def _open(points: np.ndarray, triangles: np.ndarray, chosen: np.ndarray, directions: np.ndarray) -> np.ndarray:
    tree = BVHTree.FromPolygons(points.tolist(), triangles.tolist())
    normals = vertex_normals(points, triangles)[chosen]
    side = np.cross(normals, np.where(np.abs(normals[:, :1]) < 0.8, [[1.0, 0, 0]], [[0, 1.0, 0]]))
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    up = np.cross(normals, side)
    result = np.zeros(len(chosen))
    for row, vertex in enumerate(chosen):
        start = (points[vertex] + LIFT * normals[row]).tolist()
        rays = directions @ np.stack([side[row], up[row], normals[row]])
        for ray in rays.tolist():
            reached = tree.ray_cast(start, ray, REACH)[3]
            result[row] += 1.0 if reached is None else reached / REACH
    return result / len(directions)

