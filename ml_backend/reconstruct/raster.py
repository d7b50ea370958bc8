"""A small rasteriser on OpenCV's polygon fill: which triangle covers which pixel, and where in it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

SHIFT = 6
"""Bits of sub-pixel precision of the polygons' corners."""


@dataclass(frozen=True)
class Coverage:
    """Pixels covered by triangles. N covered pixels.

    Attributes
    ----------
    size : (height, width)
    pixel : (N,) flat index, row-major
    triangle : (N,) index of the triangle on top
    weights : (N, 3) barycentric coordinates, ≥ 0, sum 1 (perspective-correct where depths were given)
    """

    size: tuple[int, int]
    pixel: np.ndarray
    triangle: np.ndarray
    weights: np.ndarray

    def interpolate(self, values: np.ndarray, corners: np.ndarray) -> np.ndarray:
        """(N, C) of per-corner `values` (V, C) with triangles' `corners` (F, 3) into them."""
        picked = corners[self.triangle]
        return np.einsum("ni,nic->nc", self.weights, values[picked])

    def image(self, values: np.ndarray, background: float = 0.0) -> np.ndarray:
        """(H, W, C) float32 picture of per-pixel `values` (N, C)."""
        out = np.full((self.size[0] * self.size[1], values.shape[1]), background, np.float32)
        out[self.pixel] = values
        return out.reshape(*self.size, values.shape[1])


def cover(corners: np.ndarray, size: tuple[int, int], *, depth: np.ndarray | None = None) -> Coverage:
    """Rasterise triangles; with `depth` the nearest lies on top (painter's order by mean depth).

    Parameters
    ----------
    corners : (F, 3, 2) float pixels, centres of pixels at whole numbers
    size : (height, width)
    depth : (F, 3) distance from the camera > 0
    """
    order = np.arange(len(corners)) if depth is None else np.argsort(-depth.mean(1), kind="stable")
    canvas = np.full(size, -1, np.int32)
    fixed = np.round(corners * (1 << SHIFT)).astype(np.int64)
    limit = 1 << 24
    inside = (np.abs(fixed) < limit).all((1, 2))
    low, high = corners.min(1), corners.max(1)
    inside &= (high >= -1).all(1) & (low[:, 0] < size[1] + 1) & (low[:, 1] < size[0] + 1)
    polygons = fixed.astype(np.int32)
    for number in order[inside[order]]:
        cv2.fillConvexPoly(canvas, polygons[number], (int(number),), lineType=cv2.LINE_8, shift=SHIFT)
    pixel = np.flatnonzero(canvas >= 0)
    triangle = canvas.ravel()[pixel]
    weights = _barycentric(corners[triangle], np.stack([pixel % size[1], pixel // size[1]], 1).astype(float))
    if depth is not None:
        weights = weights / depth[triangle]
        weights /= weights.sum(1, keepdims=True)
    return Coverage(size, pixel, triangle, weights)


def _barycentric(corners: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(N, 3) coordinates of `points` (N, 2) in triangles (N, 3, 2), clamped into the triangle."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    u, v, w = b - a, c - a, points - a
    area = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
    area = np.where(np.abs(area) < 1e-9, 1e-9, area)
    second = (w[:, 0] * v[:, 1] - w[:, 1] * v[:, 0]) / area
    third = (u[:, 0] * w[:, 1] - u[:, 1] * w[:, 0]) / area
    out = np.clip(np.stack([1 - second - third, second, third], 1), 0, None)
    return out / np.maximum(out.sum(1, keepdims=True), 1e-12)


def depth_map(coverage: Coverage, depth: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """(H, W) float32 distance per pixel of vertices' `depth` (V,), infinite where nothing is."""
    values = coverage.interpolate(depth[:, None], triangles)
    out = np.full(coverage.size[0] * coverage.size[1], np.inf, np.float32)
    out[coverage.pixel] = values[:, 0]
    return out.reshape(coverage.size)
