"""Quads over the landmarks: symmetric triangulation, pairing into quads, one split, and interpolation
weights."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu
from scipy.spatial import Delaunay

from blender_assets.head import landmarks as lm

MIDLINE = 1e-6  # m
Terms = dict[int, float]  # landmark → weight


@dataclass(frozen=True)
class FaceMesh:
    """Quad mesh over the face plane. V vertices, the first 468 of them at the landmarks.

    Attributes
    ----------
    plane : (V, 2) float, position in the plane, metres
    quads : (F, 4) int, counter-clockwise seen along +z with y down (outward in model space)
    weights : (V, 468) float, what each vertex takes from the landmarks
    mirror : (V,) int, the mirrored vertex
    loops : the boundary loops as vertex indices, each starting at its landmark loop's first point, twice as
    dense
    """

    plane: np.ndarray
    quads: np.ndarray
    weights: np.ndarray
    mirror: np.ndarray
    loops: dict[str, np.ndarray]


LOOPS = {"lips": lm.LIPS_INNER, "eye_right": lm.EYE_RIGHT, "eye_left": lm.EYE_LEFT, "oval": lm.OVAL}
CUSPS = {"lips": (0, 10), "eye_right": (0, 8), "eye_left": (0, 8), "oval": ()}


def inside(points: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """(N,) bool: `points` (N, 2) within the closed `polygon` (P, 2), by crossings."""
    a, b = polygon, np.roll(polygon, -1, 0)
    y = points[:, 1, None]
    straddles = (a[:, 1] > y) != (b[:, 1] > y)
    run = np.where(b[:, 1] == a[:, 1], 1.0, b[:, 1] - a[:, 1])
    x = a[:, 0] + (y - a[:, 1]) / run * (b[:, 0] - a[:, 0])
    return (straddles & (points[:, 0, None] < x)).sum(1) % 2 == 1


def half_triangles(plane: np.ndarray, oval: np.ndarray) -> np.ndarray:
    """(N, 3) Delaunay triangles of the half x ≥ 0 of `plane` (P, 2) within the loop `oval` and outside
    mouth and eyes."""
    half = np.flatnonzero(plane[:, 0] >= -MIDLINE)
    triangles = half[Delaunay(plane[half]).simplices]
    centre = plane[triangles].mean(1)
    keep = inside(centre, plane[oval])
    for name in ("lips", "eye_left"):
        keep &= ~inside(centre, plane[list(LOOPS[name])])
    a, b, c = (plane[triangles[:, i]] for i in range(3))
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    triangles[area > 0] = triangles[area > 0][:, ::-1]
    return triangles[keep & (np.abs(area) > 1e-9)]


def fill_points(plane: np.ndarray, oval: np.ndarray, spacing: float) -> np.ndarray:
    """(N, 2) symmetric extra points at the centres of the triangles of `plane` whose edges all but exceed
    `spacing`."""
    extra = np.zeros((0, 2))
    for _ in range(4):
        points = np.concatenate([plane, extra])
        triangles = points[half_triangles(points, oval)]
        edges = np.linalg.norm(triangles - np.roll(triangles, 1, 1), axis=-1)
        middle = triangles.mean(1)
        wide = (np.sort(edges, 1)[:, 1] > spacing) & (middle[:, 0] > 0.35 * spacing)
        chosen: list[np.ndarray] = []
        for index in np.flatnonzero(wide)[np.argsort(-edges[wide].sum(1))]:
            near = np.concatenate([points, *[c[None] for c in chosen]])
            if np.linalg.norm(near - middle[index], axis=1).min() > 0.5 * spacing:
                chosen.append(middle[index])
        if not chosen:
            break
        right = np.stack(chosen)
        extra = np.concatenate([extra, right, right * [-1, 1]])
    return extra


def pair_triangles(plane: np.ndarray, triangles: np.ndarray) -> list[list[int]]:
    """Polygons (quads where two triangles join into a good one, else triangles), greedily the squarest
    first."""
    by_edge: dict[tuple[int, int], list[int]] = {}
    for index, triangle in enumerate(triangles):
        for corner in range(3):
            edge = sorted((int(triangle[corner]), int(triangle[(corner + 1) % 3])))
            by_edge.setdefault((edge[0], edge[1]), []).append(index)
    candidates = []
    for (a, b), owners in by_edge.items():
        if len(owners) == 2:
            first = triangles[owners[0]].tolist()
            p = next(v for v in first if v not in (a, b))
            q = next(v for v in triangles[owners[1]].tolist() if v not in (a, b))
            at = first.index(p)
            quad = [p, first[(at + 1) % 3], q, first[(at + 2) % 3]]
            candidates.append((_badness(plane[quad]), quad, owners))
    taken: set[int] = set()
    polygons: list[list[int]] = []
    for badness, quad, owners in sorted(candidates, key=lambda item: item[0]):
        if badness < 0.75 and not taken.intersection(owners):
            taken.update(owners)
            polygons.append(quad)
    return polygons + [triangle.tolist() for index, triangle in enumerate(triangles) if index not in taken]


def _badness(corners: np.ndarray) -> float:
    """0 for a rectangle: the largest |cosine| of the four corners' angles, 9 if one is reflex."""
    before, after = np.roll(corners, 1, 0) - corners, np.roll(corners, -1, 0) - corners
    norm = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    cross = after[:, 0] * before[:, 1] - after[:, 1] * before[:, 0]
    if not (np.all(cross > 0) or np.all(cross < 0)):
        return 9.0
    return float(np.abs((before * after).sum(1) / norm).max())


