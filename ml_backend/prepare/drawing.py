"""The face as the rig's material draws it over a plate, in NumPy: twenty times as fast as starting Blender for it.

Training needs many renders, and these differ from EEVEE's by 0.7 of 255 on average. Films are never drawn with this.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from ml_backend.artefacts.character import Character
from ml_backend.errors import UserInputError
from ml_backend.face_model.model import FaceModel
from ml_backend.face_model.synthesis import deform, project, rotation_matrix, spherical_harmonics, to_camera
from ml_backend.reconstruct.paint import inner_shade, opening
from ml_backend.reconstruct.raster import Coverage, cover

FACE_EDGE = 0.02
"""Weight of the region "face" at or below which a vertex is not drawn, as in the rig."""
GLINT, GLINT_STRENGTH, GLINT_POWER = np.array([-0.20, -0.24, -1.0]), 0.55, 350.0
SAMPLES = 2
"""Samples a pixel along each side."""
INNER = ("teeth", "tooth", "gum", "mouth", "tongue", "throat", "oral")
EYE = ("sclera", "iris", "pupil", "cornea", "eye")


class FaceDrawing:
    """A character's face region, ready to be drawn with any expression, pose and light.

    Parameters
    ----------
    model : face model of the character
    character : the person
    folder : where the character's texture lies

    Raises
    ------
    UserInputError
        If the character has no texture there.
    """

    def __init__(self, model: FaceModel, character: Character, folder: Path) -> None:
        path = Path(folder) / str(character.detailed_albedo)
        data = np.fromfile(path, np.uint8) if path.is_file() else np.zeros(0, np.uint8)
        sheet = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
        if sheet is None:
            raise UserInputError(f"{path} is no picture; build the character again.")
        self.model, self.character = model, character
        self.sheet = np.ascontiguousarray(sheet[..., ::-1]).astype(np.float32) / 255
        # A living texture paints eyes and mouth too, shade included.
        shade = np.ones(len(model.mean_shape)) if character.lives else inner_shade(model, character.neutral_shape)
        self.shade = shade.astype(np.float32)
        self.weight = model.region("face").astype(np.float32)
        self.all = model.triangles()
        quads = model.faces[:, 3] >= 0
        uvs = np.concatenate([model.face_uvs[:, :3], model.face_uvs[quads][:, [0, 2, 3]]])
        kinds = np.array([_kind(str(name)) for name in model.material_names])[model.face_material]
        kinds = np.concatenate([kinds, kinds[quads]])
        kept = (self.weight[self.all] > FACE_EDGE).all(1)
        self.triangles, self.kinds, self.uv = self.all[kept], kinds[kept], model.uv[uvs[kept]].astype(np.float32)

    def draw(self, expression: np.ndarray, pose: np.ndarray, size: int, light: np.ndarray | None = None) -> np.ndarray:
        """(size, size, 4) uint8 straight RGBA of the character's crop.

        Parameters
        ----------
        expression : (K,) weights of the model's expressions
        pose : (6,) rotation and translation, rad and m
        light : (9, 3) in place of the character's
        """
        person, side = self.character, size * SAMPLES
        light = person.light if light is None else light
        shape = deform(person.neutral_shape, self.model.expression_basis, expression)
        camera = to_camera(shape, pose)
        pixel = project(camera, float(person.focal), np.asarray(person.size, float) / 2)
        pixel = (pixel - person.crop[:2]) * (side / float(person.crop[2])) - 0.5
        corners = camera[self.triangles]
        seen = (np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]) * corners[:, 0]).sum(1) < 0
        # Skin that looks away is always behind other skin; what lies in the mouth is seen from either side.
        number = np.flatnonzero(seen | (self.kinds != "skin"))
        # With `depth` the rasteriser corrects the weights for perspective.
        found = cover(pixel[self.triangles[number]], (side, side), depth=corners[number][..., 2])
        found = replace(found, triangle=number[found.triangle], weights=found.weights.astype(np.float32))
        normals = _normals(shape, self.all) @ rotation_matrix(pose[:3]).T
        lit, alpha = self._lit(found, normals, expression, np.asarray(light, np.float32))
        colour = lit * self._albedo(found, expression, pose[:3])
        if not self.character.lives:
            colour += self._glint(found, normals)
        picture = found.image(np.concatenate([colour * alpha, alpha], 1).astype(np.float32))
        picture = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
        straight = picture[..., :3] / np.maximum(picture[..., 3:], 1e-6)
        out = np.concatenate([straight, picture[..., 3:]], 2)
        return (np.clip(out, 0, 1) * 255 + 0.5).astype(np.uint8)

    def _lit(self, found: Coverage, normals: np.ndarray, expression: np.ndarray, light: np.ndarray
             ) -> tuple[np.ndarray, np.ndarray]:
        """(N, 3) light on the covered samples, and (N, 1) how much of the face they are."""
        arriving = np.maximum(spherical_harmonics(normals) @ light, 0).astype(np.float32)
        facing = np.maximum(spherical_harmonics(np.array([[0.0, 0.0, -1.0]])) @ light, 0)
        values = np.concatenate([arriving, self.shade[:, None], self.weight[:, None]], 1)
        values = _mixed(values[self.triangles], found)
        lit, shade, mouth = values[:, :3], values[:, 3:4], self.kinds[found.triangle] == "mouth"
        lit[mouth] = facing
        if not self.character.lives:
            shade[mouth] *= opening(self.model, expression)
        return lit * shade, values[:, 4:]

    def _albedo(self, found: Coverage, expression: np.ndarray, rotation: np.ndarray) -> np.ndarray:
        """(N, 3) albedo of the covered samples."""
        person = self.character
        if person.lives:
            place = _mixed(self.uv, found)
            weights = person.living_scale * person.living_weights(self.model.names, expression, rotation)
            added = sum(np.float32(weight / 255) * (mode.astype(np.float32) - 128)
                        for weight, mode in zip(weights, person.living_modes, strict=True))
            return np.maximum(_texels(self.sheet, place) + _texels(np.asarray(added), place), 0)
        painted = self.kinds[found.triangle] == "skin"
        out = found.interpolate(person.low_albedo, self.triangles)
        out[painted] = _texels(self.sheet, np.einsum("ni,nic->nc", found.weights[painted],
                                                     self.uv[found.triangle[painted]]))
        return out

    def _glint(self, found: Coverage, normals: np.ndarray) -> np.ndarray:
        """(N, 1) the corneas' highlight."""
        out, eye = np.zeros((len(found.triangle), 1), np.float32), self.kinds[found.triangle] == "eye"
        if eye.any():
            direction = GLINT / np.linalg.norm(GLINT)
            picked = np.einsum("ni,nic->nc", found.weights[eye], normals[self.triangles[found.triangle[eye]]])
            picked /= np.maximum(np.linalg.norm(picked, axis=1, keepdims=True), 1e-9)
            out[eye] = GLINT_STRENGTH * np.maximum(picked @ direction, 0)[:, None] ** GLINT_POWER
        return out


