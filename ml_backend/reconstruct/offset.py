"""What the identity basis can't express: a residual at the landmarks, spread smoothly over the mesh."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import coo_matrix, diags
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu
from scipy.spatial import cKDTree

from ml_backend.face_model.model import FaceModel
from ml_backend.reconstruct import contacts
from ml_backend.reconstruct.points import (
    EYE_LEFT,
    EYE_RIGHT,
    LID_PAIRS_LEFT,
    LID_PAIRS_RIGHT,
    LIP_PAIRS,
    LIPS_INNER,
    Rig,
    noise,
)

PRIOR = 0.0035
"""Standard deviation of the offset, metres."""
LIMIT = 0.012
DEPTH = 0.10
STIFFNESS, CONTACT_STIFFNESS = 1.5, 30.0
"""How firmly the skin is held at a landmark against its bending; at lips and lids, which must meet, more."""
REACH = 0.015


def landmark_offset(residual: np.ndarray, rotation: np.ndarray, rig: Rig, moved: np.ndarray, at: contacts.Levels,
                    shape: np.ndarray) -> np.ndarray:
    """(L, 3) metres: the robust mean of `residual` (N, L, 3), frames with little expression first.

    Parameters
    ----------
    residual : (N, L, 3) observed minus fitted, model space
    rotation : (N, 3, 3)
    rig : landmarks of the model
    moved : (N, L, 3) displacement by expression
    at : resting distances of lips and lids that the neutral face must have
    shape : (L, 3) neutral shape without the offset
    """
    activity = np.sqrt((moved**2).sum(-1).mean(1))
    weight = 1.0 / (0.001**2 + activity**2)
    weight /= weight.sum()
    metric = rotation.transpose(0, 2, 1) @ (np.array([1.0, 1.0, DEPTH])[:, None] * rotation)
    # Frame after frame lies together: that is how the median goes through them.
    beside = np.ascontiguousarray(residual.reshape(len(residual), -1).T)
    centre = np.median(beside, axis=1).reshape(residual.shape[1:])
    robust = weight[:, None] / (1 + ((residual - centre) ** 2).sum(-1) / 0.002**2)
    gram = (robust.T @ metric.reshape(len(metric), 9)).reshape(-1, 3, 3)
    right = ((residual @ metric) * robust[..., None]).sum(0)
    damping = np.minimum(noise(rig), 0.0025) ** 2 / (4 * PRIOR**2) * robust.sum(0)
    offset = np.linalg.solve(gram + damping[:, None, None] * np.eye(3), right[..., None])[..., 0]
    offset[rig.index >= 468] = 0.0
    length = np.linalg.norm(offset, axis=1, keepdims=True)
    offset *= np.minimum(1.0, LIMIT / np.maximum(length, 1e-12))
    return _rest_contacts(offset, rig, at, shape)


def _rest_contacts(offset: np.ndarray, rig: Rig, at: contacts.Levels, shape: np.ndarray) -> np.ndarray:
    """Make the neutral lips touch as the model's do, and give the lids the person's resting gap."""
    out = offset.copy()
    for pairs, rest in ((rig.pair_rows(LIP_PAIRS), at.lip_rest),
                        (rig.pair_rows(LID_PAIRS_RIGHT + LID_PAIRS_LEFT), at.lid_rest)):
        half = (rest - contacts.gap(shape + out, pairs)) / 2
        out[pairs[:, 0], 1] -= half
        out[pairs[:, 1], 1] += half
    lips = rig.pair_rows(LIP_PAIRS)
    for axis in (0, 2):
        out[lips, axis] = out[lips, axis].mean(1, keepdims=True)
    return out


@dataclass(frozen=True)
class Spreading:
    """How a model's mesh follows its landmarks, worked out beforehand. A landmarks, V vertices.

    Attributes
    ----------
    use : (L,) bool, the landmarks that count
    sheets : connected pieces with landmarks: vertices, landmarks (of A), and what makes vertices' offsets of theirs
    carried : pieces without: vertices and the landmarks' shares (A,)
    vertices : V
    """

    use: np.ndarray
    sheets: list[tuple[np.ndarray, np.ndarray, Callable[[np.ndarray], np.ndarray]]]
    carried: list[tuple[np.ndarray, np.ndarray]]
    vertices: int

    @classmethod
    def of(cls, model: FaceModel, rig: Rig) -> Spreading:
        """Factorise; takes as long as dozens of frames, and nothing of a clip needs to be known."""
        adjacency = _adjacency(model)
        _, piece = connected_components(adjacency, directed=False)
        use = rig.index < 468
        anchors = rig.vertex[use]
        firm = np.full(len(rig.index), STIFFNESS)
        firm[rig.rows(LIPS_INNER + EYE_RIGHT + EYE_LEFT)] = CONTACT_STIFFNESS
        firm = firm[use]
        sheets, local = [], np.full(len(model.mean_shape), -1)
        for number in np.unique(piece[anchors]):
            members, inside = np.flatnonzero(piece == number), piece[anchors] == number
            local[members] = np.arange(len(members))
            sheets.append((members, inside, _bending(adjacency[members][:, members], model.mean_shape[members],
                                                     local[anchors[inside]], firm[inside])))
        rest = [np.flatnonzero(piece == number) for number in np.setdiff1d(np.unique(piece), piece[anchors])]
        return cls(use, sheets, [(members, _shares(model, members, anchors)) for members in rest],
                   len(model.mean_shape))

    def carry(self, offset: np.ndarray) -> np.ndarray:
        """(V, 3) metres for landmarks that move by `offset` (L, 3)."""
        values, out = offset[self.use], np.zeros((self.vertices, 3))
        for members, inside, bend in self.sheets:
            out[members] = bend(values[inside])
        for members, shares in self.carried:
            out[members] = shares @ values
        return out


def spread_offset(model: FaceModel, rig: Rig, offset: np.ndarray) -> np.ndarray:
    """(V, 3) metres: landmarks move by `offset` (L, 3), the skin between them bends as little as it can.

    Bi-Laplacian interpolation on each connected piece of the mesh; pieces without a landmark (eyeballs, teeth, tongue)
    move rigidly with the skin around them.
    """
    return Spreading.of(model, rig).carry(offset)


def _adjacency(model: FaceModel) -> Any:
    """(V, V) sparse 0/1 matrix of the triangles' edges."""
    triangles = model.triangles()
    i = np.concatenate([triangles[:, a] for a in (0, 1, 2)])
    j = np.concatenate([triangles[:, a] for a in (1, 2, 0)])
    graph = coo_matrix((np.ones(len(i)), (i, j)), shape=(len(model.mean_shape),) * 2).tocsr()
    return ((graph + graph.T) > 0).astype(float).tocsr()


