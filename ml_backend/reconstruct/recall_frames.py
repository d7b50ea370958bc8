"""Where in a crop each texel of the face is seen: what renderings lack is read there, and painted there again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np

from ml_backend.artefacts.character import Character
from ml_backend.face_model.model import FaceModel
from ml_backend.face_model.synthesis import deform, project, to_camera, vertex_normals
from ml_backend.reconstruct.observed import Seen, Texels, face_texels, how_seen
from ml_backend.reconstruct.posed import Posed, sample
from ml_backend.reconstruct.raster import cover
from ml_backend.reconstruct.recall import Recall
from ml_backend.reconstruct.strips import Strip, strips

LEAST_SHOWN = 0.25
"""Share of the rendering in a pixel below which it says nothing of what it lacks."""
SIDES = (256, 512)
"""Sides of the texture: 256 for crops up to that size."""
LARGEST_TEXEL = 4.0
"""Pixels that a texel may count for."""
LEAST_NEAR, FILLED = 0.02, 0.01
"""Weight around a texel that isn't seen from which it is filled, and the weight it has then."""
SAMPLES = 2
"""Samples a pixel along each side: with one, teeth and lids have steps."""


@dataclass(frozen=True)
class Drawn:
    """A frame as rendered and as it is: crops (S, S, 3) uint8, and the rendering's share (S, S) float32 of each pixel.
    """

    composite: np.ndarray
    real: np.ndarray
    shown: np.ndarray


