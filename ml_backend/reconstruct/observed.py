"""What a clip's frames show at every texel of a face's texture: skin, eyes and what lies in the mouth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import cv2
import numpy as np

from ml_backend.face_model.model import FaceModel
from ml_backend.reconstruct import illumination
from ml_backend.reconstruct.paint import EYES, MOUTH
from ml_backend.reconstruct.posed import Posed
from ml_backend.reconstruct.raster import cover
from ml_backend.reconstruct.unwrap import Chart

BEHIND, BEHIND_INNER = 0.004, 0.002
"""Metres that skin, and what lies behind lids and lips, may be behind what is drawn there and still count as seen."""
DARKEST = 0.05
"""Least light on a texel that is asked for its albedo."""
FARTHEST = 1.0
"""Most by which an albedo that is seen may differ from the texture's."""
FACING, SQUARE = 0.08, 0.6
"""Cosine to the camera at which skin begins to be seen, and share of its area at rest from which it is seen fully."""
MOST_LIGHT = 1.5
"""Light above which pixels count no more."""
NEAR = 1 / 128
"""Radius of a texel's neighbourhood, in sides of the texture."""
DULL, BRIGHT = ("tongue", "mouth_bag"), (1.0, 2.0)
"""Parts that keep the model's hue, and how much brighter than the model's they begin, and end, to lose it."""
TINY, MOST = 0.02, 0.95
"""Texels below which a triangle has none, and how many triangles, or texels, must be as they should."""


@dataclass(frozen=True)
class Texels:
    """The face's part of the texture, N texels.

    Attributes
    ----------
    chart : covered texels and the triangles behind them
    part : (F,) number of the part that each of the chart's triangles belongs to
    inner : (N,) bool, of an eye or of the mouth
    mouth : (N,) bool
    dull : (N,) bool, of tongue or mouth bag
    region : (N,) float32 in [0, 1], how much of the face
    area : (F,) twice the triangles' areas in the model's mean shape, m²
    apart : whether every triangle has texels of its own, which eyes and mouths of some face models have not
    flat : (F, 3, 2) the triangles' corners in the texture, texels
    """

    chart: Chart
    part: np.ndarray
    inner: np.ndarray
    mouth: np.ndarray
    dull: np.ndarray
    region: np.ndarray
    area: np.ndarray
    apart: bool = True
    flat: np.ndarray = field(default_factory=lambda: np.zeros((0, 3, 2)))

    def __len__(self) -> int:
        return len(self.inner)

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Like `values` (N, …), float32: sums over the neighbourhood of each texel, weighted by nearness."""
        cover, flat = self.chart.cover, values.reshape(len(values), -1)
        out = np.empty(flat.shape, np.float32)
        for column in range(flat.shape[1]):
            picture = cover.image(flat[:, column:column + 1])[..., 0]
            out[:, column] = cv2.GaussianBlur(picture, (0, 0), NEAR * cover.size[0]).ravel()[cover.pixel]
        return out.reshape(values.shape)

    def interpolate(self, values: np.ndarray) -> np.ndarray:
        """(N, C) float32 of `values` (V, C)."""
        cover = self.chart.cover
        picked = values.astype(np.float32)[self.chart.triangles[cover.triangle]]
        return np.einsum("ni,nic->nc", cover.weights.astype(np.float32), picked)


@dataclass(frozen=True)
class Seen:
    """F frames of N texels: `residual` (F, N, 3) float16, albedo seen minus the texture's, and `weight` (F, N) float16.
    """

    residual: np.ndarray
    weight: np.ndarray


def face_texels(model: FaceModel, side: int) -> Texels:
    """Texels of `side` × `side` that show a part of the region "face"."""
    quads = model.faces[:, 3] >= 0
    corners = np.concatenate([model.faces[:, :3], model.faces[quads][:, [0, 2, 3]]])
    texture = np.concatenate([model.face_uvs[:, :3], model.face_uvs[quads][:, [0, 2, 3]]])
    kept = (model.region("face")[corners] > 0).any(1)
    corners, flat = corners[kept], model.uv[texture[kept]].astype(float)
    flat = np.stack([flat[..., 0] * side - 0.5, (1 - flat[..., 1]) * side - 0.5], -1)
    chart, names = Chart(cover(flat, (side, side)), corners), [str(name) for name in model.part_names]
    part = model.vertex_part[corners[:, 0]]
    here = part[chart.cover.triangle]
    eyes, mouth, dull = (np.isin(here, [names.index(name) for name in kind if name in names])
                         for kind in (EYES, MOUTH, DULL))
    a, b, c = (model.mean_shape[corners[:, i]] for i in range(3))
    size = np.maximum(np.linalg.norm(np.cross(b - a, c - a), axis=1), 1e-12)
    plain = Texels(chart, part, eyes | mouth, mouth, dull, np.ones(len(here), np.float32), size)
    region = np.clip(plain.interpolate(model.region("face")[:, None])[:, 0] * 4, 0, 1)
    area = np.abs(np.cross(flat[:, 1] - flat[:, 0], flat[:, 2] - flat[:, 0])) / 2
    apart = bool((area > TINY).mean() > MOST and area.sum() * MOST < len(here))
    return Texels(chart, part, eyes | mouth, mouth, dull, region, size, apart, flat)


def observe(numbers: Sequence[int], view_of: Callable[[int], Posed], texels: Texels, light: np.ndarray,
            base: np.ndarray) -> Seen:
    """What frames `numbers` say of an albedo (N, 3) `base` under `light` (9, 3); `view_of` lays the mesh over one."""
    count = len(numbers)
    residual, weight = np.zeros((count, len(texels), 3), np.float16), np.zeros((count, len(texels)), np.float16)

    def one(index: int) -> None:
        residual[index], weight[index] = _observed(view_of(numbers[index]), texels, light, base)

    with ThreadPoolExecutor() as pool:
        list(pool.map(one, range(count)))
    return Seen(residual, weight)


def _observed(view: Posed, texels: Texels, light: np.ndarray, base: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Residual (N, 3) and weight (N,) of one frame."""
    values = texels.interpolate(np.concatenate([view.camera, view.normals, view.pixel], 1))
    camera, normal, pixel = values[:, :3], values[:, 3:6], values[:, 6:8]
    normal = normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    facing = -(normal * camera).sum(1) / np.linalg.norm(camera, axis=1)
    # The rig lights what lies in the mouth as if it faced the camera.
    arriving = illumination.irradiance(np.where(texels.mouth[:, None], [0.0, 0.0, -1.0], normal), light)
    weight = how_seen(view, texels, camera, facing, pixel)
    albedo = view.colours(pixel) / np.maximum(arriving, DARKEST)
    albedo[texels.dull] = _in_hue(albedo[texels.dull], base[texels.dull])
    residual = np.clip(albedo - base, -FARTHEST, FARTHEST)
    # An error in the picture is one in the albedo times the light.
    return residual, weight * np.minimum(arriving.mean(1), MOST_LIGHT) ** 2


