"""The face unrolled into the plane with open mouth: where landmarks are triangulated, interpolated and
textured."""

from __future__ import annotations

import numpy as np

from blender_assets.head import landmarks as lm

AXIS_DEPTH = 0.055  # m behind the origin: the vertical axis of the cylinder that the face is unrolled from
MOUTH_OPENING = (
    0.014  # m by which the plane's mouth is open, so that upper and lower lip are no neighbours there
)


def mouth_line(points: np.ndarray, x: np.ndarray) -> np.ndarray:
    """(N,) y of the line between the lips of `points` (L, 3) at positions `x` (N,), level beyond the
    corners."""
    upper = points[list(lm.LIPS_INNER[:11])]
    lower = points[[lm.LIPS_INNER[0], *lm.LIPS_LOWER_INNER, lm.LIPS_INNER[10]]]
    return np.interp(x, upper[:, 0], 0.5 * (upper[:, 1] + lower[:, 1]))


def below_mouth(points: np.ndarray) -> np.ndarray:
    """(L,) −1 for landmarks above the mouth line, +1 below it, 0 at the corners."""
    side = np.sign(points[:, 1] - mouth_line(points, points[:, 0]))
    side[list(lm.LIPS_UPPER_INNER)], side[list(lm.LIPS_LOWER_INNER)] = -1, 1
    side[[lm.LIPS_INNER[0], lm.LIPS_INNER[10]]] = 0
    return side


def unroll(points: np.ndarray) -> np.ndarray:
    """(468, 2) plane coordinates in metres of the face landmarks of `points` (478, 3)."""
    face = points[: lm.FACE_COUNT].astype(np.float64)
    depth = AXIS_DEPTH - face[:, 2]
    across = 0.085 * np.arctan2(face[:, 0], depth)
    half = np.abs(face[lm.LIPS_OUTER[10], 0])
    weight = np.sqrt(np.clip(1 - (face[:, 0] / half) ** 2, 0, None))
    distance = np.abs(face[:, 1] - mouth_line(face, face[:, 0]))
    shift = 0.5 * MOUTH_OPENING * weight * np.exp(-distance / 0.03)
    plane = np.stack([across, face[:, 1] + below_mouth(face) * shift], 1)
    return spread_lips(plane)


def spread_lips(plane: np.ndarray) -> np.ndarray:
    """`plane` (468, 2) with the four lip loops evenly apart, also at the corners where they all but meet in
    the face."""
    outer, inner = plane[list(lm.LIPS_OUTER)], plane[list(lm.LIPS_INNER)]
    centre = inner.mean(0)
    inner = centre + (inner - centre) * [0.84, 1.0]
    result = plane.copy()
    for ring, loop in enumerate(lm.LIPS_RINGS):
        result[list(loop)] = outer + (inner - outer) * ring / (len(lm.LIPS_RINGS) - 1)
    return result
