"""From frames to a UV texture: the skin's detailed albedo, sampled through the fitted mesh and freed from the light."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.spatial import cKDTree

from ml_backend.face_model.model import FaceModel
from ml_backend.reconstruct import illumination, points
from ml_backend.reconstruct.posed import Posed
from ml_backend.reconstruct.raster import Coverage, cover, depth_map

OCCLUSION = 0.004
"""Metres a texel may lie behind what is drawn before it and still count as seen."""
LID_GUARD, LIP_GUARD = (0.0012, 0.0030), (0.0006, 0.0020)
OPEN_LIPS = 0.002
BRIGHTEST = 1.1
"""No skin reflects more than it gets; what seems to is a highlight or a shadow that the light does not know of."""


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


def chart(model: FaceModel, side: int) -> Chart:
    """Rasterise the skin's UV triangles into `side` × `side` texels, row 0 at v = 1."""
    quads = model.faces[:, 3] >= 0
    corners = np.concatenate([model.faces[:, :3], model.faces[quads][:, [0, 2, 3]]])
    texture = np.concatenate([model.face_uvs[:, :3], model.face_uvs[quads][:, [0, 2, 3]]])
    named = "skin" in [str(name) for name in model.part_names]
    skin = model.part("skin")[corners].all(1) if named else np.ones(len(corners), bool)
    flat = model.uv[texture[skin]].astype(float)
    flat = np.stack([flat[..., 0] * side - 0.5, (1 - flat[..., 1]) * side - 0.5], -1)
    return Chart(cover(flat, (side, side)), corners[skin])


def detailed_albedo(views: Sequence[Posed], model: FaceModel, low: np.ndarray, light: np.ndarray, side: int
                    ) -> np.ndarray:
    """(side, side, 3) uint8 RGB: the first view's skin, holes filled by the others, the unseen by `low` (V, 3).

    Colours are divided by the irradiance of `light` (9, 3); the low-frequency albedo is matched in colour.
    """
    sheet = chart(model, side)
    base = sheet.cover.interpolate(low, sheet.triangles)
    total, colour = np.zeros(len(base)), np.zeros_like(base)
    first: tuple[np.ndarray, np.ndarray] | None = None
    for view in views:
        weight, seen = _sampled(view, sheet, model, light)
        weight = _feathered(sheet, weight)
        if first is None:
            first = weight, seen
        else:
            seen = _matched(sheet, seen, weight, *first)
            weight = weight * np.clip(1 - first[0] / 0.35, 0, 1)
        total += weight
        colour += weight[:, None] * seen
    colour /= np.maximum(total, 1e-6)[:, None]
    return _blend(sheet, model, base, colour, np.clip(total / 0.3, 0, 1))


def _sampled(view: Posed, sheet: Chart, model: FaceModel, light: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights (N,) and albedo (N, 3) of every texel in one view."""
    camera = sheet.cover.interpolate(view.camera, sheet.triangles)
    normal = sheet.cover.interpolate(view.normals, sheet.triangles)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    pixel = sheet.cover.interpolate(view.pixel, sheet.triangles)
    facing = -(normal * camera).sum(1) / np.linalg.norm(camera, axis=1)
    vertex = vertex_trust(view, model)
    weight = sheet.cover.interpolate(vertex[:, None], sheet.triangles)[:, 0]
    weight = weight * np.clip((facing - 0.15) / 0.5, 0, 1) ** 1.5 * view.inside(pixel)
    weight *= _unstretched(view, sheet, model)[sheet.cover.triangle]
    weight *= _visible(view, sheet, pixel, camera[:, 2])
    weight *= view.shows_person(pixel)
    albedo = view.colours(pixel) / illumination.irradiance(normal, light)
    return weight, np.minimum(albedo, BRIGHTEST)


def _visible(view: Posed, sheet: Chart, pixel: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """(N,) 1 where no other skin lies before the texel."""
    corners = sheet.triangles
    height, width = view.image.shape[:2]
    drawn = cover(view.pixel[corners], (height, width), depth=view.camera[corners, 2])
    nearest = depth_map(drawn, view.camera[:, 2], corners)
    x, y = np.clip(np.round(pixel), 0, [width - 1, height - 1]).astype(int).T
    return (depth <= nearest[y, x] + OCCLUSION).astype(float)


def _unstretched(view: Posed, sheet: Chart, model: FaceModel) -> np.ndarray:
    """(F,) in [0, 1]: low where a triangle is squeezed in this expression, as the lid of an open eye is."""
    def area(shape: np.ndarray) -> np.ndarray:
        a, b, c = (shape[sheet.triangles[:, i]] for i in range(3))
        return np.linalg.norm(np.cross(b - a, c - a), axis=1)

    ratio = area(view.camera) / np.maximum(area(model.mean_shape), 1e-12)
    return np.clip((ratio - 0.15) / 0.35, 0, 1)


def vertex_trust(view: Posed, model: FaceModel) -> np.ndarray:
    """(V,) face skin without the edge of the lids and, where the mouth is open, of the inner lips."""
    trust = np.clip(model.region("face") * 4, 0, 1)
    rig = points.rig(model)
    for ring in (points.EYE_RIGHT, points.EYE_LEFT):
        trust = trust * _away(view.camera, rig.vertex[rig.rows(ring)], LID_GUARD)
    pairs = rig.pair_rows(points.LIP_PAIRS)
    if len(pairs):
        upper, lower = (view.camera[rig.vertex[pairs[:, end]]] for end in (0, 1))
        if float(np.linalg.norm(upper - lower, axis=1).max()) > OPEN_LIPS:
            trust = trust * _away(view.camera, rig.vertex[rig.rows(points.LIPS_INNER)], LIP_GUARD)
    return trust


def _away(shape: np.ndarray, ring: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """(V,) 0 near the closed curve through vertices `ring`, 1 beyond, rising between the `limits` in metres."""
    if len(ring) < 3:
        return np.ones(len(shape))
    ends = np.roll(ring, -1)
    share = np.linspace(0, 1, 8)[:, None, None]
    curve = (shape[ring] * (1 - share) + shape[ends] * share).reshape(-1, 3)
    distance = cKDTree(curve).query(shape, distance_upper_bound=2 * limits[1])[0]
    return np.clip((np.minimum(distance, 1.0) - limits[0]) / (limits[1] - limits[0]), 0, 1)


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
    gap = np.clip(base - albedo, -0.25, 0.25)
    field = push_pull(sheet.cover.image(gap), sheet.cover.image(both[:, None])[..., 0])
    field = _wide_blur(field, sheet.cover.size[0] / 80)
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
