"""Two numbers that say what lips do: inner-lip opening and mouth width, measured on a clip and on a face model."""

from __future__ import annotations

import numpy as np

from ml_backend.errors import UserInputError
from ml_backend.face_model.model import FaceModel

UPPER_LIP, LOWER_LIP, CORNER_RIGHT, CORNER_LEFT = 13, 14, 78, 308
EYE_RIGHT, EYE_LEFT = 33, 263
LIPS = (0, 13, 14, 17, 37, 39, 40, 61, 78, 80, 81, 82, 84, 87, 88, 91, 95, 146, 178, 181, 185, 191, 267, 269, 270, 291,
        308, 310, 311, 312, 314, 317, 318, 321, 324, 375, 402, 405, 409, 415)
"""MediaPipe's 40 lip points, outer and inner ring."""


def lip_measures(landmarks: np.ndarray) -> np.ndarray:
    """(T, 2) float32: inner-lip opening (points 13–14) and mouth width (78–308) over that of the outer eye corners.

    Parameters
    ----------
    landmarks : (T, 478, 3) float, pixels, z scaled like x; rows of NaN give NaN
    """
    def distance(a: int, b: int) -> np.ndarray:
        return np.linalg.norm(landmarks[:, a] - landmarks[:, b], axis=1)

    scale = distance(EYE_RIGHT, EYE_LEFT)
    with np.errstate(invalid="ignore", divide="ignore"):
        measures = np.stack([distance(UPPER_LIP, LOWER_LIP), distance(CORNER_RIGHT, CORNER_LEFT)], 1) / scale[:, None]
    return measures.astype(np.float32)


def model_measures(model: FaceModel, expression: np.ndarray) -> np.ndarray:
    """(T, 2) float32, metres: inner-lip opening and mouth width of `expression` (T, K) on the mean face of `model`."""
    points = {name: _vertex(model, name) for name in (UPPER_LIP, LOWER_LIP, CORNER_RIGHT, CORNER_LEFT)}

    def position(name: int) -> np.ndarray:
        vertex = points[name]
        return model.mean_shape[vertex] + expression @ model.expression_basis[:, vertex]

    # Along y and with its sign: lips that press into each other are shut, not open.
    opening = np.maximum((position(LOWER_LIP) - position(UPPER_LIP))[:, 1], 0)
    width = np.linalg.norm(position(CORNER_RIGHT) - position(CORNER_LEFT), axis=1)
    return np.stack([opening, width], 1).astype(np.float32)


def lip_operator(model: FaceModel) -> np.ndarray:
    """(K, M) float32, millimetres per unit weight: what each expression does to the lips.

    The last columns are opening and width themselves, which the eye notices before any single point; the others are
    x, y, z of the lip points that the model names.
    """
    vertices = [int(vertex) for index, vertex in zip(model.landmark_index, model.landmark_vertex, strict=True)
                if int(index) in LIPS]
    motion = model.expression_basis[:, vertices] * 1000
    upper, lower, right, left = (model.expression_basis[:, _vertex(model, name)] * 1000
                                 for name in (UPPER_LIP, LOWER_LIP, CORNER_RIGHT, CORNER_LEFT))
    extra = np.stack([lower[:, 1] - upper[:, 1], left[:, 0] - right[:, 0]], 1)
    return np.concatenate([motion.reshape(len(motion), -1), extra], 1).astype(np.float32)


def pearson(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation of `a` (N,) and `b` (N,) over the entries where both are numbers; 0 where one of them is constant."""
    use = np.isfinite(a) & np.isfinite(b)
    a, b = a[use].astype(np.float64), b[use].astype(np.float64)
    if len(a) < 3 or a.std() < 1e-9 or b.std() < 1e-9:
        return 0.0
    return float(np.mean((a - a.mean()) * (b - b.mean())) / (a.std() * b.std()))


def _vertex(model: FaceModel, landmark: int) -> int:
    found = np.flatnonzero(model.landmark_index == landmark)
    if not len(found):
        raise UserInputError(f"The face model {model.name} has no vertex for landmark {landmark}; "
                             "lip measures need 13, 14, 78 and 308.")
    return int(model.landmark_vertex[found[0]])


def aligned_lips(points: np.ndarray) -> np.ndarray:
    """(T, 40, 2) lip points as the eyes see them: origin between the outer corners, x along them, unit their distance.

    `points` (T, 478, 2 or more) pixels; rows of NaN give NaN. What is left is where the lips are in the face, less the
    head's place, size and tilt.
    """
    flat = points[..., :2].astype(np.float64)
    right, left = flat[:, EYE_RIGHT], flat[:, EYE_LEFT]
    # As complex numbers the similarity is one division.
    axis = (left - right) @ np.array([1, 1j])
    centred = (flat[:, list(LIPS)] - (left + right)[:, None] / 2) @ np.array([1, 1j])
    with np.errstate(invalid="ignore", divide="ignore"):
        turned = centred / axis[:, None]
    return np.stack([turned.real, turned.imag], -1)


def lip_distance(real: np.ndarray, made: np.ndarray) -> tuple[float, float]:
    """Lip landmark distance (LMD) of `made` from `real` (T, 478, 2 or more) pixels: % interocular, and real pixels."""
    apart = np.linalg.norm(aligned_lips(real) - aligned_lips(made), axis=-1).mean(1)
    scale = np.linalg.norm(real[:, EYE_RIGHT, :2] - real[:, EYE_LEFT, :2], axis=1)
    use = np.isfinite(apart) & np.isfinite(scale)
    if not use.any():
        return float("nan"), float("nan")
    return float(100 * apart[use].mean()), float((apart * scale)[use].mean())
