"""Mapping where names say nothing: every ARKit shape of our head as a combination of the rig's own shape keys.

`mapping_align` lays the rig's moving vertices onto our head. Our displacements are carried to them from the closest
points, and a box-constrained least squares with L2, L1 and symmetry terms, and a pull towards keys that move alike,
finds the weights. Several meshes (head, teeth, brows, lashes) are one problem: each moves by its own keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .channels import ARKIT
from .errors import UserInputError
from .mapping import Pair
from .mapping_align import Placed, Shapes, align, mutual, nearest_points, place
from .mapping_solve import Terms, box_least_squares
from .thread_job import Report

_REACH = 0.12
_SHOWN = 0.02
_USELESS = 0.97
_ALIKE, _SURE = 0.6, 6
"""Likeness from which two keys are taken for the same, and how steeply trust in that grows with likeness."""
_ROUNDS, _MOTIONS = 2, 16
_MOTION_REACH = 0.04
"""How far apart, in mean radii, two places that move quite differently count as being."""


@dataclass(frozen=True)
class Settings:
    """Weights of the terms, as in `mapping_solve.Terms`.

    Attributes
    ----------
    l2, l1 : small weights; few keys for each shape (l1 relative to the sizes of the shape and of the key)
    symmetry : left and right shapes use left and right keys alike
    prior : pull towards the one key that moves as the shape does, where there is such a key
    """

    l2: float = 1e-4
    l1: float = 0.15
    symmetry: float = 0.05
    prior: float = 0.5


@dataclass(frozen=True)
class Solution:
    """Result of `solve`.

    Attributes
    ----------
    pairs : one for each key that any shape uses
    residual : ARKit shape → share of its displacement that the meshes can't show, in [0, 1]
    """

    pairs: list[Pair]
    residual: dict[str, float]

    @property
    def mean(self) -> float:
        """The mean residual."""
        return float(np.mean(list(self.residual.values()))) if self.residual else 1.0


def solve(target: Shapes, keys: Sequence[tuple[str, str]], source: Shapes, settings: Settings | None = None,
          report: Report = lambda stage, done, total: None) -> Solution:
    """Every shape of `source` (our head, names = ARKit's) as weights of `target`'s keys.

    Parameters
    ----------
    target : all meshes' vertices in one space, from any place, of any size and turn
    keys : for each of `target`'s keys its mesh and name
    source : see `head_shapes`
    settings : the terms' weights
    report : called with stage, done, total; may raise

    Raises
    ------
    UserInputError
        If no key moves a vertex.
    """
    settings = settings or Settings()
    if not keys or target.strength().max(initial=0.0) <= 0:
        raise UserInputError("No shape key of the selected meshes moves a vertex; there is nothing to solve for.")
    laid = align(target, source, lambda done, total: report("Laying the heads onto each other", done, total))
    report("Finding alike shapes", 0, 1)
    placed = place(target.moving(), source.moving(len(source.points)), laid)
    flat, goal = _weighted(source, placed, None)
    report("Solving for weights", 0, 1 + _ROUNDS)
    weights = _weights(flat, goal, placed, source.names, settings)
    for turn in range(_ROUNDS):
        report("Solving for weights", 1 + turn, 1 + _ROUNDS)
        # Lips and lids touch: which of two close points is meant shows in how it would move.
        flat, goal = _weighted(source, placed, weights)
        weights = _weights(flat, goal, placed, source.names, settings)
    return _solution(keys, source.names, weights, np.clip(_left(weights, flat, goal), 0, 1))


def _weights(flat: np.ndarray, goal: np.ndarray, placed: Placed, names: list[str],
             settings: Settings) -> np.ndarray:
    """(S, K) in [0, 1]: once with all terms, once more with the keys found, without the term that pulls them down."""
    size = float((flat * flat).sum() / max(len(flat), 1)) or 1.0
    gram, cross = flat @ flat.T / size, goal @ flat.T / size
    pull, towards = np.zeros_like(placed.likeness), np.zeros_like(placed.likeness)
    for row, column in mutual(placed.likeness, _ALIKE):
        pull[row] = settings.prior * placed.likeness[row, column] ** _SURE
        towards[row, column] = np.clip(placed.strength[row, column], 0, 1)
    same = {"mirror": settings.symmetry, "rows": _partners(names), "columns": _mirrored(placed), "towards": towards}
    # A key is used where what is left of the shape correlates with it by more than l1 / 2, however small both are.
    apart = np.outer(np.linalg.norm(goal, axis=1), np.linalg.norm(flat, axis=1)) / size
    first = box_least_squares(gram, cross, Terms(l2=settings.l2, l1=settings.l1 * apart, pull=pull, **same))
    used = (first > _SHOWN).astype(float)
    # What the geometry explains needs no help; the worse it fits, the more the key that moves alike counts.
    return box_least_squares(gram, cross, Terms(l2=1e-7, pull=pull * _left(first, flat, goal)[:, None] ** 2, **same),
                             upper=used)


def _left(weights: np.ndarray, flat: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """(S,) share of each shape's displacement that `weights` don't show."""
    return np.linalg.norm(weights @ flat - goal, axis=1) / np.maximum(np.linalg.norm(goal, axis=1), 1e-12)


def _weighted(source: Shapes, placed: Placed, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """(K, 3N) the keys' displacements and (S, 3N) ours at the same places, each times the root of its trust.

    Ours come from the closest point, trusted less the further away it lies; with `weights` (S, K) from the point that
    is close and moves as the keys would.
    """
    radius = float(np.linalg.norm(source.points - source.points.mean(0), axis=1).mean())
    ours, theirs = source.points, placed.points
    if weights is not None:
        motion = source.moves.transpose(1, 0, 2).reshape(len(ours), -1)
        main = np.linalg.eigh(motion.T @ motion)[1][:, -_MOTIONS:]
        shown = np.tensordot(weights, placed.moves, 1).transpose(1, 0, 2).reshape(len(theirs), -1)
        unit = _MOTION_REACH * radius / max(float(np.sqrt(((motion @ main) ** 2).sum(1).mean())), 1e-12)
        ours, theirs = np.hstack([ours, unit * motion @ main]), np.hstack([theirs, unit * shown @ main])
    index, _ = nearest_points(theirs, ours)
    distance = np.linalg.norm(placed.points - source.points[index], axis=1)
    root = np.sqrt(np.exp(-((distance / (_REACH * radius)) ** 2)) + 1e-6)[:, None]
    return (root * placed.moves).reshape(len(placed.moves), -1), (root * source.moves[:, index]).reshape(
        len(source.moves), -1)


def _solution(keys: Sequence[tuple[str, str]], shapes: list[str], weights: np.ndarray, left: np.ndarray) -> Solution:
    weights = np.where((weights > _SHOWN) & (left < _USELESS)[:, None], weights, 0)
    pairs = []
    for column, (mesh, key) in enumerate(keys):
        rows = np.flatnonzero(weights[:, column])
        if len(rows):
            sure = 1 - float(np.average(left[rows], weights=weights[rows, column]))
            sources = {shapes[row]: round(float(weights[row, column]), 4) for row in rows}
            pairs.append(Pair(mesh, key, sources, confidence=round(sure, 3), origin="geometry"))
    return Solution(pairs, {name: round(float(value), 4) for name, value in zip(shapes, left, strict=True)})


def _partners(names: list[str]) -> np.ndarray:
    """(S,) the row of the other side's shape, or the row itself."""
    swap = {"Left": "Right", "Right": "Left"}
    at = {name: row for row, name in enumerate(names)}
    other = [next((name[: -len(side)] + swap[side] for side in swap if name.endswith(side)), name) for name in names]
    return np.array([at.get(name, row) for row, name in enumerate(other)])


def _mirrored(placed: Placed) -> np.ndarray:
    """(K,) the key that does on the other side what each does on its own; -1 where none does. Mirror plane x = 0."""
    flip = np.array([-1.0, 1.0, 1.0])
    index, _ = nearest_points(placed.points * flip, placed.points)
    flat = placed.moves.reshape(len(placed.moves), -1)
    size = np.maximum(np.linalg.norm(flat, axis=1), 1e-12)[:, None]
    likeness = (placed.moves[:, index] * flip).reshape(len(flat), -1) / size @ (flat / size).T
    best = likeness.argmax(1)
    sure = (likeness.max(1) > 0.85) & (best[best] == np.arange(len(best)))
    return np.where(sure, best, -1)


def head_shapes(points: np.ndarray, moves: np.ndarray, names: list[str]) -> Shapes:
    """Our head's `Shapes`, of the 52 only, in ARKit's order; raises `UserInputError` if it has none of them.

    `points` (V, 3) and `moves` (K, V, 3) in Blender axes, any unit; `names` K expression names.
    """
    order = [names.index(name) for name in ARKIT if name in names]
    if not order:
        raise UserInputError("The face model has none of ARKit's shapes, so nothing can be solved from it.")
    return Shapes(points.astype(np.float64), moves[order].astype(np.float64), [names[index] for index in order])
