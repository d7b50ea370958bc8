"""What the identity basis can't express: a residual at the landmarks, spread smoothly over the mesh."""

from __future__ import annotations

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
    metric = np.einsum("tia,i,tib->tab", rotation, np.array([1.0, 1.0, DEPTH]), rotation)
    centre = np.median(residual, axis=0)
    error = np.linalg.norm(residual - centre, axis=-1)
    robust = weight[:, None] / (1 + (error / 0.002) ** 2)
    gram = np.einsum("tl,tab->lab", robust, metric)
    right = np.einsum("tl,tab,tlb->la", robust, metric, residual)
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


def spread_offset(model: FaceModel, rig: Rig, offset: np.ndarray) -> np.ndarray:
    """(V, 3) metres: landmarks move by `offset` (L, 3), the skin between them bends as little as it can.

    Bi-Laplacian interpolation on each connected piece of the mesh; pieces without a landmark (eyeballs, teeth, tongue)
    move rigidly with the skin around them.
    """
    vertices = len(model.mean_shape)
    adjacency = _adjacency(model)
    _, piece = connected_components(adjacency, directed=False)
    use = rig.index < 468
    anchors, values = rig.vertex[use], offset[use]
    firm = np.full(len(rig.index), STIFFNESS)
    firm[rig.rows(LIPS_INNER + EYE_RIGHT + EYE_LEFT)] = CONTACT_STIFFNESS
    firm = firm[use]
    out = np.zeros((vertices, 3))
    for number in np.unique(piece[anchors]):
        members = np.flatnonzero(piece == number)
        local = np.full(vertices, -1)
        local[members] = np.arange(len(members))
        inside = piece[anchors] == number
        out[members] = _bend(adjacency[members][:, members], model.mean_shape[members], local[anchors[inside]],
                             values[inside], firm[inside])
    for number in np.setdiff1d(np.unique(piece), piece[anchors]):
        members = np.flatnonzero(piece == number)
        out[members] = _carried(model, members, anchors, values)
    return out


def _adjacency(model: FaceModel) -> Any:
    """(V, V) sparse 0/1 matrix of the triangles' edges."""
    triangles = model.triangles()
    i = np.concatenate([triangles[:, a] for a in (0, 1, 2)])
    j = np.concatenate([triangles[:, a] for a in (1, 2, 0)])
    graph = coo_matrix((np.ones(len(i)), (i, j)), shape=(len(model.mean_shape),) * 2).tocsr()
    return ((graph + graph.T) > 0).astype(float).tocsr()


def _bend(adjacency: Any, rest: np.ndarray, anchors: np.ndarray, values: np.ndarray, firm: np.ndarray
          ) -> np.ndarray:
    """Minimise ‖Δx‖² + Σ firm (x − values)² + ε‖x‖², Δ = uniform Laplacian, ε growing with distance from anchors."""
    count = adjacency.shape[0]
    degree = np.maximum(np.asarray(adjacency.sum(1)).ravel(), 1)
    laplacian = diags(np.ones(count)) - diags(1 / degree) @ adjacency
    held = np.zeros(count)
    np.add.at(held, anchors, firm)
    distance = cKDTree(rest[anchors]).query(rest)[0]
    fade = 1e-4 * np.clip((distance - REACH) / REACH, 0, None) ** 2
    pull = np.zeros((count, 3))
    np.add.at(pull, anchors, values * firm[:, None])
    system = laplacian.T @ laplacian + diags(held + fade + 1e-9)
    # Symmetric and positive definite: no pivoting, which keeps the factors four times smaller.
    return splu(system.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0,
                options={"SymmetricMode": True}).solve(pull)


def _carried(model: FaceModel, members: np.ndarray, anchors: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(3,) mean of the landmarks' offsets, near ones first."""
    centre = model.mean_shape[members].mean(0)
    near = np.exp(-((model.mean_shape[anchors] - centre) ** 2).sum(1) / (2 * 0.02**2)) + 1e-12
    return near @ values / near.sum()