def _mixed(corners: np.ndarray, found: Coverage) -> np.ndarray:
    """(N, C) values at the covered samples of what triangles have at their `corners` (F, 3, C)."""
    first, second, third = (corners[:, index][found.triangle] * found.weights[:, index:index + 1] for index in range(3))
    return first + second + third


def _texels(picture: np.ndarray, place: np.ndarray) -> np.ndarray:
    """(N, 3) nearest texels of `picture` (H, W, 3) at UV coordinates `place` (N, 2)."""
    side = np.array(picture.shape[1::-1])
    texel = np.clip((np.stack([place[:, 0], 1 - place[:, 1]], 1) * side).astype(np.int64), 0, side - 1)
    return picture[texel[:, 1], texel[:, 0]]


def _kind(name: str) -> str:
    """The class of a material, as in the rig."""
    if name.startswith(EYE):
        return "eye"
    return "mouth" if name.startswith(INNER) else "skin"


def _normals(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """(V, 3) unit normals weighted by area; as `synthesis.vertex_normals`, ten times as fast."""
    a, b, c = (points[triangles[:, i]] for i in range(3))
    face, index = np.cross(b - a, c - a), triangles.T.ravel()
    total = np.stack([np.bincount(index, np.tile(face[:, axis], 3), len(points)) for axis in range(3)], 1)
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-20)
