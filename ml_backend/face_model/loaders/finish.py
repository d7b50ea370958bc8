"""From a foreign model in its own terms to a FaceModel: landmarks, regions, colours, texture coordinates, joints."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from ml_backend.face_model.loaders import inner, solve
from ml_backend.face_model.loaders import landmarks as lm
from ml_backend.face_model.loaders.align import Alignment, align, head_surface
from ml_backend.face_model.loaders.geometry import Surface
from ml_backend.face_model.loaders.raw import RawModel
from ml_backend.face_model.loaders.solve import Transfer, transfer
from ml_backend.face_model.model import FaceModel
from ml_backend.progress import Progress, silent

STEPS = 4
NOSTRIL_RIMS, NOSTRIL_REACH, NOSTRIL_DEPTH, NOSTRIL_DARK = (97, 98, 326, 327, 240, 460), 0.013, (0.001, 0.004), 0.85
"""MediaPipe points around the nostrils, metres from them, metres of depth from first to full shadow, and its share."""
LINING = 0.6
"""A lining that begins right at the lips gets more light than the built-in head's, which begins behind them."""


@dataclass(frozen=True)
class Converted:
    """A foreign model as Parley uses it.

    Attributes
    ----------
    model : the FaceModel
    kind : its family
    residual_mm, motion_mm : expression → millimetres (see `solve.Solved`); empty where the family has ARKit's names
    agreement : expression → cosine of the model's own shape with the built-in head's, for families with ARKit's names
    scale : size of its face over the built-in head's
    notes : sentences for the user
    """

    model: FaceModel
    kind: str
    residual_mm: dict[str, float]
    motion_mm: dict[str, float]
    agreement: dict[str, float]
    scale: float
    notes: list[str]


def finish(raw: RawModel, head: FaceModel, name: str, progress: Progress = silent) -> Converted:
    """Give `raw` everything that a FaceModel called `name` has, read off `head` where the two lie on each other."""
    progress(0, STEPS)
    found = align(raw, head)
    progress(1, STEPS)
    read = transfer(found)
    centres = eye_centres(found)
    shapes, residual, motion, agreement = _expressions(found, read)
    solve.turn_eyes(found, shapes, centres)
    progress(2, STEPS)
    model = _assemble(found, read, shapes, centres, name)
    notes = list(found.raw.notes)
    parts = inner.missing(found)
    if parts:
        model = inner.attach(model, found, parts)
        what = " and ".join(name for name, needed in (("teeth and tongue", "tongue"), ("eyeballs", "eye_left"))
                            if needed in parts)  # fmt: skip
        notes.append(f"It has no {what} of its own; the built-in head's were put in.")
    progress(STEPS, STEPS)
    return Converted(model, raw.kind, residual, motion, agreement, found.scale, notes)


def _expressions(found: Alignment, read: Transfer) -> tuple[np.ndarray, dict, dict, dict]:
    """(52, V, 3) shapes with residual, motion and agreement by name."""
    raw, names = found.raw, found.head.names
    if not raw.shapes:
        solved = solve.solve(found, read)
        moving = [(name, k) for k, name in enumerate(names) if solved.motion_mm[k] > 0]
        residual = {name: round(float(solved.residual_mm[k]), 3) for name, k in moving} if len(raw.modes) else {}
        motion = {name: round(float(solved.motion_mm[k]), 3) for name, k in moving}
        return solved.shapes, residual, motion, {}
    target = solve.wanted(found, read)
    shapes = np.zeros_like(target)
    agreement = {}
    for k, name in enumerate(names):
        if name in raw.shapes:
            shapes[k] = raw.shapes[name]
            product = float((shapes[k] * target[k]).sum())
            size = float(np.linalg.norm(shapes[k][read.trust > 0]) * np.linalg.norm(target[k]))
            if size > 0:
                agreement[name] = round(product / size, 3)
        elif name == "tongueOut":
            shapes[k] = inner.tongue_out(found)
        else:
            shapes[k] = target[k]
    return shapes, {}, {}, agreement


def eye_centres(found: Alignment) -> dict[str, np.ndarray]:
    """Part → (3,) middle of each eyeball; where the model has none, where the head's own would be."""
    out = {}
    for part in ("eye_left", "eye_right"):
        ball = found.raw.part_mask(part)
        own = found.points[found.head.part(part)]
        points = found.raw.mean[ball] if ball.any() else own
        # The back of the ball: a cornea bulges and would pull the middle forward.
        out[part] = _sphere(points)
    return out


