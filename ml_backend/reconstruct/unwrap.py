"""From frames to a UV texture: the skin's detailed albedo, sampled through the fitted mesh and freed from the light."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np

from ml_backend.face_model.model import FaceModel
from ml_backend.reconstruct import illumination
from ml_backend.reconstruct.posed import Posed
from ml_backend.reconstruct.raster import Coverage, cover, depth_map

OCCLUSION = 0.004
"""Metres a texel may lie behind what is drawn before it and still count as seen."""
BRIGHTEST = 1.8
"""Skin that reflects more than it gets is a highlight, or in a shadow that the light does not know of, up to this."""
OUTLIER = 0.07
"""Difference from what all views say at which a view's say is halved: hair in the wind, a hand, a highlight."""
AGREEMENTS = 2
FULL = 0.5
"""Sum of weights from which a texel counts as seen."""
PAINTED = ("skin", "lids_left", "lids_right", "ear_left", "ear_right")
"""Parts whose materials show the texture."""


@dataclass(frozen=True)
class Chart:
    """The skin in the UV plane: covered texels and the mesh triangle behind each.

    Attributes
    ----------
    cover : texels; triangle indices refer to `triangles`
    triangles : (F, 3) skin triangles, vertex indices
    """

    cover: Coverage
    triangles: np.ndarray

    def part(self, chosen: np.ndarray) -> Chart:
        """The same with the texels `chosen` (N,) bool only."""
        cover = self.cover
        return Chart(Coverage(cover.size, cover.pixel[chosen], cover.triangle[chosen], cover.weights[chosen]),
                     self.triangles)


def chart(model: FaceModel, side: int) -> Chart:
    """Rasterise the skin's UV triangles into `side` × `side` texels, row 0 at v = 1."""
    quads = model.faces[:, 3] >= 0
    corners = np.concatenate([model.faces[:, :3], model.faces[quads][:, [0, 2, 3]]])
    texture = np.concatenate([model.face_uvs[:, :3], model.face_uvs[quads][:, [0, 2, 3]]])
    names = [str(name) for name in model.part_names]
    skin = np.ones(len(corners), bool)
    if "skin" in names:
        painted = np.any([model.part(name) for name in PAINTED if name in names], axis=0)
        skin = painted[corners].all(1)
    flat = model.uv[texture[skin]].astype(float)
    flat = np.stack([flat[..., 0] * side - 0.5, (1 - flat[..., 1]) * side - 0.5], -1)
    return Chart(cover(flat, (side, side)), corners[skin])


def detailed_albedo(views: Sequence[Posed], model: FaceModel, low: np.ndarray, light: np.ndarray, side: int
                    ) -> tuple[np.ndarray, float]:
    """(side, side, 3) uint8 RGB: what the views agree on, the unseen carried on from `low` (V, 3).

    Also the factor ≥ 1 that colours are divided by, and `light` is to be multiplied by, so that they are below 1.

    Colours are divided by the irradiance of `light` (9, 3) and matched to the first view's by a smooth field. Each
    view weighs by how squarely it sees a texel, and less the further it is from what the others say.
    """
    whole = chart(model, side)
    base = whole.cover.interpolate(low, whole.triangles)
    near = whole.cover.interpolate(model.region("face")[:, None].astype(float), whole.triangles)[:, 0] > 0
    sheet = whole.part(near)
    with ThreadPoolExecutor() as pool:
        first, *others = pool.map(lambda view: _sampled(view, sheet, model, light), views)
        matched = pool.map(lambda other: (other[0], _matched(sheet, other[1], other[0], *first)), others)
        weights, seen = zip(first, *matched, strict=True)
    total, colour = _agreed(np.stack(seen), np.stack(weights))
    trust, known = np.zeros(len(base)), base.copy()
    trust[near], known[near] = np.clip(total / FULL, 0, 1), colour
    high = float(np.percentile(colour[total > FULL], 99.97)) if (total > FULL).sum() > 100 else 1.0
    scale = float(np.clip(high, 1, BRIGHTEST))
    return _blend(whole, model, base / scale, known / scale, trust), scale