@dataclass(frozen=True)
class FaceMap:
    """A character's face over its crop of `size` pixels. N texels.

    Attributes
    ----------
    model, character : the person
    size : pixels along the crop's side
    texels : of the face
    nearest : (side, side) int32, the texel whose value a place of the texture has
    strips : of mouth and eyes; none for a face model that doesn't name their points
    """

    model: FaceModel
    character: Character
    size: int
    texels: Texels
    nearest: np.ndarray
    strips: tuple[Strip, ...] = ()

    def fits(self, recall: Recall) -> bool:
        """Whether `recall` is of a face like this one, over crops of such a size."""
        shapes = [strip.sheets.shape[1:3] for strip in recall.strips]
        own = [strip.shape for strip in self.strips]
        return self.side == int(recall.side) and shapes in ([], own) and len(recall.trust) == len(self.texels)

    @property
    def side(self) -> int:
        """Of the texture."""
        return len(self.nearest)

    def over(self, picture: np.ndarray, expression: np.ndarray, pose: np.ndarray) -> Posed:
        """The mesh with `expression` (K,) and `pose` (6,) over a crop `picture` (S, S, 3)."""
        person = self.character
        shape = deform(person.neutral_shape, self.model.expression_basis, np.clip(expression, 0, 1))
        camera = to_camera(shape, pose)
        pixel = project(camera, float(person.focal), np.asarray(person.size, float) / 2)
        pixel = (pixel - person.crop[:2]) * (self.size / float(person.crop[2])) - 0.5
        normals = vertex_normals(camera, self.model.triangles())
        facing = -(normals * camera).sum(1) / np.maximum(np.linalg.norm(camera, axis=1), 1e-9)
        return Posed(0, picture, camera, pixel, normals, facing)

    def lacking(self, frame: Drawn, expression: np.ndarray, pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What a rendering lacks at each texel (N, 3), and how surely that is seen (N,), both float16."""
        view, texels = self.over(frame.composite, expression, pose), self.texels
        values = texels.interpolate(np.concatenate([view.camera, view.normals, view.pixel], 1))
        camera, normal, pixel = values[:, :3], values[:, 3:6], values[:, 6:8]
        lengths = np.linalg.norm(normal, axis=1) * np.linalg.norm(camera, axis=1)
        facing = -(normal * camera).sum(1) / np.maximum(lengths, 1e-9)
        share = 255 * sample(frame.shown[..., None], pixel)[:, 0]
        weight = how_seen(view, texels, camera, facing, pixel) * np.where(share > LEAST_SHOWN, share, 0)
        gap = (sample(frame.real, pixel) - sample(frame.composite, pixel)) / np.maximum(share, LEAST_SHOWN)[:, None]
        return self._filled(gap, weight * self._area(view))

    def _filled(self, gap: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`gap` (N, 3) and `weight` (N,), float16; texels that are not seen are like those seen around them."""
        near = self.texels.spread(np.concatenate([gap * weight[:, None], weight[:, None]], 1))
        empty = (weight <= 0) & (near[:, 3] > LEAST_NEAR)
        gap = np.where(empty[:, None], near[:, :3] / np.maximum(near[:, 3:], LEAST_NEAR), gap)
        return gap.astype(np.float16), np.where(empty, FILLED, weight).astype(np.float16)

    def _area(self, view: Posed) -> np.ndarray:
        """(N,) pixels of the crop that a texel takes up."""
        corners = view.pixel[self.texels.chart.triangles]
        size = np.abs(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])) / 2
        number = self.texels.chart.cover.triangle
        return np.minimum((size / np.maximum(np.bincount(number, minlength=len(size)), 1))[number], LARGEST_TEXEL)

    def observe(self, frame_of: Callable[[int], Drawn], expression: np.ndarray, pose: np.ndarray) -> Seen:
        """What the renderings of F frames lack that were drawn with (F, K) and (F, 6)."""
        count = len(expression)
        residual = np.zeros((count, len(self.texels), 3), np.float16)
        weight = np.zeros((count, len(self.texels)), np.float16)

        def one(index: int) -> None:
            residual[index], weight[index] = self.lacking(frame_of(index), expression[index], pose[index])

        with ThreadPoolExecutor() as pool:
            list(pool.map(one, range(count)))
        return Seen(residual, weight)

    def paint(self, values: np.ndarray, expression: np.ndarray, pose: np.ndarray) -> np.ndarray:
        """(S, S, C) float32 of `values` (N, C ≤ 4) where the mesh with `expression` and `pose` shows them, else 0."""
        view, chart = self.over(np.zeros((1, 1, 3), np.uint8), expression, pose), self.texels.chart
        inner, side = np.zeros(len(chart.triangles), bool), SAMPLES * self.size
        inner[chart.cover.triangle] = self.texels.inner
        # Skin that looks away is always behind other skin; what lies in the mouth is seen from either side.
        ahead = np.flatnonzero(inner | (view.facing[chart.triangles].max(1) > 0))
        corners, pixel = chart.triangles[ahead], (view.pixel + 0.5) * SAMPLES - 0.5
        found = cover(pixel[corners], (side, side), depth=view.camera[corners, 2])
        field = np.full((side * side, 2), -10.0, np.float32)
        field[found.pixel] = np.einsum("ni,nic->nc", found.weights, self.texels.flat[ahead[found.triangle]])
        field = field.reshape(side, side, 2)
        texture = values.astype(np.float32)[self.nearest]
        samples = cv2.remap(texture, field[..., 0], field[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        return cv2.resize(samples, (self.size, self.size), interpolation=cv2.INTER_AREA)

    def despeckled(self, picture: np.ndarray, shown: np.ndarray, expression: np.ndarray, pose: np.ndarray
                   ) -> np.ndarray:
        """`picture` (S, S, 3) uint8 with the median of its neighbours at each pixel that shows the mouth's inside, as
        far as the rendering is `shown` (S, S) there.

        Where teeth, tongue and gums meet, a pixel may show another of them than the mesh says, and lacks what that
        would: dark specks along their outlines.
        """
        inside = self.paint(np.repeat(self.texels.mouth[:, None], 3, 1), expression, pose)
        change = cv2.medianBlur(picture, 3).astype(np.float32) - picture
        return (picture + change * (inside > 0.5) * shown[..., None] + 0.5).astype(np.uint8)

    def regions(self) -> Sequence[np.ndarray]:
        """(N,) bool each: mouth, eyes, skin."""
        texels = self.texels
        return texels.mouth, texels.inner & ~texels.mouth, ~texels.inner


def face_map(model: FaceModel, character: Character, size: int) -> FaceMap | None:
    """The face of `character` over crops of `size` pixels; None for a face model whose textures overlap."""
    side = next((side for side in SIDES if size <= side), SIDES[-1])
    texels = face_texels(model, side)
    if not texels.apart:
        return None
    empty = np.ones(side * side, np.uint8)
    empty[texels.chart.cover.pixel] = 0
    # Numbers of the nearest covered places, turned into numbers of texels by where those are.
    labels = cv2.distanceTransformWithLabels(empty.reshape(side, side), cv2.DIST_L2, 5,
                                             labelType=cv2.DIST_LABEL_PIXEL)[1]
    near = np.asarray(labels, np.int64)
    number = np.zeros(int(near.max()) + 1, np.int32)
    number[near.ravel()[texels.chart.cover.pixel]] = np.arange(len(texels))
    return FaceMap(model, character, size, texels, number[near], strips(model, size))


def recalled(composite: np.ndarray, lacking: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """`composite` (S, S, 3) uint8 with what it is `lacking` (S, S, 3), where the rendering is `shown` (S, S)."""
    return np.clip(composite + 255 * lacking * shown[..., None] + 0.5, 0, 255).astype(np.uint8)
