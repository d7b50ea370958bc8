"""Mouth parts: the built-in head's teeth and tongue for models without, a tongue that comes out, eyeball materials."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.spatial import cKDTree

from ml_backend.face_model.loaders.align import Alignment
from ml_backend.face_model.model import FaceModel

MOUTH_PARTS, EYE_PARTS = ("mouth_bag", "teeth_upper", "teeth_lower", "tongue"), ("eye_left", "eye_right")
IRIS_RADIUS, PUPIL_RADIUS = 0.0060, 0.0024
"""Metres; people's irises hardly differ in size, whatever size a model gives its eyeballs."""
EYE_MATERIALS = ("sclera", "iris", "pupil")
RIMS = {
    "eye_left": (263, 362, 386, 374, 387, 385, 380, 373),
    "eye_right": (33, 133, 159, 145, 160, 158, 153, 144),
}
MOUTH = (13, 14, 78, 308, 61, 291)
"""MediaPipe points around what a part lies behind."""
BEHIND = 0.0008
HOLE = 0.004
"""Metres from an iris's place to the nearest skin above which the eye is a hole and not a painted surface."""


def missing(found: Alignment) -> tuple[str, ...]:
    """Parts of the built-in head that the foreign model needs: a mouth without teeth, eyes that are holes."""
    raw, head = found.raw, found.head
    out = () if raw.part_mask("teeth").any() else MOUTH_PARTS
    if not raw.part_mask("eye").any():
        skin = cKDTree(raw.mean[np.unique(raw.surface())])
        irises = found.points[head.landmark_vertex[np.isin(head.landmark_index, (468, 473))]]
        if (skin.query(irises)[0] > HOLE).all():
            out = (*out, *EYE_PARTS)
    return out


def attach(model: FaceModel, found: Alignment, parts: tuple[str, ...]) -> FaceModel:
    """`model` with `parts` of the built-in head, which move as they do there and follow the person's lips and lids."""
    head = found.head
    chosen = np.isin(head.vertex_part, [list(head.part_names).index(part) for part in parts])
    kept = np.flatnonzero(chosen)
    local = np.full(len(head.mean_shape), -1)
    local[kept] = np.arange(len(kept)) + len(model.mean_shape)
    inside = chosen[head.faces[:, 0]]
    faces = np.where(head.faces[inside] >= 0, local[head.faces[inside]], -1)
    points, follow = _placed(model, found, kept)
    names = [str(name) for name in head.material_names]
    materials = ["mouth" if names[k] == "lips" else names[k] for k in head.face_material[inside]]
    all_materials = list(dict.fromkeys([*map(str, model.material_names), *materials]))
    all_parts = list(dict.fromkeys([*map(str, model.part_names), *parts]))
    part = [all_parts.index(str(head.part_names[k])) for k in head.vertex_part[kept]]
    moved = (found.scale * head.expression_basis[:, kept]).astype(np.float32)
    own = local[head.landmark_vertex]
    return replace(
        model,
        mean_shape=_join(model.mean_shape, points),
        identity_basis=np.concatenate([model.identity_basis, follow.astype(np.float32)], 1),
        expression_basis=np.concatenate([model.expression_basis, moved], 1),
        texture_mean=_join(model.texture_mean, head.texture_mean[kept]),
        texture_basis=np.pad(model.texture_basis, ((0, 0), (0, len(kept)), (0, 0))),
        faces=_join(model.faces, faces, np.int32),
        uv=_join(model.uv, np.zeros((1, 2))),
        face_uvs=_join(model.face_uvs, np.where(faces >= 0, len(model.uv), -1), np.int32),
        face_material=_join(model.face_material, [all_materials.index(name) for name in materials], np.int32),
        material_names=np.array(all_materials),
        landmark_vertex=np.where(own >= 0, own, model.landmark_vertex).astype(np.int32),
        regions=np.concatenate([model.regions, head.regions[:, kept]], 1).astype(np.float32),
        part_names=np.array(all_parts),
        vertex_part=_join(model.vertex_part, part, np.int32),
    )


def _join(first: np.ndarray, second: np.ndarray | list, kind: type = np.float32) -> np.ndarray:
    return np.concatenate([first, np.asarray(second)]).astype(kind)


def _placed(model: FaceModel, found: Alignment, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, 3) places of the head's vertices `kept`, and (I, N, 3) how each identity mode moves them.

    They are resized and moved only, so that teeth stay teeth and eyeballs round; a hair's breadth deeper than in the
    built-in head, since the foreign lips and lids are not theirs.
    """
    head = found.head
    points = found.scale * head.mean_shape[kept].astype(float)
    follow = np.zeros((len(model.identity_basis), len(kept), 3))
    names = np.array([str(head.part_names[k]) for k in head.vertex_part[kept]])
    for part in np.unique(names):
        rim = np.isin(head.landmark_index, RIMS.get(str(part), MOUTH))
        rows, there = names == part, head.landmark_vertex[rim]
        shift = (found.points[there] - found.scale * head.mean_shape[there]).mean(0)
        points[rows] += shift
        points[rows, 2] += BEHIND
        follow[:, rows] = model.identity_basis[:, model.landmark_vertex[rim]].mean(1)[:, None]
    return points, follow


def tongue_out(found: Alignment) -> np.ndarray:
    """(V, 3) metres: the built-in head's tongueOut on the foreign model's tongue; nothing moves where it has none."""
    raw, head = found.raw, found.head
    out = np.zeros_like(raw.mean)
    tongue = np.flatnonzero(raw.part_mask("tongue"))
    if not len(tongue):
        return out
    own = head.part("tongue")
    motion = head.expression_basis[head.names.index("tongueOut")][own] * found.scale
    # The two tongues differ in place and length, so each is read along its own length, back to tip.
    length = lambda points: (points[:, 2].max() - points[:, 2]) / max(float(np.ptp(points[:, 2])), 1e-6)  # noqa: E731
    distance, near = cKDTree(length(head.mean_shape[own])[:, None]).query(length(raw.mean[tongue])[:, None], k=12)
    weight = 1 / (distance + 0.02)
    moved = (motion[near] * (weight / weight.sum(1, keepdims=True))[..., None]).sum(1)
    size = np.linalg.norm(moved, axis=1)
    tip, own_tip = size > 0.9 * size.max(), np.linalg.norm(motion, axis=1) > 0.9 * np.linalg.norm(motion, axis=1).max()
    lips = head.landmark_vertex[np.isin(head.landmark_index, (13, 14))]
    wanted = (head.mean_shape[own][own_tip, 1] * found.scale + motion[own_tip, 1]).mean()
    wanted += (found.points[lips, 1] - head.mean_shape[lips, 1] * found.scale).mean()
    # It must leave between these lips, however deep it lies at rest.
    moved[:, 1] += (wanted - (raw.mean[tongue][tip, 1] + moved[tip, 1]).mean()) * size / size.max()
    out[tongue] = moved
    return out


def eye_material(points: np.ndarray, faces: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """(F,) indices into `EYE_MATERIALS` of an eyeball's `faces` (F, 4), by the distance from straight ahead (−z)."""
    weight = (faces >= 0)[..., None]
    middle = (points[faces] * weight).sum(1) / weight.sum(1) - centre
    aside = np.where(middle[:, 2] < 0, np.hypot(middle[:, 0], middle[:, 1]), np.inf)
    return np.where(aside < PUPIL_RADIUS, 2, np.where(aside < IRIS_RADIUS, 1, 0))
