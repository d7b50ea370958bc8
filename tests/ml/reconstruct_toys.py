"""Synthetic input for the reconstruction tests: landmarks and pictures of the built-in head with known parameters."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from ml_backend.face_model.model import FaceModel, load
from ml_backend.face_model.synthesis import deform, neutral, project, rotation_matrix, shade, to_camera, vertex_normals
from ml_backend.reconstruct.points import rig
from ml_backend.reconstruct.raster import cover

HEAD = Path(__file__).resolve().parents[2] / "blender_assets" / "head" / "parley_head.npz"
SIZE = np.array([320, 280])
FOCAL = 384.0
LIGHT = np.zeros((9, 3))
LIGHT[0], LIGHT[1], LIGHT[2] = 0.95, -0.15, -0.25


@lru_cache(maxsize=1)
def head() -> FaceModel:
    """The built-in head."""
    return load(HEAD)


def weights(frames: int, **channels: np.ndarray | float) -> np.ndarray:
    """(T, K) with the named channels set."""
    out = np.zeros((frames, len(head().names)))
    for name, values in channels.items():
        out[:, head().names.index(name)] = values
    return out


def landmarks(expression: np.ndarray, pose: np.ndarray, identity: np.ndarray, *, noise: float = 0.0, seed: int = 0
              ) -> np.ndarray:
    """(T, 478, 3) float32 pixels of the head under `expression` (T, K), `pose` (T, 6), `identity` (I,)."""
    model = head()
    points = rig(model)
    shape = points.mean + np.tensordot(identity, points.identity, 1) + np.tensordot(expression, points.expression, 1)
    camera = np.einsum("tij,tlj->tli", rotation_matrix(pose[:, :3]), shape) + pose[:, None, 3:]
    out = np.zeros((len(pose), 478, 3))
    out[:, points.index, :2] = project(camera, FOCAL, SIZE / 2)
    out[:, points.index, 2] = (camera[..., 2] - pose[:, None, 5]) * FOCAL / pose[:, None, 5]
    rng = np.random.default_rng(seed)
    return (out + rng.normal(0, noise, out.shape)).astype(np.float32)


def picture(expression: np.ndarray, pose: np.ndarray, *, background: int = 90) -> np.ndarray:
    """(H, W, 3) uint8: the head lit by `LIGHT`, drawn by the project's own rasteriser; expression (K,), pose (6,)."""
    model = head()
    triangles = model.triangles()
    shape = deform(neutral(model, np.zeros(len(model.identity_basis))), model.expression_basis, expression)
    camera = to_camera(shape, pose)
    pixel = project(camera, FOCAL, SIZE / 2) - 0.5
    a, b, c = (camera[triangles[:, i]] for i in range(3))
    facing = (np.cross(b - a, c - a) * (a + b + c)).sum(1) < 0
    shown = triangles[facing]
    drawn = cover(pixel[shown], (int(SIZE[1]), int(SIZE[0])), depth=camera[shown][..., 2])
    colour = np.clip(shade(model.texture_mean, vertex_normals(camera, triangles), LIGHT), 0, 1)
    image = drawn.image(drawn.interpolate(colour, shown))
    image[image.sum(-1) == 0] = background / 255
    return np.round(image * 255).astype(np.uint8)
