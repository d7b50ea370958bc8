"""Geometry and shading of a FaceModel in NumPy: vertices, normals, projection, spherical-harmonics irradiance."""

from __future__ import annotations

import numpy as np

from ml_backend.face_model.model import FaceModel


def neutral(model: FaceModel, identity: np.ndarray) -> np.ndarray:
    """(V, 3) float32: mean shape plus identity coefficients `identity` (I,)."""
    return (model.mean_shape + np.tensordot(identity, model.identity_basis, 1)).astype(np.float32)


def deform(neutral_shape: np.ndarray, expression_basis: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(…, V, 3): neutral shape (V, 3) plus `weights` (…, K) of `expression_basis` (K, V, 3)."""
    return neutral_shape + np.tensordot(weights, expression_basis, 1)


def rotation_matrix(angles: np.ndarray) -> np.ndarray:
    """(…, 3, 3) rotation Rz(roll) Ry(yaw) Rx(pitch) of `angles` (…, 3) in radians."""
    pitch, yaw, roll = np.moveaxis(np.asarray(angles, np.float64), -1, 0)
    cx, sx, cy, sy, cz, sz = np.cos(pitch), np.sin(pitch), np.cos(yaw), np.sin(yaw), np.cos(roll), np.sin(roll)
    rows = [
        [cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx],
        [sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx],
        [-sy, cy * sx, cy * cx],
    ]
    return np.moveaxis(np.array(rows), (0, 1), (-2, -1))


def rotation_angles(matrix: np.ndarray) -> np.ndarray:
    """(…, 3) pitch, yaw, roll of `matrix` (…, 3, 3); the inverse of `rotation_matrix` for |yaw| < 90°."""
    return np.stack(
        [
            np.arctan2(matrix[..., 2, 1], matrix[..., 2, 2]),
            np.arcsin(np.clip(-matrix[..., 2, 0], -1, 1)),
            np.arctan2(matrix[..., 1, 0], matrix[..., 0, 0]),
        ],
        -1,
    )


def to_camera(points: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """(N, 3) camera-space points of model-space `points` (N, 3) under `pose` (6,)."""
    return points @ rotation_matrix(pose[:3]).T + pose[3:]


def project(camera_points: np.ndarray, focal: float, centre: np.ndarray) -> np.ndarray:
    """(…, 2) pixels of `camera_points` (…, 3): focal · x/z + centre."""
    return focal * camera_points[..., :2] / camera_points[..., 2:] + centre


def vertex_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """(V, 3) unit outward normals: area-weighted mean of the adjacent triangles' normals."""
    a, b, c = (np.ascontiguousarray(vertices.T, np.float64)[:, triangles[:, i]] for i in range(3))
    one, two = b - a, c - a
    total = np.zeros((3, len(vertices)))
    for axis in range(3):
        second, third = (axis + 1) % 3, (axis + 2) % 3
        face = one[second] * two[third] - one[third] * two[second]
        for corner in range(3):
            total[axis] += np.bincount(triangles[:, corner], face, len(vertices))
    total /= np.maximum(np.sqrt((total**2).sum(0)), 1e-20)
    return np.ascontiguousarray(total.T)


def spherical_harmonics(normals: np.ndarray) -> np.ndarray:
    """(…, 9) values of the first three bands at unit `normals` (…, 3) in camera space, with the Lambertian kernel.

    Ramamoorthi & Hanrahan 2001, eqs. 7 and 8: factors π, 2π/3, π/4 on the bands;
    order 1; y, z, x; xy, yz, 3z²−1, xz, x²−y².
    """
    x, y, z = np.moveaxis(normals, -1, 0)
    one, two, three = np.pi, 2 * np.pi / 3, np.pi / 4
    return np.stack(
        [
            np.full_like(x, one * 0.282095),
            two * 0.488603 * y,
            two * 0.488603 * z,
            two * 0.488603 * x,
            three * 1.092548 * x * y,
            three * 1.092548 * y * z,
            three * 0.315392 * (3 * z * z - 1),
            three * 1.092548 * x * z,
            three * 0.546274 * (x * x - y * y),
        ],
        -1,
    )


def shade(albedo: np.ndarray, normals: np.ndarray, light: np.ndarray) -> np.ndarray:
    """(N, 3) colours C = t Σ γ_b Φ_b(n) (Yi et al., §3.1) of `albedo` (N, 3), `normals` (N, 3), `light` (9, 3)."""
    return albedo * (spherical_harmonics(normals) @ light)