def _sphere(points: np.ndarray) -> np.ndarray:
    """(3,) centre of the sphere through `points` (N, 3) in the least-squares sense."""
    design = np.concatenate([2 * points, np.ones((len(points), 1))], 1)
    return np.linalg.lstsq(design, (points**2).sum(1), rcond=None)[0][:3]


def _assemble(found: Alignment, read: Transfer, shapes: np.ndarray, centres: dict, name: str) -> FaceModel:
    raw, head = found.raw, found.head
    colour, colour_modes = _colours(found, read, centres)
    uv, face_uvs = (raw.uv, raw.face_uvs) if raw.uv is not None else unwrap(raw)
    assert uv is not None and face_uvs is not None
    index, vertex = _landmarks(found, centres)
    return FaceModel(
        name=np.array(name),
        mean_shape=raw.mean.astype(np.float32),
        identity_basis=raw.identity.astype(np.float32),
        expression_basis=shapes.astype(np.float32),
        expression_names=head.expression_names,
        texture_mean=colour.astype(np.float32),
        texture_basis=colour_modes.astype(np.float32),
        faces=raw.faces.astype(np.int32),
        uv=np.clip(uv, 0, 1).astype(np.float32),
        face_uvs=face_uvs.astype(np.int32),
        face_material=raw.material.astype(np.int32),
        material_names=np.array(raw.materials),
        landmark_index=index,
        landmark_vertex=vertex,
        region_names=head.region_names,
        regions=_regions(found, read),
        part_names=np.array(raw.parts),
        vertex_part=raw.part.astype(np.int32),
        joint_names=head.joint_names,
        joints=_joints(found, centres),
    )


