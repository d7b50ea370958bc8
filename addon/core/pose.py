"""Head pose and light as the backend defines them: R = Rz(roll) Ry(yaw) Rx(pitch), X_camera = R X_model + t."""

from __future__ import annotations

import numpy as np


def rotation_matrix(angles: np.ndarray) -> np.ndarray:
    """(…, 3, 3) rotation of `angles` (…, 3): pitch, yaw, roll in radians."""
    pitch, yaw, roll = np.moveaxis(np.asarray(angles, np.float64), -1, 0)

    def about(angle: np.ndarray, first: int, second: int) -> np.ndarray:
        matrix = np.broadcast_to(np.eye(3), (*np.shape(angle), 3, 3)).copy()
        matrix[..., first, first] = matrix[..., second, second] = np.cos(angle)
        matrix[..., second, first] = np.sin(angle)
        matrix[..., first, second] = -np.sin(angle)
        return matrix

    return about(roll, 0, 1) @ about(yaw, 2, 0) @ about(pitch, 1, 2)


def to_camera(points: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """(N, 3) camera-space metres of model-space `points` (N, 3) under `pose` (6,)."""
    return points @ rotation_matrix(pose[:3]).T + pose[3:]


def project(points: np.ndarray, focal: float, size: np.ndarray) -> np.ndarray:
    """(N, 2) pixels of camera-space `points` (N, 3) for a frame of `size` (2,) whose centre is the principal point."""
    return focal * points[:, :2] / points[:, 2:] + np.asarray(size, np.float64) / 2


SH_FACTORS = np.array([np.pi * 0.282095, 2 * np.pi / 3 * 0.488603, 2 * np.pi / 3 * 0.488603, 2 * np.pi / 3 * 0.488603,
                       np.pi / 4 * 1.092548, np.pi / 4 * 1.092548, np.pi / 4 * 0.315392, np.pi / 4 * 1.092548,
                       np.pi / 4 * 0.546274])
"""(9,) constants of Φ with the Lambertian kernel, Ramamoorthi & Hanrahan 2001: 1; y, z, x; xy, yz, 3z²−1, xz, x²−y²."""


def spherical_harmonics(normals: np.ndarray) -> np.ndarray:
    """(N, 9) Φ at unit `normals` (N, 3) in camera space."""
    x, y, z = np.asarray(normals, np.float64).T
    return SH_FACTORS * np.stack([np.ones_like(x), y, z, x, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y], 1)
