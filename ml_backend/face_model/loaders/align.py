"""Laying the built-in head over a foreign model's mean face: similarity, then a smooth warp onto its skin.

Everything that a foreign model does not say about itself (MediaPipe landmarks, regions, colours, what "jawOpen" means)
is read off the built-in head where the two faces lie on each other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial import cKDTree

from ml_backend.errors import UserInputError
from ml_backend.face_model.loaders import landmarks as lm
from ml_backend.face_model.loaders.geometry import Similarity, Surface, fit_similarity, nearer_along, warp
from ml_backend.face_model.loaders.raw import RawModel, triangles
from ml_backend.face_model.model import FaceModel
from ml_backend.face_model.synthesis import vertex_normals

ENOUGH_ANCHORS = 6
FAR = 0.015
"""Metres: anchors that lie farther off after the similarity are not where the table says."""
NARROW, WIDE, LONG_EDGE = 0.07, 0.9, 0.15
"""Metres between which a face (or head and shoulders) is wide, and the longest usual edge as a share of that."""
ROUNDS = 24
REACH, CORNER_REACH, LOOKS_AHEAD = 0.012, 0.008, -0.65
FIRM, GUIDING, SLIDING = 0.0005, 0.005, 0.02
MISPLACED = 0.012
"""Metres of median distance between the faces above which they don't lie on each other."""


@dataclass(frozen=True)
class Alignment:
    """A foreign model in the built-in head's place, and the head warped onto it. V and W vertices.

    Attributes
    ----------
    raw : the foreign model, rotated and moved (never scaled) onto the head
    scale : size of the foreign face over the head's
    head : the built-in head
    points : (W, 3) the head's vertices, warped onto the foreign model
    head_above, raw_above : (W,) and (V,) bool, skin nearer to the upper lip than to the lower, along the skin
    inner : MediaPipe index → vertex of the foreign model, for the lips' inner edges
    distance : metres, median distance of the warped face from the foreign skin before the last pull
    """

    raw: RawModel
    scale: float
    head: FaceModel
    points: np.ndarray
    head_above: np.ndarray
    raw_above: np.ndarray
    inner: dict[int, int]
    distance: float


def head_surface(head: FaceModel) -> np.ndarray:
    """(N, 3) int: triangles of the built-in head's skin, ears too."""
    outside = [k for k, name in enumerate(head.part_names) if str(name) == "skin" or str(name).startswith("ear")]
    corners, skin = triangles(head.faces), np.isin(head.vertex_part, outside)
    return corners[skin[corners].all(1)]


def align(raw: RawModel, head: FaceModel) -> Alignment:
    """Lay `head` over `raw`; raises `UserInputError` if the two don't look alike."""
    _check_size(raw)
    raw = _checked_anchors(raw, head)
    first = _by_anchors(raw, head) if len(raw.anchors) >= ENOUGH_ANCHORS else _by_surface(raw, head)
    moved = _moved(raw, first, head)
    similar = Similarity(1 / first.scale, np.eye(3), np.zeros(3))
    place = _onto(moved, similar.apply(head.mean_shape.astype(float)), head)
    points, distance = _pull(moved, place, head, {})
    above = _above(moved.mean, moved.surface(), points, head)
    head_above = _above(head.mean_shape.astype(float), head_surface(head), head.mean_shape.astype(float), head)
    inner = _inner_lips(moved, points, head, above)
    points, distance = _pull(moved, points, head, inner)
    if not distance < MISPLACED:
        raise UserInputError(
            f"This {raw.kind} model's face lies {distance * 1000:.0f} mm off the built-in one after alignment; its "
            "vertices are not in the order or units of that family."
        )
    return Alignment(moved, 1 / first.scale, head, points, head_above, above, inner, distance)


def _check_size(raw: RawModel) -> None:
    """Raise `UserInputError` unless `raw` is a smooth surface of a head's size."""
    corners = raw.surface()
    if not len(corners):
        raise UserInputError(f"This {raw.kind} model has no skin; its materials are those of another model.")
    width = float(np.ptp(raw.mean[np.unique(corners)][:, 0]))
    if not NARROW < width < WIDE:
        raise UserInputError(f"This {raw.kind} model's face is {width:.3g} m wide; its units are not that family's.")
    edge = float(np.median(np.linalg.norm(raw.mean[corners[:, 0]] - raw.mean[corners[:, 1]], axis=1)))
    if edge > LONG_EDGE * width:
        raise UserInputError(
            f"This {raw.kind} model's triangles reach across the face; its vertices are not in that family's order."
        )


