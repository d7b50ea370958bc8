"""Laying a stranger's head onto ours, though the two have no vertex and no name in common.

First a similarity transform: iterative closest points (Besl & McKay 1992) from 96 starts, each step in Umeyama's (1991)
closed form. Then a smooth warp: keys of the two heads that move alike, as blurred fields of displacement, are taken for
the same, and their centres for landmarks.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

_SAMPLES, _ALL, _ANCHORS = 4000, 1 << 30, 700
_BLUR = 0.14
"""Of the head's mean radius (8 mm for a grown-up): how far apart the same place of two heads may lie."""
_ALIKE, _TRIED = 0.6, 12


@dataclass(frozen=True)
class Shapes:
    """A mesh at rest, and how its keys move it; Blender axes, any unit.

    Attributes
    ----------
    points : (N, 3)
    moves : (K, N, 3) displacement at weight 1
    names : K names
    """

    points: np.ndarray
    moves: np.ndarray
    names: list[str]

    def moving(self, most: int = _SAMPLES) -> Shapes:
        """Its vertices that any key moves by more than 2 % of the largest move, at most `most` of them, evenly."""
        size = self.strength()
        index = np.flatnonzero(size > 0.02 * size.max(initial=0.0))
        if len(index) > most:
            index = index[np.linspace(0, len(index) - 1, most).round().astype(int)]
        return Shapes(self.points[index], self.moves[:, index], self.names)

    def strength(self) -> np.ndarray:
        """(N,) how far any key moves each vertex at most."""
        return np.linalg.norm(self.moves, axis=2).max(0, initial=0.0)


@dataclass(frozen=True)
class Raw:
    """One mesh as Blender has it, read in a moment; everything that takes time is done from here.

    Attributes
    ----------
    name : of the object
    rest : (V, 3) float32
    keys : (K, V, 3) float32 positions at weight 1
    relative : (K,) index into `keys` of what each key is relative to, -1 = `rest`
    world : (3, 4) object to world
    names : K names
    """

    name: str
    rest: np.ndarray
    keys: np.ndarray
    relative: np.ndarray
    world: np.ndarray
    names: list[str]

    def shapes(self, most: int = _SAMPLES) -> Shapes:
        """The moving vertices in the world, at most `most` of them."""
        moves = np.empty_like(self.keys)
        for index, at in enumerate(self.relative):
            np.subtract(self.keys[index], self.rest if at < 0 else self.keys[at], out=moves[index])
        part = Shapes(self.rest, moves, self.names).moving(most)
        turn, shift = self.world[:, :3], self.world[:, 3]
        return Shapes(part.points @ turn.T + shift, part.moves @ turn.T, self.names)


def joined(meshes: Sequence[Raw]) -> tuple[Shapes, list[tuple[str, str]]]:
    """All meshes as one `Shapes`, each moved by its own keys alone, and for each key its (object, key)."""
    parts = [(mesh, mesh.shapes()) for mesh in meshes]
    names = [(mesh.name, name) for mesh, part in parts for name in part.names]
    moves = np.zeros((len(names), sum(len(part.points) for _, part in parts), 3))
    row = column = 0
    for _, part in parts:
        moves[row : row + len(part.names), column : column + len(part.points)] = part.moves
        row, column = row + len(part.names), column + len(part.points)
    points = np.concatenate([part.points for _, part in parts]) if parts else np.zeros((0, 3))
    return Shapes(points, moves, [name for _, name in names]), names


@dataclass(frozen=True)
class Similarity:
    """x → scale · rotation x + shift."""

    scale: float
    rotation: np.ndarray
    shift: np.ndarray

    def apply(self, points: np.ndarray) -> np.ndarray:
        """(N, 3) moved `points` (N, 3)."""
        return self.scale * points @ self.rotation.T + self.shift

    def turn(self, moves: np.ndarray) -> np.ndarray:
        """(…, 3) displacements in the new frame."""
        return self.scale * moves @ self.rotation.T