def split(
    plane: np.ndarray, polygons: list[list[int]]
) -> tuple[np.ndarray, np.ndarray, dict[tuple[int, int], int]]:
    """Every polygon cut into quads at edge middles and centre: new plane (V, 2), quads (F, 4), edge →
    middle vertex."""
    points = [*plane]
    middle: dict[tuple[int, int], int] = {}
    quads = []
    for polygon in polygons:
        centre = len(points)
        points.append(plane[polygon].mean(0))
        mids = []
        for a, b in zip(polygon, polygon[1:] + polygon[:1], strict=True):
            key = (min(a, b), max(a, b))
            if key not in middle:
                middle[key] = len(points)
                points.append(0.5 * (plane[a] + plane[b]))
            mids.append(middle[key])
        quads += [[corner, mids[i], centre, mids[i - 1]] for i, corner in enumerate(polygon)]
    return np.array(points), np.array(quads), middle


def curve_middle(loop: list[int], cusps: tuple[int, ...], edge: int, known: dict[int, Terms]) -> Terms:
    """Landmark weights of the middle of the loop's edge `edge` (four-point scheme, Dyn et al. 1987),
    one-sided at `cusps`."""
    n = len(loop)
    before, first, second, after = ((edge + k) % n for k in (-1, 0, 1, 2))
    shares = {first: 9 / 16, second: 9 / 16, before: -1 / 16, after: -1 / 16}
    if first in cusps:
        shares = {first: 3 / 8, second: 6 / 8, after: -1 / 8}
    elif second in cusps:
        shares = {second: 3 / 8, first: 6 / 8, before: -1 / 8}
    terms: Terms = {}
    for place, share in shares.items():
        for landmark, weight in known[loop[place]].items():
            terms[landmark] = terms.get(landmark, 0.0) + share * weight
    return terms


def laplacian(plane: np.ndarray, quads: np.ndarray) -> Any:
    """(V, V) sparse cotangent Laplacian of the plane, quads cut both ways so that it stays symmetric under
    mirroring."""
    triangles = np.concatenate([quads[:, c] for c in ([0, 1, 2], [0, 2, 3], [0, 1, 3], [1, 2, 3])])
    rows, columns, values = [], [], []
    for corner in range(3):
        o, a, b = (triangles[:, (corner + k) % 3] for k in range(3))
        u, v = plane[a] - plane[o], plane[b] - plane[o]
        area = np.abs(u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0])
        cotangent = 0.25 * np.clip((u * v).sum(1) / np.maximum(area, 1e-12), 0.02, 8)
        rows += [a, b]
        columns += [b, a]
        values += [cotangent, cotangent]
    matrix = sparse.coo_matrix(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))),
        shape=(len(plane), len(plane)),
    ).tocsr()
    return (sparse.diags(np.asarray(matrix.sum(1)).ravel()) - matrix).tocsr()


