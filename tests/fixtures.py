"""A small head and what goes with it, written by the backend's own code, for tests of both sides."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ml_backend.artefacts import character, performance, plates
from ml_backend.face_model import model as face_model

EXPRESSIONS = ("jawOpen", "mouthSmileLeft", "eyeBlinkLeft")
ROWS, COLUMNS = 17, 25


@dataclass(frozen=True)
class Files:
    """Where `write` put things."""

    face_model: Path
    character: Path
    performance: Path
    plates: Path


def small_model() -> face_model.FaceModel:
    """An egg of 17 × 25 vertices with a row of triangles at its chin, the front being the face, three expressions."""
    shape, uv = _egg()
    faces, material = _faces(shape)
    lips = np.exp(-(((shape - shape[_front(shape, 0.04)]) / 0.02) ** 2).sum(1)).astype(np.float32)
    face = np.clip((-0.01 - shape[:, 2]) / 0.04, 0, 1).astype(np.float32)
    neck = np.clip((shape[:, 1] - 0.06) / 0.03, 0, 1).astype(np.float32)
    basis = np.zeros((3, len(shape), 3), np.float32)
    basis[0, :, 1], basis[1, :, 0] = 0.02 * lips, 0.01 * lips
    basis[2, :, 1] = 0.005 * np.exp(-(((shape - [0.03, -0.03, -0.05]) / 0.02) ** 2).sum(1))
    tone = np.stack([0.75 + shape[:, 0], 0.55 + shape[:, 1], 0.45 + 0 * shape[:, 2]], 1).astype(np.float32)
    return face_model.FaceModel(
        name=np.array("small"), mean_shape=shape, identity_basis=np.zeros((1, len(shape), 3), np.float32),
        expression_basis=basis, expression_names=np.array(EXPRESSIONS), texture_mean=tone,
        texture_basis=np.zeros((1, len(shape), 3), np.float32), faces=faces, uv=uv, face_uvs=faces,
        face_material=material, material_names=np.array(["skin", "teeth"]), landmark_index=np.array([1], np.int32),
        landmark_vertex=np.array([_front(shape, 0.0)], np.int32), region_names=np.array(["face", "lips", "neck"]),
        regions=np.stack([face, lips, neck]), part_names=np.array(["skin"]), vertex_part=np.zeros(len(shape), np.int32),
        joint_names=np.array(["head", "jaw", "eye_left", "eye_right"]),
        joints=np.array([[0, 0.05, 0.03], [0, 0.03, 0.01], [0.03, -0.03, -0.05], [-0.03, -0.03, -0.05]], np.float32))


def small_character(model: face_model.FaceModel) -> character.Character:
    """A person of `model` in a frame of 320 × 240, lit from above and the left."""
    light = np.zeros((9, 3), np.float32)
    light[0], light[1], light[2], light[3] = (0.9, 0.85, 0.8), -0.2, (-0.15, -0.12, -0.1), -0.1
    light[4:] = np.linspace(-0.05, 0.05, 15).reshape(5, 3)
    return character.Character(
        face_model=model.name, neutral_shape=model.mean_shape, identity=np.zeros(1, np.float32),
        low_albedo=model.texture_mean, detailed_albedo=np.array(""), light=light, size=np.array([320, 240], np.int32),
        focal=np.array(500.0), crop=np.array([70.5, 20.0, 190.0], np.float32),
        pose_mean=np.array([0, 0, 0, 0.01, 0.0, 0.8], np.float32), pose_std=np.full(6, 0.02, np.float32),
        blink_rate=np.array(0.3, np.float32), blink_duration=np.array(0.2, np.float32))


def small_performance(frames: int = 6, seed: int = 1) -> performance.Performance:
    """`frames` samples at 25 fps: the mouth opens over time, the head turns."""
    times = np.arange(frames) / 25
    expression = np.random.default_rng(seed).uniform(0, 0.5, (frames, 3)).astype(np.float32)
    expression[:, 0] = np.linspace(0, 1, frames)
    pose = np.zeros((frames, 6), np.float32)
    pose[:, 1], pose[:, 2] = np.linspace(-0.2, 0.2, frames), 0.05
    pose[:, 3], pose[:, 5] = np.linspace(0, 0.02, frames), 0.8
    return performance.Performance(times, expression, list(EXPRESSIONS), pose, {"seed": seed, "audio": "abc"})


def small_plates(frames: int = 6) -> plates.Plates:
    """Source frames that go back and forth, poses of their own."""
    pose = small_performance(frames).pose + 0.01
    return plates.Plates(np.abs(np.arange(frames) - 2).astype(np.int32), pose, np.array([0, frames - 1], np.int32))


def write(folder: Path) -> Files:
    """All of it into `folder`."""
    files = Files(folder / "model.npz", folder / "character.npz", folder / "performance.npz", folder / "plates.json")
    model = small_model()
    face_model.save(model, files.face_model)
    character.save(small_character(model), files.character)
    performance.save(small_performance(), files.performance)
    plates.save(small_plates(), files.plates)
    return files


def _egg() -> tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 3) and UVs (V, 2) of the grid; the seam lies at the back."""
    v, u = np.meshgrid(np.linspace(0.02, 0.98, ROWS), np.linspace(0, 1, COLUMNS), indexing="ij")
    around, down = 2 * np.pi * u, np.pi * v
    ring = np.sin(down)
    shape = np.stack([-0.07 * ring * np.sin(around), -0.1 * np.cos(down), 0.08 * ring * np.cos(around)], -1)
    return shape.reshape(-1, 3).astype(np.float32), np.stack([u, 1 - v], -1).reshape(-1, 2).astype(np.float32)


def _faces(shape: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Quads (F, 4) wound outwards, the last row cut into triangles; the material is teeth at the back."""
    index = np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS)
    a, b, c, d = index[:-1, :-1].ravel(), index[:-1, 1:].ravel(), index[1:, 1:].ravel(), index[1:, :-1].ravel()
    quads = np.stack([a, b, c, d], 1)
    p, q, r = (shape[quads[:, i]] for i in range(3))
    outward = (np.cross(q - p, r - p) * p).sum(1) > 0
    quads[~outward] = quads[~outward][:, ::-1]
    last = quads[-(COLUMNS - 1):]
    none = np.full((len(last), 1), -1)
    cut = np.concatenate([np.hstack([last[:, :3], none]), np.hstack([last[:, [0, 2, 3]], none])])
    faces = np.concatenate([quads[:-(COLUMNS - 1)], cut]).astype(np.int32)
    return faces, (shape[faces[:, 0], 2] > 0.06).astype(np.int32)


def _front(shape: np.ndarray, y: float) -> int:
    """The foremost vertex near height `y`."""
    return int(np.argmin(shape[:, 2] + 5 * np.abs(shape[:, 1] - y)))
