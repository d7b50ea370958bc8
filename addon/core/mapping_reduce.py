"""52 weights over time → weights of a viseme set, at the right time and without a smear of half-shown visemes.

The frame's mouth is matched by few poses at once (sparsity), held together over time (smoothness). A second pass then
solves again with only the visemes that the first one used, without the terms that pull weights down, so that a pose
that is fully there is fully shown.
"""

from __future__ import annotations

import numpy as np

from .mapping_solve import Terms, box_least_squares
from .mapping_visemes import Pose

_MATTERS = {"jawOpen": 2.0, "mouthClose": 1.5, "mouthFunnel": 1.5, "mouthPucker": 1.5, "tongueOut": 1.2}
_SIDED = 0.5
_SHOWN = 0.02
_REFERENCE_RATE = 30.0


def reduce_to_poses(weights: np.ndarray, names: list[str], poses: list[Pose], rate: float,
                    smooth: float = 1.0) -> np.ndarray:
    """Weights of `poses` whose sum comes closest to `weights` at each sample.

    Parameters
    ----------
    weights : (T, C) in [0, 1], of the ARKit shapes `names` (C)
    poses : J poses; an empty one gets what the others leave of 1
    rate : samples per second
    smooth : how much the result is held together over time; 0 = every sample for itself

    Returns
    -------
    (T, J) float64 in [0, 1]
    """
    shown = [index for index, pose in enumerate(poses) if pose]
    result = np.zeros((len(weights), len(poses)))
    if shown and len(weights):
        basis, wanted = _in_common([poses[index] for index in shown], weights, names)
        gram, cross = basis @ basis.T, wanted @ basis.T
        temporal = 0.02 * smooth * (rate / _REFERENCE_RATE) ** 2
        first = box_least_squares(gram, cross, Terms(l1=0.01, exclusive=0.01, temporal=temporal))
        used = first > _SHOWN
        # A viseme may fade in and out over one sample more than it was found on.
        used[:-1] |= first[1:] > _SHOWN
        used[1:] |= first[:-1] > _SHOWN
        result[:, shown] = box_least_squares(gram, cross, Terms(temporal=temporal * 0.25), upper=used.astype(float))
    for index, pose in enumerate(poses):
        if not pose:
            result[:, index] = np.clip(1 - result[:, shown].sum(1), 0, 1)
    return result


def _in_common(poses: list[Pose], weights: np.ndarray, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """(J, D) poses and (T, D) weights in the shapes that any pose uses, each scaled by how much it shows."""
    shapes = sorted({shape for pose in poses for shape in pose})
    at = {name: index for index, name in enumerate(names)}
    scale = np.sqrt([_MATTERS.get(shape, _SIDED if shape.endswith(("Left", "Right")) else 1.0) for shape in shapes])
    basis = np.array([[pose.get(shape, 0.0) for shape in shapes] for pose in poses])
    wanted = np.zeros((len(weights), len(shapes)))
    for column, shape in enumerate(shapes):
        if shape in at:
            wanted[:, column] = weights[:, at[shape]]
    return basis * scale, wanted * scale
