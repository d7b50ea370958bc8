"""The 52 ARKit expressions in a foreign model's own expression space, by box-constrained least squares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import lsq_linear
from scipy.sparse import csr_matrix

from ml_backend.face_model.loaders.align import Alignment, head_surface
from ml_backend.face_model.loaders.geometry import Surface, fit_similarity
from ml_backend.face_model.model import FaceModel

NEAR_LIPS = 0.05
REGION = 0.3
CAREFUL = 3.0
"""Lips and lids weigh this much more than other skin: they are what is looked at."""
RIDGE = 2e-4
"""Millimetres² per vertex that a coefficient of one standard deviation must be worth."""
MOVES = 3e-4
"""Metres a vertex must move for it to count in a shape's residual."""
FADE_START, FADE = 0.010, 0.012


@dataclass(frozen=True)
class Transfer:
    """Reads values of the built-in head's skin at the foreign model's vertices.

    Attributes
    ----------
    matrix : (V, W) sparse, rows sum to one on the foreign skin and are empty elsewhere
    trust : (V,) in [0, 1], 1 where the two skins lie on each other, 0 beyond about two centimetres
    """

    matrix: csr_matrix
    trust: np.ndarray

    def apply(self, values: np.ndarray) -> np.ndarray:
        """(V, …) from `values` (W, …) of the head's vertices."""
        flat = values.reshape(len(values), -1)
        return np.asarray(self.matrix @ flat).reshape(-1, *values.shape[1:])


def transfer(found: Alignment) -> Transfer:
    """Where on the warped head each vertex of the foreign skin lies; upper lip reads upper lip, lower reads lower."""
    raw, head = found.raw, found.head
    corners = head_surface(head)
    skin = np.unique(raw.surface())
    query = raw.mean[skin]
    place, share = Surface(found.points, corners).locate(query)
    lips = head.region("lips")
    mouth = np.einsum("ni,ni->n", lips[place], share) > NEAR_LIPS
    for above in (True, False):
        half = corners[(found.head_above[corners] == above).all(1)]
        rows = np.flatnonzero(mouth & (found.raw_above[skin] == above))
        if len(rows) and len(half):
            place[rows], share[rows] = Surface(found.points, half).locate(query[rows])
    far = np.linalg.norm(np.einsum("ni,nij->nj", share, found.points[place]) - query, axis=1)
    trust = np.zeros(len(raw.mean))
    trust[skin] = np.clip(1 - (far - FADE_START) / FADE, 0, 1)
    rows = np.repeat(skin, 3)
    matrix = csr_matrix((share.ravel(), (rows, place.ravel())), shape=(len(raw.mean), len(head.mean_shape)))
    return Transfer(matrix, trust)


@dataclass(frozen=True)
class Solved:
    """Expressions of a foreign model. K of them, V vertices.

    Attributes
    ----------
    shapes : (K, V, 3) float32 metres
    residual_mm : (K,) root mean square distance from the built-in head's own motion where that moves the skin
    motion_mm : (K,) root mean square of that motion: what the residual is to be compared with
    """

    shapes: np.ndarray
    residual_mm: np.ndarray
    motion_mm: np.ndarray


def wanted(found: Alignment, read: Transfer) -> np.ndarray:
    """(K, V, 3) metres: the built-in head's expressions on the foreign skin, in the foreign face's size."""
    basis = found.head.expression_basis.transpose(1, 0, 2)
    moved = read.apply(basis).transpose(1, 0, 2) * found.scale
    return (moved * read.trust[:, None]).astype(np.float32)


def solve(found: Alignment, read: Transfer) -> Solved:
    """The 52 shapes in the span of the foreign model's modes, coefficients within their bounds.

    Where the model has no modes at all, the built-in head's motion itself is taken over.
    """
    raw, head = found.raw, found.head
    target = wanted(found, read)
    face = read.apply(head.region("face")) * read.trust
    rows = np.flatnonzero(face > REGION)
    if not len(raw.modes):
        return Solved(target, *_errors(target, target, rows))
    careful = np.clip(read.apply(head.region("lips") + head.region("eyes")), 0, 1)[rows]
    weight = np.sqrt((1 + (CAREFUL - 1) * careful) / len(rows))
    basis = (raw.modes[:, rows] * (1000 * weight[:, None])).reshape(len(raw.modes), -1).astype(float)
    goal = (target[:, rows] * (1000 * weight[:, None])).reshape(len(target), -1).astype(float)
    gram = basis @ basis.T + RIDGE * np.eye(len(basis))
    factor = np.linalg.cholesky(gram)
    right = np.linalg.solve(factor, basis @ goal.T)
    weights = np.stack([lsq_linear(factor.T, column, bounds=tuple(raw.bounds)).x for column in right.T])
    shapes = np.tensordot(weights, raw.modes, 1).astype(np.float32)
    return Solved(shapes, *_errors(shapes, target, rows))


def _errors(shapes: np.ndarray, target: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(K,) and (K,) millimetres: residual and motion of each shape over the `rows` that it ought to move."""
    residual, motion = np.zeros(len(target)), np.zeros(len(target))
    for k, (shape, goal) in enumerate(zip(shapes[:, rows], target[:, rows], strict=True)):
        size = np.linalg.norm(goal, axis=1)
        moving = size > MOVES
        if moving.any():
            residual[k] = 1000 * np.sqrt(((shape[moving] - goal[moving]) ** 2).sum(1).mean())
            motion[k] = 1000 * np.sqrt((size[moving] ** 2).mean())
    return residual, motion


def eye_turns(head: FaceModel) -> dict[str, tuple[str, np.ndarray]]:
    """Expression → (eye part, rotation matrix (3, 3)) by which the built-in head turns an eyeball at weight 1."""
    out = {}
    for k, name in enumerate(head.names):
        if name.startswith("eyeLook"):
            part = "eye_left" if name.endswith("Left") else "eye_right"
            ball = head.part(part)
            rest = head.mean_shape[ball].astype(float)
            out[name] = (part, fit_similarity(rest, rest + head.expression_basis[k][ball], scaled=False).rotation)
    return out


def turn_eyes(found: Alignment, shapes: np.ndarray, centres: dict[str, np.ndarray]) -> None:
    """Let the eyeLook shapes (K, V, 3) of a model with eyeballs turn them about `centres`, in place."""
    raw, names = found.raw, found.head.names
    for name, (part, rotation) in eye_turns(found.head).items():
        ball = raw.part_mask(part)
        if ball.any():
            offset = raw.mean[ball] - centres[part]
            shapes[names.index(name)][ball] = offset @ rotation.T - offset