def _landmarks(found: Alignment, centres: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(478,) MediaPipe indices and the foreign vertices that lie there; lips keep to their half of the mouth."""
    raw, head = found.raw, found.head
    skin = np.unique(raw.surface())
    place = found.points[head.landmark_vertex]
    vertex = skin[cKDTree(raw.mean[skin]).query(place)[1]]
    row = {int(index): k for k, index in enumerate(head.landmark_index)}
    for above in (True, False):
        half = skin[found.raw_above[skin] == above]
        mouth = [
            row[i]
            for i in row
            if i < lm.IRIS_RIGHT
            and head.region("lips")[head.landmark_vertex[row[i]]] > 0.5
            and found.head_above[head.landmark_vertex[row[i]]] == above
        ]
        if len(half) and mouth:
            vertex[mouth] = half[cKDTree(raw.mean[half]).query(place[mouth])[1]]
    for part, first in (("eye_right", lm.IRIS_RIGHT), ("eye_left", lm.IRIS_LEFT)):
        ball = np.flatnonzero(raw.part_mask(part))
        if len(ball):
            own = head.mean_shape[head.part(part)].astype(float)
            rows = [row[i] for i in range(first, first + 5) if i in row]
            wanted = head.mean_shape[head.landmark_vertex[rows]] - _sphere(own)
            vertex[rows] = ball[cKDTree(raw.mean[ball]).query(wanted * found.scale + centres[part])[1]]
    for index, known in {**found.inner, **raw.anchors}.items():
        if index not in lm.LOOSE or index in found.inner:
            vertex[row[index]] = known
    return head.landmark_index.astype(np.int32), vertex.astype(np.int32)


def _regions(found: Alignment, read: Transfer) -> np.ndarray:
    """(R, V) the head's regions on the foreign skin; what lies behind it belongs to the face."""
    raw, head = found.raw, found.head
    out = np.clip(read.apply(head.regions.T.astype(float)).T, 0, 1)
    names = [str(name) for name in head.region_names]
    for region in ("face", "lips", "eyes", "brow"):
        if region in names:
            out[names.index(region)] *= read.trust
    behind = ~raw.part_mask("skin")
    out[:, behind] = 0
    out[names.index("face")][behind] = 1
    for region, parts in (("eyes", ("eye",)), ("jaw", ("teeth_lower", "tongue"))):
        if region in names:
            out[names.index(region)][raw.part_mask(*parts)] = 1
    return out.astype(np.float32)


def _colours(found: Alignment, read: Transfer, centres: dict) -> tuple[np.ndarray, np.ndarray]:
    """(V, 3) albedo and (J, V, 3) modes: the model's own, or the built-in head's skin; eyes and mouth by material."""
    raw, head = found.raw, found.head
    if raw.texture is not None:
        modes = raw.texture_modes if raw.texture_modes is not None else np.zeros((0, *raw.texture.shape))
        colour = np.array(raw.texture, float)
    else:
        colour = read.apply(head.texture_mean.astype(float)) * (1 - NOSTRIL_DARK * nostrils(found))[:, None]
        modes = read.apply(head.texture_basis.transpose(1, 0, 2).astype(float)).transpose(1, 0, 2)
    palette = {str(name): _mean_colour(head, k) for k, name in enumerate(head.material_names)}
    for k, name in enumerate(raw.materials):
        if name not in ("skin", "lips") and name in palette:
            faces = raw.faces[raw.material == k]
            chosen = np.unique(faces[faces >= 0])
            chosen = chosen[~raw.part_mask("skin")[chosen]]
            colour[chosen] = palette[name] * (LINING if name == "mouth" else 1)
    return np.clip(colour, 0, 1), modes


def nostrils(found: Alignment) -> np.ndarray:
    """(V,) in [0, 1]: how deep in a nostril a vertex of the skin lies; the built-in head, whose own are shallow, tells.

    Light hardly reaches there, and the shading by normals alone does not know that.
    """
    raw, head = found.raw, found.head
    skin = np.unique(raw.surface())
    rims = found.points[head.landmark_vertex[np.isin(head.landmark_index, NOSTRIL_RIMS)]]
    near = skin[cKDTree(rims).query(raw.mean[skin])[0] < NOSTRIL_REACH]
    out = np.zeros(len(raw.mean))
    if len(near):
        on_head = Surface(found.points, head_surface(head)).nearest(raw.mean[near])[0]
        deep = np.linalg.norm(on_head - raw.mean[near], axis=1)
        out[near] = np.clip((deep - NOSTRIL_DEPTH[0]) / (NOSTRIL_DEPTH[1] - NOSTRIL_DEPTH[0]), 0, 1)
    return out


def _mean_colour(head: FaceModel, material: int) -> np.ndarray:
    faces = head.faces[head.face_material == material]
    return head.texture_mean[np.unique(faces[faces >= 0])].mean(0)


def _joints(found: Alignment, centres: dict[str, np.ndarray]) -> np.ndarray:
    """(N, 3) metres: the model's own joints, the eyeballs' middles, else where the head's would be."""
    head = found.head
    eyes = np.stack([head.joint("eye_left"), head.joint("eye_right")]).astype(float)
    own = np.stack([centres["eye_left"], centres["eye_right"]])
    out = []
    for name, point in zip(head.joint_names, head.joints.astype(float), strict=True):
        placed = own.mean(0) + found.scale * (point - eyes.mean(0))
        out.append(centres.get(str(name), found.raw.joints.get(str(name), placed)))
    return np.array(out, np.float32)


def unwrap(raw: RawModel) -> tuple[np.ndarray, np.ndarray]:
    """Texture coordinates for a model without: longitude and latitude seen from the middle of the head.

    Faces across the seam at the back of the head get their own coordinates beyond it.
    """
    skin = raw.mean[np.unique(raw.surface())]
    middle = (skin.min(0) + skin.max(0)) / 2
    middle[2] = max(middle[2], skin[:, 2].min() + 0.11)
    offset = raw.mean - middle
    longitude = np.arctan2(offset[:, 0], -offset[:, 2])
    latitude = np.arctan2(-offset[:, 1], np.hypot(offset[:, 0], offset[:, 2]))
    real = raw.faces >= 0
    angle = longitude[np.where(real, raw.faces, raw.faces[:, :1])]
    angle = angle - 2 * np.pi * np.round((angle - angle[:, :1]) / (2 * np.pi))
    height = latitude[np.where(real, raw.faces, raw.faces[:, :1])]
    corner = np.stack([0.5 + angle * 0.46 / np.pi, 0.5 + height * 0.98 / np.pi], -1)[real]
    uv, inverse = np.unique(np.round(corner, 7), axis=0, return_inverse=True)
    face_uvs = np.full(raw.faces.shape, -1, np.int32)
    face_uvs[real] = inverse.ravel()
    return uv, face_uvs