def align(target: Shapes, source: Shapes, progress: Callable[[int, int], None] = lambda done, total: None
          ) -> Similarity:
    """The similarity that takes `target`'s moving vertices onto `source`'s; from any place, size and turn.

    `progress` is called with (done, total), and may raise.
    """
    small, large = _features(target.moving(300)), _features(source.moving(900))
    starts = [_start(small, large, rotation) for rotation in _rotations()]
    total, tried = len(starts) + _TRIED, []
    for start in starts:
        tried.append(_closest(small, large, start, 4))
        progress(len(tried), total)
    chosen, tried = sorted(tried, key=lambda result: result[1])[:_TRIED], []
    for start, _ in chosen:
        tried.append(_closest(small, large, start, 15))
        progress(len(starts) + len(tried), total)
    best = min(tried, key=lambda result: result[1])[0]
    return _closest(_features(target.moving(1500)), _features(source.moving(_ALL)), best, 30)[0]


def _features(shapes: Shapes) -> tuple[np.ndarray, np.ndarray]:
    """(N, 3) points and (N,) how strongly each moves, the strong ones at 1."""
    size = shapes.strength()
    return shapes.points.astype(np.float64), np.minimum(size / max(float(np.percentile(size, 95)), 1e-12), 1)


def _start(small: tuple[np.ndarray, np.ndarray], large: tuple[np.ndarray, np.ndarray],
           rotation: np.ndarray) -> Similarity:
    """Centres and sizes of what moves, laid upon each other."""
    (a, wa), (b, wb) = small, large
    ca, cb = np.average(a, axis=0, weights=wa), np.average(b, axis=0, weights=wb)
    ra = np.sqrt(np.average(((a - ca) ** 2).sum(1), weights=wa))
    rb = np.sqrt(np.average(((b - cb) ** 2).sum(1), weights=wb))
    scale = float(rb / max(ra, 1e-12))
    return Similarity(scale, rotation, cb - scale * rotation @ ca)


def _closest(small: tuple[np.ndarray, np.ndarray], large: tuple[np.ndarray, np.ndarray], start: Similarity,
             steps: int) -> tuple[Similarity, float]:
    """Iterative closest points, the worst fifth left out; the similarity and the mean distance at its end."""
    (a, wa), (b, wb) = small, large
    radius = float(np.linalg.norm(b - b.mean(0), axis=1).mean())
    aim = np.column_stack([b, 0.3 * radius * wb])
    current, cost = start, np.inf
    for _ in range(steps):
        index, distance = nearest_points(np.column_stack([current.apply(a), 0.3 * radius * wa]), aim)
        keep = distance <= np.quantile(distance, 0.8)
        cost = float(distance[keep].mean()) / radius
        current = _umeyama(a[keep], b[index[keep]])
    # A collapse onto one spot has small distances as well: size must agree too.
    return current, cost + abs(np.log(max(current.scale / start.scale, 1e-6))) * 0.2


def _umeyama(a: np.ndarray, b: np.ndarray) -> Similarity:
    """The similarity that takes `a` (N, 3) to `b` (N, 3) with the least squares."""
    ca, cb = a.mean(0), b.mean(0)
    u, s, vt = np.linalg.svd((b - cb).T @ (a - ca) / len(a))
    flip = np.array([1, 1, np.sign(np.linalg.det(u) * np.linalg.det(vt)) or 1.0])
    rotation = u @ np.diag(flip) @ vt
    scale = float((s * flip).sum() / max(((a - ca) ** 2).sum() / len(a), 1e-18))
    return Similarity(scale, rotation, cb - scale * rotation @ ca)


def _rotations() -> list[np.ndarray]:
    """The 24 rotations that take axes to axes, and each of them with an eighth turn about an axis; 96 in all."""
    found: list[np.ndarray] = []
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            matrix = np.zeros((3, 3))
            matrix[range(3), order] = signs
            if np.linalg.det(matrix) > 0:
                found.append(matrix)
    half = np.sqrt(0.5)
    eighth = np.array([[half, -half, 0], [half, half, 0], [0, 0, 1]])
    return found + [np.roll(eighth, (axis, axis), (0, 1)) @ matrix for axis in range(3) for matrix in found]


