"""The other half of a face stands in for what a single picture doesn't show."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from scipy.spatial import cKDTree

from ml_backend.face_model.model import FaceModel
from ml_backend.reconstruct.posed import Posed

EXACT = 1e-4
"""Metres that a vertex of a symmetric model may lie from where its counterpart, mirrored, lies."""
OWN, OTHER = 3.0, 0.5
"""What a single picture says, and what its mirrored self says: the one is believed wherever it shows anything."""


GRAZED, BETTER = 0.4, 0.3
"""Cosine to the view below which a vertex is left to its counterpart, if that is seen by so much more squarely: there
a fit that is a pixel wide of the cheek paints it with hair."""


def counterparts(model: FaceModel) -> np.ndarray | None:
    """(V,) the vertex at each vertex's place on the other side of the face; None for a model that has none such."""
    distance, index = cKDTree(model.mean_shape).query(model.mean_shape * [-1, 1, 1])
    return index if float(np.quantile(distance, 0.98)) < EXACT else None


def completed(view: Posed, model: FaceModel) -> list[Posed]:
    """`view` and, where the model is symmetric, the same seen as if left were right."""
    own, other = replace(view, share=OWN), counterparts(model)
    if other is None:
        return [own]
    grazed = (view.facing < GRAZED) & (view.facing[other] > view.facing + BETTER) & (model.region("face") > 0.05)
    if view.person is not None:
        own = replace(own, person=view.person * (1 - _painted(view, grazed)))
    return [own, replace(view, camera=view.camera[other], pixel=view.pixel[other], normals=view.normals[other],
                         facing=view.facing[other], share=OTHER)]


def _painted(view: Posed, vertices: np.ndarray) -> np.ndarray:
    """(H, W) float32 in [0, 1]: 1 about the pixels of `vertices` (V,) bool."""
    drawn = np.zeros(view.image.shape[:2], np.float32)
    seen = view.pixel[view.facing > 0]
    radius = max(float(np.ptp(seen[:, 1], axis=0)) / 60, 1.0) if len(seen) else 1.0
    for x, y in np.round(view.pixel[vertices].clip(-1e4, 1e4)).astype(int).tolist():
        cv2.circle(drawn, (x, y), round(radius), (1.0,), -1)
    return cv2.GaussianBlur(drawn, (0, 0), radius / 2)
