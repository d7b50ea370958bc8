"""Landmarks that a network does not measure, taken from the fitted face: whoever reads a track finds all 478."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ml_backend.errors import UserInputError
from ml_backend.face_model.model import FaceModel
from ml_backend.face_model.synthesis import project, rotation_matrix
from ml_backend.reconstruct.points import COUNT, rig

if TYPE_CHECKING:
    from ml_backend.reconstruct.fit import FitResult


def completed(fit: FitResult, model: FaceModel, centre: np.ndarray) -> FitResult:
    """`fit`, whose landmarks (T, M, 3) are the measured ones, with all 478.

    Parameters
    ----------
    fit : with `measured` (478,) bool
    model : the fitted face model
    centre : (2,) principal point, pixels

    Raises
    ------
    UserInputError
        If the model does not name a vertex for a landmark that was not measured.
    """
    points = rig(model)
    lacking = np.setdiff1d(np.flatnonzero(~fit.measured), points.index)
    if len(lacking):
        raise UserInputError(
            f"The face model {model.name} has no vertex for {len(lacking)} of the landmarks that these networks don't "
            "measure; track with --landmarks mediapipe."
        )
    shape = points.mean + np.tensordot(fit.identity, points.identity, 1) + fit.shape_offset[points.vertex]
    shape = shape + np.tensordot(fit.expression, points.expression, 1)
    move = fit.translation[:, None].astype(float)
    camera = np.einsum("tij,tlj->tli", rotation_matrix(fit.rotation), shape) + move
    known = np.isin(points.index, np.flatnonzero(fit.measured))
    depth = (camera - move)[..., 2:] * fit.focal / move[..., 2:]
    fitted = np.concatenate([project(camera, fit.focal, centre), depth], 2)
    columns = np.searchsorted(np.flatnonzero(fit.measured), points.index[known])
    # Depth is relative: the fitted one begins where the measured one does.
    fitted[..., 2] += (fit.landmarks[:, columns, 2] - fitted[:, known, 2]).mean(1, keepdims=True)
    out = np.zeros((len(fit.landmarks), COUNT, 3), np.float32)
    out[:, points.index] = fitted
    out[:, fit.measured] = fit.landmarks
    return replace(fit, landmarks=out)
