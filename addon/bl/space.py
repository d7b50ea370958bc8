"""OpenCV camera space ↔ Blender's world. The only place in the add-on that converts axes.

OpenCV: x right, y down, z forward. Blender: a face looks along −Y, Z is up. (x, y, z) → (x, z, −y), a rotation.
The origin of the world is a point of camera space, `origin`, the mean position of the head: the head sits at the
centre of the world and the camera in front of it.
"""

from __future__ import annotations

import numpy as np

TO_WORLD = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
"""(3, 3) rotation from OpenCV axes to Blender axes; its transpose goes back."""

ROTATION_MODE = "XZY"
"""Blender's name for the order in which R = Rz(roll) Ry(yaw) Rx(pitch) of camera space is applied to Blender's axes:
first about x (pitch), then about z (yaw, reversed), then about y (roll)."""


def to_blender(points: np.ndarray) -> np.ndarray:
    """(…, 3) `points` in Blender axes, same origin, same dtype."""
    x, y, z = np.moveaxis(np.asarray(points), -1, 0)
    return np.stack([x, z, -y], -1)


def to_opencv(points: np.ndarray) -> np.ndarray:
    """(…, 3) `points` in OpenCV axes, same origin; the inverse of `to_blender`."""
    x, y, z = np.moveaxis(np.asarray(points), -1, 0)
    return np.stack([x, -z, y], -1)


def pose_to_channels(pose: np.ndarray, origin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Euler angles (T, 3) rad for `ROTATION_MODE` and locations (T, 3) m of the head for `pose` (T, 6).

    `origin` (3,) is the point of camera space that is the world's origin, metres.
    """
    pose = np.asarray(pose, np.float64)
    angles = np.unwrap(pose[:, :3], axis=0)
    euler = np.stack([angles[:, 0], angles[:, 2], -angles[:, 1]], 1)
    return euler, to_blender(pose[:, 3:] - origin)


def channels_to_pose(euler: np.ndarray, location: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """(T, 6) pose of the head channels `euler` (T, 3) and `location` (T, 3); the inverse of `pose_to_channels`."""
    angles = np.stack([euler[:, 0], -euler[:, 2], euler[:, 1]], 1)
    return np.concatenate([angles, to_opencv(location) + origin], 1)


def camera_matrix(origin: np.ndarray) -> np.ndarray:
    """(4, 4) world matrix of a Blender camera that stands where camera space has its origin and looks along its z."""
    matrix = np.eye(4)
    matrix[:3, :3] = TO_WORLD @ np.diag([1.0, -1.0, -1.0])
    matrix[:3, 3] = to_blender(-np.asarray(origin, np.float64))
    return matrix