def interpolation(plane: np.ndarray, quads: np.ndarray, known: dict[int, Terms]) -> np.ndarray:
    """(V, 468) weights: `known` vertices as given, the others of least squared Laplacian (discrete thin
    plate)."""
    table = np.zeros((len(plane), lm.FACE_COUNT))
    for vertex, terms in known.items():
        for landmark, weight in terms.items():
            table[vertex, landmark] = weight
    fixed = np.zeros(len(plane), bool)
    fixed[list(known)] = True
    free = np.flatnonzero(~fixed)
    operator = laplacian(plane, quads)
    operator = sparse.diags(1 / np.maximum(operator.diagonal(), 1e-9)) @ operator
    rows = np.ones(len(plane), bool)
    rows[[v for v in known if v >= lm.FACE_COUNT]] = False
    energy = operator[rows]
    left, right = energy[:, free], energy[:, fixed] @ table[fixed]
    table[free] = splu((left.T @ left).tocsc()).solve(-(left.T @ right))
    return table


def mirror_of(plane: np.ndarray) -> np.ndarray:
    """(V,) the vertex at the mirrored place of each vertex of `plane` (V, 2)."""
    distance = ((plane[:, None] * [-1, 1] - plane[None]) ** 2).sum(-1)
    return distance.argmin(1)


def _midline_points(plane: np.ndarray, spacing: float) -> np.ndarray:
    """(N, 2) points that halve the wide gaps of the midline's landmarks, but for the gap between the lips."""
    middle = np.flatnonzero(np.abs(plane[:, 0]) < MIDLINE)
    middle = middle[np.argsort(plane[middle, 1])]
    gaps = [
        (a, b)
        for a, b in itertools.pairwise(middle.tolist())
        if plane[b, 1] - plane[a, 1] > 1.3 * spacing and (a, b) != (13, 14)
    ]
    return np.array([0.5 * (plane[a] + plane[b]) * [0, 1] for a, b in gaps]).reshape(-1, 2)


def build_face(plane: np.ndarray, spacing: float = 0.0095) -> FaceMesh:
    """The quad mesh over the landmark plane (468, 2); `spacing` in metres bounds the triangles before the
    split."""
    known: dict[int, Terms] = {i: {i: 1.0} for i in range(lm.FACE_COUNT)}
    loops = {name: list(loop) for name, loop in LOOPS.items()}
    # The oval's landmarks are 2 cm apart: one more point between each two, before anything is triangulated.
    for edge in range(len(lm.OVAL)):
        known[lm.FACE_COUNT + edge] = curve_middle(list(lm.OVAL), (), edge, known)
    loops["oval"] = [v for edge, landmark in enumerate(lm.OVAL) for v in (landmark, lm.FACE_COUNT + edge)]
    added = np.array(
        [sum(w * plane[i] for i, w in known[lm.FACE_COUNT + e].items()) for e in range(len(lm.OVAL))]
    )
    points = np.concatenate([plane, added, _midline_points(plane, spacing)])
    oval = np.array(loops["oval"])
    points = np.concatenate([points, fill_points(points, oval, spacing)])
    mirror = mirror_of(points)
    half = pair_triangles(points, half_triangles(points, oval))
    polygons = half + [mirror[polygon][::-1].tolist() for polygon in half]
    new_plane, quads, middle = split(points, polygons)
    dense = {}
    for name, loop in loops.items():
        mids = [middle[(min(a, b), max(a, b))] for a, b in zip(loop, loop[1:] + loop[:1], strict=True)]
        for edge, vertex in enumerate(mids):
            known[vertex] = curve_middle(loop, CUSPS[name], edge, known)
        dense[name] = np.array([v for pair in zip(loop, mids, strict=True) for v in pair])
    return FaceMesh(new_plane, quads, interpolation(new_plane, quads, known), mirror_of(new_plane), dense)
