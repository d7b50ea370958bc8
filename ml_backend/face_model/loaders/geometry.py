"""Similarities, nearest points on a surface and smooth warps, for aligning one face with another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import RBFInterpolator
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import cKDTree

from ml_backend.face_model.synthesis import vertex_normals

NEIGHBOURS = 12


@dataclass(frozen=True)
class Similarity:
    """y = scale · R x + translation."""

    scale: float
    rotation: np.ndarray
    translation: np.ndarray

    def apply(self, points: np.ndarray) -> np.ndarray:
        """(N, 3) moved `points`."""
        return self.scale * points @ self.rotation.T + self.translation

    def after(self, first: Similarity) -> Similarity:
        """This one applied after `first`."""
        return Similarity(
            self.scale * first.scale, self.rotation @ first.rotation, self.apply(first.translation[None])[0]
        )


def fit_similarity(
    source: np.ndarray, target: np.ndarray, weight: np.ndarray | None = None, *, scaled: bool = True
) -> Similarity:
    """Least squares similarity from `source` (N, 3) to `target` (N, 3) (Umeyama 1991); rigid unless `scaled`."""
    w = np.ones(len(source)) if weight is None else weight
    w = w / w.sum()
    from_mean, to_mean = w @ source, w @ target
    a, b = source - from_mean, target - to_mean
    u, s, vt = np.linalg.svd((b * w[:, None]).T @ a)
    flip = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = (u * flip) @ vt
    scale = float((s * flip).sum() / max(float(w @ (a**2).sum(1)), 1e-20)) if scaled else 1.0
    return Similarity(scale, rotation, to_mean - scale * rotation @ from_mean)


class Surface:
    """Triangles (N, 3) of points (V, 3) that can be asked for their nearest point."""

    def __init__(self, points: np.ndarray, corners: np.ndarray) -> None:
        self.points, self.corners = points, corners
        self.normals = vertex_normals(points, corners)
        self.tree = cKDTree(points[corners].mean(1))

    def locate(self, query: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(N, 3) int corners and (N, 3) shares of the surface point that is nearest to each of `query` (N, 3)."""
        _, near = self.tree.query(query, k=min(NEIGHBOURS, len(self.corners)))
        near = near.reshape(len(query), -1)
        corner = self.points[self.corners[near]]
        share = _closest_share(query[:, None], corner)
        found = np.einsum("nki,nkij->nkj", share, corner)
        best = ((found - query[:, None]) ** 2).sum(-1).argmin(1)
        rows = np.arange(len(query))
        return self.corners[near[rows, best]], share[rows, best]

    def nearest(self, query: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(N, 3) nearest points of the surface to `query` (N, 3), and the unit normals (N, 3) there."""
        corners, share = self.locate(query)
        found = np.einsum("ni,nij->nj", share, self.points[corners])
        normal = np.einsum("ni,nij->nj", share, self.normals[corners])
        return found, normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)


def _closest_share(query: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """(…, 3) barycentric shares of the point of triangle `corner` (…, 3, 3) that is nearest to `query` (…, 3)."""
    a, b, c = (corner[..., i, :] for i in range(3))
    u, v, w = b - a, c - a, query - a
    uu, uv, vv = (u * u).sum(-1), (u * v).sum(-1), (v * v).sum(-1)
    uw, vw = (u * w).sum(-1), (v * w).sum(-1)
    area = np.maximum(uu * vv - uv * uv, 1e-20)
    s, t = (vv * uw - uv * vw) / area, (uu * vw - uv * uw) / area
    inside = np.stack([1 - s - t, s, t], -1)
    best, least = inside, np.where((inside >= 0).all(-1), ((w - s[..., None] * u - t[..., None] * v) ** 2).sum(-1), 1e9)
    for one, two in ((0, 1), (1, 2), (2, 0)):
        start, edge = corner[..., one, :], corner[..., two, :] - corner[..., one, :]
        along = ((query - start) * edge).sum(-1) / np.maximum((edge * edge).sum(-1), 1e-20)
        along = np.clip(along, 0, 1)
        far = ((query - start - along[..., None] * edge) ** 2).sum(-1)
        share = np.zeros_like(inside)
        share[..., one], share[..., two] = 1 - along, along
        closer = far < least
        best, least = np.where(closer[..., None], share, best), np.where(closer, far, least)
    return best


def warp(source: np.ndarray, target: np.ndarray, softness: np.ndarray) -> RBFInterpolator:
    """A smooth field of steps that brings `source` (N, 3) towards `target` (N, 3); `softness` (N,) ≥ 0, 0 = exactly."""
    unique, first = np.unique(np.round(source, 6), axis=0, return_index=True)
    # Thin-plate-like in 3-D is the kernel r: bounded bending, no overshoot between the points.
    return RBFInterpolator(unique, (target - source)[first], kernel="linear", degree=1,
                           smoothing=softness[first])  # type: ignore[arg-type]


def graph(points: np.ndarray, corners: np.ndarray) -> coo_matrix:
    """(V, V) edge lengths of the triangles `corners` (N, 3)."""
    edges = np.unique(np.sort(np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]]), 1), axis=0)
    length = np.maximum(np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1), 1e-9)
    return coo_matrix((length, (edges[:, 0], edges[:, 1])), shape=(len(points), len(points)))


def nearer_along(points: np.ndarray, corners: np.ndarray, one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """(V,) bool: whether the way along the surface to the vertices `one` is shorter than to the vertices `two`."""
    edges = graph(points, corners).tocsr()
    first = dijkstra(edges, directed=False, indices=one, min_only=True)
    second = dijkstra(edges, directed=False, indices=two, min_only=True)
    return first < second