def nearest_points(points: np.ndarray, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N,) index into `among` (M, D) of each of `points` (N, D), and (N,) distance."""
    index, distance = np.empty(len(points), np.int64), np.empty(len(points))
    squares = (among * among).sum(1)
    for start in range(0, len(points), 512):
        block = points[start : start + 512]
        table = squares - 2 * block @ among.T
        found = table.argmin(1)
        index[start : start + 512] = found
        distance[start : start + 512] = np.linalg.norm(block - among[found], axis=1)
    return index, distance


@dataclass(frozen=True)
class Placed:
    """The target's moving vertices in the source's frame, and what was found alike on the way.

    Attributes
    ----------
    points, moves : (N, 3), (K, N, 3)
    likeness : (S, K) in [-1, 1] between each of the source's shapes and each key
    strength : (S, K) the weight at which the key does most of what the shape does
    """

    points: np.ndarray
    moves: np.ndarray
    likeness: np.ndarray
    strength: np.ndarray


def place(target: Shapes, source: Shapes, similarity: Similarity, rounds: int = 3) -> Placed:
    """The vertices of `target` laid onto `source`'s by `similarity` and a warp that brings like keys together."""
    points, moves = similarity.apply(target.points), similarity.turn(target.moves)
    anchors = source.points[np.linspace(0, len(source.points) - 1, _ANCHORS).round().astype(int)]
    radius = float(np.linalg.norm(source.points - source.points.mean(0), axis=1).mean())
    theirs = _field(anchors, source.points[::2], source.moves[:, ::2], _BLUR * radius)
    centres = _centres(source.points, source.moves)
    for turn in range(rounds + 1):
        ours = _field(anchors, points, moves, _BLUR * radius)
        sizes = np.maximum(np.linalg.norm(ours, axis=1), 1e-12)
        products = theirs @ ours.T
        likeness = products / np.maximum(np.linalg.norm(theirs, axis=1), 1e-12)[:, None] / sizes
        if turn < rounds:
            moved = points + _warp(points, moves, centres, likeness, radius)
            # Wrong landmarks (half a jaw's centre for a jaw's) tear a head off that lay well.
            if _gap(moved, source.points) > 1.1 * _gap(points, source.points):
                break
            points = moved
    return Placed(points, moves, likeness, products / sizes**2)


def _gap(points: np.ndarray, among: np.ndarray) -> float:
    """How far `points` lie from the closest of `among`, the worst fifth left out."""
    distance = nearest_points(points[:: max(1, len(points) // 1000)], among)[1]
    return float(distance[distance <= np.quantile(distance, 0.8)].mean())


def mutual(likeness: np.ndarray, least: float) -> list[tuple[int, int]]:
    """Pairs (row, column) that are each other's best, where better than `least`."""
    of_row, of_column = likeness.argmax(1), likeness.argmax(0)
    return [(row, int(column)) for row, column in enumerate(of_row)
            if of_column[column] == row and likeness[row, column] > least]


def _field(anchors: np.ndarray, points: np.ndarray, moves: np.ndarray, blur: float) -> np.ndarray:
    """(K, 3 A) mean displacement around each of `anchors` (A, 3); the same however densely a mesh is sampled."""
    gap = (anchors**2).sum(1)[:, None] + (points**2).sum(1) - 2 * anchors @ points.T
    near = np.exp(-np.maximum(gap, 0) / (2 * blur * blur))
    near /= near.sum(1, keepdims=True) + 1e-3
    return np.matmul(near, moves).reshape(len(moves), -1)


def _centres(points: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """(K, 3) where each key moves most."""
    weight = (moves**2).sum(2)
    return weight @ points / np.maximum(weight.sum(1, keepdims=True), 1e-18)


def _warp(points: np.ndarray, moves: np.ndarray, centres: np.ndarray, likeness: np.ndarray,
          radius: float) -> np.ndarray:
    """(N, 3) smooth shift that takes the centres of keys that are alike onto each other."""
    pairs = mutual(likeness, _ALIKE)
    if not pairs:
        return np.zeros_like(points)
    rows, columns = (np.array(side) for side in zip(*pairs, strict=True))
    own = _centres(points, moves[columns])
    shift = centres[rows] - own
    size = (moves[columns] ** 2).sum(2)
    spread = np.sqrt((size * ((points - own[:, None]) ** 2).sum(2)).sum(1) / np.maximum(size.sum(1), 1e-18))
    # Small local keys are better landmarks than an open jaw; what would go far is no landmark at all.
    weight = likeness[rows, columns] / np.maximum(spread, 0.15 * radius)
    weight *= np.linalg.norm(shift, axis=1) < 0.35 * radius
    near = np.exp(-((points[:, None] - own) ** 2).sum(2) / (2 * (0.45 * radius) ** 2)) * weight
    return near @ shift / (near.sum(1, keepdims=True) + 1e-3 * weight.max(initial=1e-12))