def _agreed(seen: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sum of weights (N,) and robust mean (N, 3) of `seen` (C, N, 3) with `weights` (C, N)."""
    total = weights.sum(0)
    mean = np.einsum("cn,cnk->nk", weights, seen) / np.maximum(total, 1e-6)[:, None]
    for _ in range(AGREEMENTS):
        gap = seen - mean
        firm = weights / (1 + np.einsum("cnk,cnk->cn", gap, gap) / (3 * OUTLIER**2))
        mean = np.einsum("cn,cnk->nk", firm, seen) / np.maximum(firm.sum(0), 1e-6)[:, None]
    return total, mean


def _sampled(view: Posed, sheet: Chart, model: FaceModel, light: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights (N,) and albedo (N, 3) float32 of every texel in one view."""
    region = np.clip(model.region("face") * 4, 0, 1)
    values = np.concatenate([view.camera, view.normals, view.pixel, region[:, None]], 1)
    texels = sheet.cover.interpolate(values.astype(np.float32), sheet.triangles)
    camera, normal, pixel, weight = texels[:, :3], texels[:, 3:6], texels[:, 6:8], texels[:, 8]
    normal = normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    facing = -(normal * camera).sum(1) / np.linalg.norm(camera, axis=1)
    weight = weight * np.clip((facing - 0.08) / 0.5, 0, 1) ** 1.5 * view.inside(pixel)
    weight *= _unstretched(view, sheet, model)[sheet.cover.triangle]
    weight *= _visible(view, sheet, model, pixel, camera[:, 2])
    weight *= view.shows_person(pixel) * view.share
    albedo = view.colours(pixel) / illumination.irradiance(normal, light)
    return _feathered(sheet, weight).astype(np.float32), np.minimum(albedo, BRIGHTEST).astype(np.float32)


def _visible(view: Posed, sheet: Chart, model: FaceModel, pixel: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """(N,) 1 where no other skin of the face lies before the texel."""
    turned = view.facing[sheet.triangles].max(1) > 0
    corners = sheet.triangles[turned & (model.region("face")[sheet.triangles].max(1) > 0)]
    if not len(corners):
        return np.ones(len(pixel))
    size = np.array(view.image.shape[1::-1])
    low = np.clip(np.floor(view.pixel[corners].min((0, 1))), 0, size - 1).astype(int)
    high = np.clip(np.ceil(view.pixel[corners].max((0, 1))) + 1, low + 1, size).astype(int)
    drawn = cover(view.pixel[corners] - low, (int(high[1] - low[1]), int(high[0] - low[0])),
                  depth=view.camera[corners, 2])
    nearest = depth_map(drawn, view.camera[:, 2], corners)
    x, y = np.clip(np.round(pixel - low), 0, high - low - 1).astype(int).T
    return (depth <= nearest[y, x] + OCCLUSION).astype(float)


def _unstretched(view: Posed, sheet: Chart, model: FaceModel) -> np.ndarray:
    """(F,) in [0, 1]: low where a triangle is squeezed in this expression, as the lid of an open eye is."""
    def area(shape: np.ndarray) -> np.ndarray:
        a, b, c = (shape[sheet.triangles[:, i]] for i in range(3))
        return np.linalg.norm(np.cross(b - a, c - a), axis=1)

    ratio = area(view.camera) / np.maximum(area(model.mean_shape), 1e-12)
    return np.clip((ratio - 0.15) / 0.35, 0, 1)


def _feathered(sheet: Chart, weight: np.ndarray) -> np.ndarray:
    """(N,) `weight` that falls smoothly to zero within the seen area instead of ending in an edge."""
    picture = sheet.cover.image(weight[:, None])[..., 0]
    radius = picture.shape[0] / 170
    soft = cv2.GaussianBlur((picture > 0.02).astype(np.float32), (0, 0), radius)
    return weight * np.clip(2 * soft.ravel()[sheet.cover.pixel] - 1, 0, 1)


def _matched(sheet: Chart, albedo: np.ndarray, weight: np.ndarray, base_weight: np.ndarray, base: np.ndarray
             ) -> np.ndarray:
    """`albedo` plus a smooth field to agree with the first view, known where both see and carried on elsewhere."""
    both = np.clip(np.minimum(weight, base_weight) - 0.05, 0, 0.3) / 0.3
    if (both > 0.2).sum() < 100:
        return albedo
    side = sheet.cover.size[0]
    gap = np.concatenate([np.clip(base - albedo, -0.25, 0.25) * both[:, None], both[:, None]], 1)
    # So smooth a field needs a quarter of the resolution.
    small = cv2.resize(sheet.cover.image(gap), None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    mass = small[..., 3]
    field = push_pull(small[..., :3] / np.maximum(mass, 1e-6)[..., None], mass)
    field = cv2.GaussianBlur(field, (0, 0), max(side / 320, 0.5))
    field = cv2.resize(field, (side, side), interpolation=cv2.INTER_LINEAR)
    return albedo + field.reshape(-1, 3)[sheet.cover.pixel]


def _blend(sheet: Chart, model: FaceModel, low: np.ndarray, seen: np.ndarray, trust: np.ndarray) -> np.ndarray:
    """Lay what was seen over `low`, the difference carried on smoothly into what was not."""
    mask = sheet.cover.image(trust[:, None])[..., 0]
    side = mask.shape[0]
    blurred = cv2.GaussianBlur(mask, (0, 0), side / 200)
    mask = np.minimum(mask, np.clip(2 * blurred - 1, 0, 1))
    difference = sheet.cover.image((seen - low) * (trust > 0)[:, None])
    carried = push_pull(difference, (mask > 0.5).astype(np.float32) * mask)
    smooth = _wide_blur(carried, side / 60)
    hair = model.region("scalp") if "scalp" in [str(n) for n in model.region_names] else np.zeros(len(model.mean_shape))
    bald = 1 - sheet.cover.image(sheet.cover.interpolate(hair[:, None], sheet.triangles))
    out = sheet.cover.image(low) + mask[..., None] * difference + (1 - mask[..., None]) * smooth * bald
    covered = np.zeros(side * side, np.float32)
    covered[sheet.cover.pixel] = 1
    filled = push_pull(out.astype(np.float32), covered.reshape(side, side))
    return np.round(np.clip(filled, 0, 1) * 255).astype(np.uint8)


def _wide_blur(picture: np.ndarray, radius: float) -> np.ndarray:
    """Gaussian blur of `picture` (H, W, C), computed at a quarter of the size, where so wide a one loses nothing."""
    small = cv2.resize(picture, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    soft = cv2.GaussianBlur(small, (0, 0), max(radius / 4, 0.5))
    return cv2.resize(soft, (picture.shape[1], picture.shape[0]), interpolation=cv2.INTER_LINEAR)


def push_pull(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(H, W, C) float32 `values` where `weight` (H, W) is positive, smoothly filled in from a pyramid elsewhere."""
    levels: list[tuple[np.ndarray, np.ndarray]] = [(values.astype(np.float32) * weight[..., None],
                                                    weight.astype(np.float32))]
    while min(levels[-1][1].shape) > 1:
        value, mass = levels[-1]
        half = (max(mass.shape[1] // 2, 1), max(mass.shape[0] // 2, 1))
        levels.append((cv2.resize(value, half, interpolation=cv2.INTER_AREA).reshape(half[1], half[0], -1),
                       cv2.resize(mass, half, interpolation=cv2.INTER_AREA)))
    value, mass = levels[-1]
    filled = value / np.maximum(mass, 1e-8)[..., None]
    for value, mass in reversed(levels[:-1]):
        coarse = cv2.resize(filled, (mass.shape[1], mass.shape[0]), interpolation=cv2.INTER_LINEAR)
        coarse = coarse.reshape(*mass.shape, -1)
        sure = np.clip(mass * 4, 0, 1)[..., None]
        filled = sure * value / np.maximum(mass, 1e-8)[..., None] + (1 - sure) * coarse
    return filled
