"""Teeth, tongue and mouth bag of a person whose face is flatter or shorter than the model's, moved behind the skin."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from ml_backend.face_model.model import FaceModel
from ml_backend.face_model.synthesis import vertex_normals

SOFT, HARD = ("mouth_bag", "lining"), ("teeth", "tongue")
"""How the names of parts begin that may bend, and of those that keep their shape."""
BEHIND = 0.0008
"""Metres that suffice behind the skin; what lies nearer in the mean face may do so in any."""
LIMIT = 0.008
FACING, NEAR_FACE = 0.3, 0.2


def tuck(model: FaceModel, shape: np.ndarray) -> np.ndarray:
    """(V, 3) metres to add to the neutral `shape` (V, 3): parts of the mouth that came through the skin go back."""
    out = np.zeros_like(shape)
    names = [str(name) for name in model.part_names]
    if "skin" not in names:
        return out
    soft, hard = ([k for k, name in enumerate(names) if name.startswith(kind)] for kind in (SOFT, HARD))
    inner = np.flatnonzero(np.isin(model.vertex_part, soft + hard))
    if not len(inner):
        return out
    wanted = np.minimum(_depth(model, model.mean_shape.astype(float), inner), BEHIND)
    lacking = np.zeros(len(shape))
    lacking[inner] = np.clip(wanted - _depth(model, shape, inner), 0, LIMIT)
    for part in hard:
        rows = model.vertex_part == part
        lacking[rows] = lacking[rows].max(initial=0)
    out[:, 2] = lacking
    return out


def _depth(model: FaceModel, shape: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(N,) metres by which vertices `rows` of `shape` lie behind the face's skin, along the view from the front."""
    normals = vertex_normals(shape, model.triangles())
    front = np.flatnonzero(model.part("skin") & (model.region("face") > NEAR_FACE) & (normals[:, 2] < -FACING))
    if not len(front):
        return np.full(len(rows), np.inf)
    place = front[cKDTree(shape[front, :2]).query(shape[rows, :2])[1]]
    aside, slope = shape[rows, :2] - shape[place, :2], normals[place]
    return shape[rows, 2] - (shape[place, 2] - (slope[:, :2] * aside).sum(1) / slope[:, 2])