def _in_hue(seen: np.ndarray, plain: np.ndarray) -> np.ndarray:
    """(N, 3) albedo of tongue and mouth bag `seen` (N, 3), darker ones with the hue of the model's, `plain` (N, 3).

    What is much brighter is no tongue, though the mesh shows one: teeth mostly. In a tongue's hue it would glow.
    """
    bright = (seen * plain).sum(1, keepdims=True) / np.maximum((plain**2).sum(1, keepdims=True), 1e-4)
    begin, end = BRIGHT
    other = np.clip((bright - begin) / (end - begin), 0, 1)
    return plain * np.clip(bright, 0, end) * (1 - other) + np.minimum(seen, 1) * other


def how_seen(view: Posed, texels: Texels, camera: np.ndarray, facing: np.ndarray, pixel: np.ndarray) -> np.ndarray:
    """(N,) in [0, 1]: how much `view` shows of each texel, at `camera` (N, 3), cosine `facing` (N,), `pixel` (N, 2)."""
    weight = texels.region * view.inside(pixel) * _drawn(view, texels, pixel, camera[:, 2]) * _spread_out(view, texels)
    return weight * np.where(texels.inner, 1, (facing > FACING) * view.shows_person(pixel))


def _spread_out(view: Posed, texels: Texels) -> np.ndarray:
    """(N,) in [0, 1]: low where a triangle takes up little of the picture, as the lid of an open eye does."""
    corners = texels.chart.triangles
    flat = (view.camera[:, :2] / view.camera[:, 2:])[corners] * view.camera[corners, 2].mean(1)[:, None, None]
    shown = np.abs(np.cross(flat[:, 1] - flat[:, 0], flat[:, 2] - flat[:, 0]))
    return np.clip(shown / (SQUARE * texels.area), 0, 1)[texels.chart.cover.triangle]


def _drawn(view: Posed, texels: Texels, pixel: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """(N,) bool: the texel is what the mesh shows at its pixel."""
    corners, part = texels.chart.triangles, texels.part
    ahead = (view.facing[corners].max(1) > 0) | np.isin(part, np.unique(_part(texels)[texels.inner]))
    corners, part = corners[ahead], part[ahead]
    size = np.array(view.image.shape[1::-1])
    low = np.clip(np.floor(view.pixel[corners].min((0, 1))), 0, size - 1).astype(int)
    high = np.clip(np.ceil(view.pixel[corners].max((0, 1))) + 1, low + 1, size).astype(int)
    shape = int(high[1] - low[1]), int(high[0] - low[0])
    drawn = cover(view.pixel[corners] - low, shape, depth=view.camera[corners, 2])
    nearest, shown = np.full(shape[0] * shape[1], np.inf, np.float32), np.full(shape[0] * shape[1], -1)
    nearest[drawn.pixel] = drawn.interpolate(view.camera[:, 2:], corners)[:, 0]
    shown[drawn.pixel] = part[drawn.triangle]
    x, y = np.clip(np.round(pixel - low), 0, high - low - 1).astype(int).T
    at = y * shape[1] + x
    same = (shown[at] == _part(texels)) | ~texels.inner
    return same & (depth <= nearest[at] + np.where(texels.inner, BEHIND_INNER, BEHIND))


def _part(texels: Texels) -> np.ndarray:
    """(N,) number of the part behind each texel."""
    return texels.part[texels.chart.cover.triangle]