def _vertices(head: FaceModel, indices: tuple[int, ...] | list[int]) -> np.ndarray:
    place = np.full(478, -1)
    place[head.landmark_index] = head.landmark_vertex
    return place[list(indices)]


def _by_anchors(raw: RawModel, head: FaceModel) -> Similarity:
    """Similarity from the foreign model to the head by documented landmarks."""
    chosen = [index for index in raw.anchors if index in lm.RIGID]
    chosen = chosen if len(chosen) >= ENOUGH_ANCHORS else list(raw.anchors)
    target = head.mean_shape[_vertices(head, chosen)].astype(float)
    return fit_similarity(raw.mean[[raw.anchors[index] for index in chosen]], target)


def _checked_anchors(raw: RawModel, head: FaceModel) -> RawModel:
    """`raw` without its anchors where they don't fit a face: a table of vertices holds for one edition of a model."""
    if len(raw.anchors) < ENOUGH_ANCHORS:
        return replace(raw, anchors={})
    found = _by_anchors(raw, head)
    names = list(raw.anchors)
    off = found.apply(raw.mean[list(raw.anchors.values())]) - head.mean_shape[_vertices(head, names)]
    if np.sqrt((off**2).sum(1).mean()) < FAR and 0.5 < found.scale < 2:
        return raw
    return replace(
        raw, anchors={}, notes=[*raw.notes, "Its documented landmarks don't fit; it was aligned by its shape instead."]
    )


