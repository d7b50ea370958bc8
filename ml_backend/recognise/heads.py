"""Synthetic faces: random people of the built-in head, drawn by our rasteriser in any pose, light and expression."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from ml_backend.face_model.model import FaceModel
from ml_backend.face_model.synthesis import deform, neutral, project, spherical_harmonics, to_camera, vertex_normals
from ml_backend.face_random import person_albedo, sample_person
from ml_backend.progress import Progress, silent
from ml_backend.recognise.faces import KEPT, five_points_goal
from ml_backend.reconstruct.raster import cover
from ml_backend.refine.encoder import EYE_CORNERS, MOUTH_CORNERS, NOSE_TIP, similarity

FREQUENT = ("jawOpen", "mouthSmileLeft", "mouthSmileRight", "mouthPucker", "mouthFunnel", "eyeBlinkLeft",
            "eyeBlinkRight", "browInnerUp", "mouthStretchLeft", "mouthStretchRight", "mouthFrownLeft",
            "mouthFrownRight", "browDownLeft", "browDownRight", "eyeSquintLeft", "eyeSquintRight")
ANGLES = np.radians([12.0, 22.0, 6.0])
"""Standard deviations of pitch, yaw and roll."""
FOCAL, DISTANCE = 900.0, 0.8
SPECKLE = 0.05
"""Largest standard deviation of a person's spots, which the smooth texture modes lack."""


@dataclass(frozen=True)
class Look:
    """One person: neutral shape (V, 3) and albedo (V, 3)."""

    shape: np.ndarray
    albedo: np.ndarray


class HeadPainter:
    """Draws aligned faces of a face model's random people."""

    def __init__(self, model: FaceModel) -> None:
        self.model, self.triangles = model, model.triangles()

    @cached_property
    def _five(self) -> np.ndarray:
        """(7,) vertices: four eye corners, nose tip, mouth corners."""
        place = {int(index): int(vertex) for index, vertex in
                 zip(self.model.landmark_index, self.model.landmark_vertex, strict=True)}
        return np.array([place[i] for i in (*EYE_CORNERS[0], *EYE_CORNERS[1], NOSE_TIP, *MOUTH_CORNERS)])

    def person(self, seed: int) -> Look:
        """A random person; the same for the same `seed`."""
        identity, texture = sample_person(self.model, seed)
        random = np.random.default_rng([seed, 5])
        albedo = person_albedo(self.model, texture)
        spots = random.normal(0, random.uniform(0, SPECKLE), (len(albedo), 1))
        skin = self.model.part("skin")[:, None] if "skin" in self.model.part_names else 1.0
        return Look(neutral(self.model, identity), np.clip(albedo + spots * skin, 0, 1))

    def draw(self, look: Look, random: np.random.Generator) -> np.ndarray:
        """(144, 144, 3) uint8, aligned: `look` in a random pose, light and expression before a random ground."""
        shape = deform(look.shape, self.model.expression_basis, self._expression(random))
        pose = np.concatenate([random.normal(size=3) * ANGLES, [0, 0, DISTANCE * random.uniform(0.6, 2)]])
        camera = to_camera(shape, pose)
        pixels = project(camera, FOCAL, np.zeros(2))
        five = pixels[self._five]
        five = np.stack([five[:2].mean(0), five[2:4].mean(0), *five[4:]])
        matrix = similarity(five, five_points_goal() * 2)
        pixels = pixels @ matrix[:, :2].T + matrix[:, 2]
        normals = vertex_normals(camera, self.triangles)
        colours = np.clip(look.albedo * (spherical_harmonics(normals) @ _light(random)), 0, 1)
        toward = ((normals * camera).sum(1) < 0)[self.triangles].any(1)
        triangles = self.triangles[toward]
        size = 2 * KEPT
        covered = cover(pixels[triangles], (size, size), depth=camera[triangles, 2])
        picture = _ground(size, random)
        picture.reshape(-1, 3)[covered.pixel] = covered.interpolate(colours, triangles)
        small = cv2.resize(picture, (KEPT, KEPT), interpolation=cv2.INTER_AREA)
        return (255 * np.clip(small, 0, 1) + 0.5).astype(np.uint8)

    def _expression(self, random: np.random.Generator) -> np.ndarray:
        names = self.model.names
        weights = np.zeros(len(names))
        known = [names.index(name) for name in FREQUENT if name in names]
        chosen = random.permutation(known)[:int(random.integers(0, 6))]
        weights[chosen] = random.beta(1.2, 2.5, len(chosen))
        return weights


def _light(random: np.random.Generator) -> np.ndarray:
    """(9, 3) spherical harmonics: an ambient part, one lamp somewhere before the face, and a tint."""
    light = np.zeros(9)
    light[0] = random.uniform(0.45, 1.0)
    lamp = random.normal(size=3) * [0.6, 0.5, 0.4] + [0, -0.3, -0.8]
    lamp *= random.uniform(0, 0.6) / np.linalg.norm(lamp)
    light[[3, 1, 2]] = lamp
    light[4:] = random.normal(0, 0.06, 5)
    return light[:, None] * (1 + random.normal(0, 0.06, 3))


def _ground(size: int, random: np.random.Generator) -> np.ndarray:
    shape = int(random.integers(1, 5)), int(random.integers(1, 5))
    coarse = (0.7 * random.uniform(0, 1, (*shape, 1)) + 0.3 * random.uniform(0, 1, (*shape, 3))).astype(np.float32)
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_LINEAR).copy()


def draw_people(model: FaceModel, people: int, views: int, *, seed: int = 0, progress: Progress = silent
                ) -> np.ndarray:
    """(people, views, 144, 144, 3) uint8: `views` pictures of each of `people` random people."""
    painter, random = HeadPainter(model), np.random.default_rng(seed)
    out = np.zeros((people, views, KEPT, KEPT, 3), np.uint8)
    for number in range(people):
        look = painter.person(1000 * seed + number)
        for view in range(views):
            out[number, view] = painter.draw(look, random)
        progress(number + 1, people)
    return out
