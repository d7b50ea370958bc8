"""Similarity alignment of landmark sets and the mirror permutation of a nearly symmetric shape."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment


def align(shapes: np.ndarray, target: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Each of `shapes` moved onto `target` by the least-squares similarity of `points` (Umeyama 1991).

    Parameters
    ----------
    shapes : (T, L, 3) float
    target : (L, 3) float
    points : (P,) int, the landmarks that are compared

    Returns
    -------
    (T, L, 3) float64
    """
    source = shapes[:, points].astype(np.float64)
    goal = target[points]
    source_mean, goal_mean = source.mean(1, keepdims=True), goal.mean(0)
    covariance = np.einsum("pi,tpj->tij", goal - goal_mean, source - source_mean)
    u, singular, vt = np.linalg.svd(covariance)
    sign = np.ones((len(shapes), 3))
    sign[:, 2] = np.sign(np.linalg.det(u @ vt))
    rotation = (u * sign[:, None]) @ vt
    scale = (singular * sign).sum(1) / ((source - source_mean) ** 2).sum((1, 2))
    return scale[:, None, None] * ((shapes - source_mean) @ rotation.transpose(0, 2, 1)) + goal_mean


def centre_plane(shape: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """`shape` (L, 3) turned and shifted so that the plane between `pairs` (P, 2) of mirrored landmarks is x
    = 0."""
    across = (shape[pairs[:, 1]] - shape[pairs[:, 0]]).sum(0)
    x_axis = across / np.linalg.norm(across)
    y_axis = np.array([0.0, 1.0, 0.0]) - x_axis[1] * x_axis
    y_axis /= np.linalg.norm(y_axis)
    middle = shape[pairs].mean((0, 1))
    return (shape - middle) @ np.stack([x_axis, y_axis, np.cross(x_axis, y_axis)]).T


def mirror_permutation(shape: np.ndarray) -> np.ndarray:
    """(L,) int: the landmark that lies where each landmark of `shape` (L, 3), symmetric about x = 0, has
    its mirror image.

    Raises
    ------
    ValueError
        If a landmark has no mirror image within a tenth of the shape's width: the shape is too lopsided to
        tell.
    """
    mirrored = shape * [-1, 1, 1]
    distance = ((mirrored[:, None] - shape[None]) ** 2).sum(-1)
    permutation = linear_sum_assignment(distance)[1]
    farthest = np.sqrt(distance[np.arange(len(shape)), permutation].max())
    involution = np.array_equal(permutation[permutation], np.arange(len(shape)))
    if not involution or farthest > 0.1 * np.ptp(shape[:, 0]):
        raise ValueError("The mean face is too lopsided to find its mirror landmarks; give more clips.")
    return permutation


def symmetrise(shape: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """Mean of `shape` (…, L, 3) and its mirror image under the permutation `mirror` (L,)."""
    return 0.5 * (shape + shape[..., mirror, :] * [-1, 1, 1])