def _by_surface(raw: RawModel, head: FaceModel) -> Similarity:
    """The same without landmarks: nose on nose, then iterated closest points (Besl & McKay 1992), the worst left out.

    Every family here stores an upright face that looks along one axis, so only place, tilt and size are to be found.
    """
    skin = raw.surface()
    used = raw.mean[np.unique(skin)]
    middle = used[np.abs(used[:, 0] - np.median(used[:, 0])) < 0.015]
    nose = head.mean_shape[_vertices(head, [4])[0]].astype(float)
    if not len(middle):
        raise UserInputError(f"This {raw.kind} model has no face in its middle; its vertices are in another order.")
    back = Similarity(1.0, np.eye(3), middle[middle[:, 2].argmin()] - nose)
    surface = Surface(raw.mean, skin)
    corners = head_surface(head)
    face = np.flatnonzero((head.region("face") > 0.5) & head.part("skin"))[::3]
    normals = Surface(head.mean_shape.astype(float), corners).normals[face]
    source = head.mean_shape[face].astype(float)
    for step in range(ROUNDS):
        placed = back.apply(source)
        found, normal = surface.nearest(placed)
        far = np.linalg.norm(found - placed, axis=1)
        keep = ((normals @ back.rotation.T * normal).sum(1) > 0.5) & (far <= np.quantile(far, 0.8))
        if keep.sum() < 30:
            break
        back = fit_similarity(source[keep], found[keep], scaled=step >= ROUNDS // 3)
    inverse = back.rotation.T / back.scale
    return Similarity(1 / back.scale, back.rotation.T, -inverse @ back.translation)


def _moved(raw: RawModel, found: Similarity, head: FaceModel) -> RawModel:
    """`raw` turned and moved like `found`, in its own size; the eyes' level, which `found` maps, stays in place."""
    eyes = _vertices(head, [33, 263, 168])
    fixed = head.mean_shape[eyes].astype(float).mean(0)
    # A point p of the foreign model lands on `fixed` under `found`; the unscaled motion takes it there too.
    p = found.rotation.T @ (fixed - found.translation) / found.scale
    turn = found.rotation.astype(np.float32)
    rigid = Similarity(1.0, found.rotation, fixed - found.rotation @ p)
    return replace(
        raw,
        mean=rigid.apply(raw.mean),
        identity=raw.identity @ turn.T,
        modes=raw.modes @ turn.T,
        shapes={name: shape @ turn.T for name, shape in raw.shapes.items()},
        joints={name: rigid.apply(point[None])[0] for name, point in raw.joints.items()},
    )


def _onto(raw: RawModel, points: np.ndarray, head: FaceModel) -> np.ndarray:
    """The head's `points` (in the foreign size) moved so that the eyes' level of both is the same."""
    eyes = _vertices(head, [33, 263, 168])
    return points + head.mean_shape[eyes].astype(float).mean(0) - points[eyes].mean(0)


def _pull(raw: RawModel, points: np.ndarray, head: FaceModel, inner: dict[int, int]) -> tuple[np.ndarray, float]:
    """Warp the head's `points` onto the foreign skin; returns them and the median distance before the last pull."""
    surface = Surface(raw.mean, raw.surface())
    corners, distance = head_surface(head), 0.0
    fixed = {**inner, **raw.anchors}
    rows = _vertices(head, list(fixed))
    lips = {*lm.UPPER_INNER, *lm.LOWER_INNER, *lm.CORNERS}
    free = [i for i in range(468) if i not in fixed and i not in lips]
    slide = _vertices(head, free)
    slide = slide[head.region("face")[slide] > 0.3]
    for step in range(4):
        if not inner and not len(rows) and step == 3:
            break
        source = [points[slide]]
        found, normal = surface.nearest(points[slide])
        own = Surface(points, corners).normals[slide]
        off = found - points[slide]
        far = np.linalg.norm(off, axis=1)
        distance = float(np.median(far))
        keep = ((own * normal).sum(1) > 0.3) & (far < max(REACH, 2 * distance))
        source, target = [points[slide][keep]], [found[keep]]
        soft = [np.full(int(keep.sum()), SLIDING if step < 2 else GUIDING)]
        if len(rows):
            source.append(points[rows])
            target.append(raw.mean[list(fixed.values())])
            soft.append(np.array([GUIDING if i in lm.LOOSE else FIRM for i in fixed]))
        if sum(map(len, source)) < 8:
            break
        points = points + warp(np.concatenate(source), np.concatenate(target), np.concatenate(soft))(points)
    return points, distance


def _above(shape: np.ndarray, corners: np.ndarray, placed: np.ndarray, head: FaceModel) -> np.ndarray:
    """(V,) bool: which vertices of `shape` belong to the upper half of the mouth, by the way along the skin.

    `placed` (W, 3) are the head's vertices on that shape: their outer lip points are where the ways start.
    """
    used = np.unique(corners)
    tree = cKDTree(shape[used])
    upper, lower = (used[tree.query(placed[_vertices(head, group)])[1]] for group in (lm.UPPER_LIP, lm.LOWER_LIP))
    return nearer_along(shape, corners, upper, lower)


def _inner_lips(raw: RawModel, points: np.ndarray, head: FaceModel, above: np.ndarray) -> dict[int, int]:
    """Vertices of the inner lip edges: of each facing pair, the upper and the lower vertex that (nearly) touch."""
    skin = np.unique(raw.surface())
    out: dict[int, int] = {}
    for up, low in zip(lm.UPPER_INNER, lm.LOWER_INNER, strict=True):
        if up in raw.anchors and low in raw.anchors:
            continue
        place = points[_vertices(head, [up, low])].mean(0)
        near = skin[np.linalg.norm(raw.mean[skin] - place, axis=1) < REACH]
        one, two = near[above[near]], near[~above[near]]
        if len(one) and len(two):
            to_place = [((raw.mean[side] - place) ** 2).sum(1) for side in (one, two)]
            gap = ((raw.mean[one][:, None] - raw.mean[two][None]) ** 2).sum(-1)
            cost = to_place[0][:, None] + to_place[1][None] + 4 * gap
            row, column = np.unravel_index(cost.argmin(), cost.shape)
            out[up], out[low] = int(one[row]), int(two[column])
    for corner in lm.CORNERS:
        found = _mouth_corner(raw, points[_vertices(head, [corner])[0]], above)
        if found is not None:
            out[corner] = found
    return {index: vertex for index, vertex in out.items() if index not in raw.anchors}


def _mouth_corner(raw: RawModel, place: np.ndarray, above: np.ndarray) -> int | None:
    """Vertex where the mouth's slit ends near `place` (3,); None where no slit does.

    Upper and lower half share edges outside the slit, and in the web behind the corner, which looks elsewhere: so the
    corner is the innermost edge between them that looks ahead.
    """
    corners = raw.surface()
    edges = np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]])
    edges = edges[above[edges[:, 0]] != above[edges[:, 1]]]
    middle = raw.mean[edges].mean(1)
    ahead = vertex_normals(raw.mean, corners)[edges][..., 2].mean(1) < LOOKS_AHEAD
    near = ahead & (np.linalg.norm(middle - place, axis=1) < CORNER_REACH)
    if not near.any():
        return None
    inmost = edges[near][np.abs(middle[near][:, 0]).argmin()]
    return int(inmost[np.linalg.norm(raw.mean[inmost] - place, axis=1).argmin()])