def _bending(adjacency: Any, rest: np.ndarray, anchors: np.ndarray, firm: np.ndarray
             ) -> Callable[[np.ndarray], np.ndarray]:
    """From values (A, 3) to the x (N, 3) that minimises ‖Δx‖² + Σ firm (x − values)² + ε‖x‖².

    Δ = uniform Laplacian, ε growing with distance from anchors.
    """
    count = adjacency.shape[0]
    degree = np.maximum(np.asarray(adjacency.sum(1)).ravel(), 1)
    laplacian = diags(np.ones(count)) - diags(1 / degree) @ adjacency
    held = np.zeros(count)
    np.add.at(held, anchors, firm)
    distance = cKDTree(rest[anchors]).query(rest)[0]
    fade = 1e-4 * np.clip((distance - REACH) / REACH, 0, None) ** 2
    system = laplacian.T @ laplacian + diags(held + fade + 1e-9)
    # Symmetric and positive definite: no pivoting, which keeps the factors four times smaller.
    factors = splu(system.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})

    def solve(values: np.ndarray) -> np.ndarray:
        pull = np.zeros((count, 3))
        np.add.at(pull, anchors, values * firm[:, None])
        return factors.solve(pull)

    return solve


def _shares(model: FaceModel, members: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """(A,) how much each landmark tells about the motion of `members`, near ones first."""
    centre = model.mean_shape[members].mean(0)
    near = np.exp(-((model.mean_shape[anchors] - centre) ** 2).sum(1) / (2 * 0.02**2)) + 1e-12
    return near / near.sum()
