"""How far the head in a plate has to move, pixel by pixel: the fitted mesh's own motion, fading out around it.

The mesh is placed twice, as the plate shows it and as it shall be shown; the difference of the two projections is known
wherever the mesh is seen (so it knows depth: the nose moves more than the ears) and carried on into the hair around it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ml_backend.background.composite import diffuse
from ml_backend.face_model.model import FaceModel
from ml_backend.face_model.synthesis import deform, project, to_camera, vertex_normals

FACE = 0.18
"""Metres from chin to hairline of a usual head; the unit of the fades below."""
CELLS = 56
"""Cells of the field per such length: finer detail of the motion is under the rendered face anyway."""
NECK = 0.7
"""Below the chin the head's motion fades out over this many lengths: a neck bends, shoulders stay."""
HAIR, AROUND = 0.25, 0.75
"""Lengths beyond the skull up to which all moves with the head, and from which nothing does."""
NECK_WIDTH, SHOULDER = 0.35, 0.75
"""Below the chin, lengths to the side of it up to which the neck goes along, and from which shoulders stay."""
SHOWN = ("skin", "ear_left", "ear_right", "lids_left", "lids_right")
LAYER = 0.012
"""Metres behind the nearest vertex from which a vertex counts as hidden."""
BOX = AROUND + 0.03
"""Lengths around the skull that the field covers."""


@dataclass(frozen=True)
class State:
    """A head in one frame: `pose` (6,) and `expression` (K,) as in a track."""

    pose: np.ndarray
    expression: np.ndarray


@dataclass(frozen=True)
class Field:
    """Where to fetch each pixel of a box of the frame from.

    Attributes
    ----------
    box : x, y of the upper left corner and of the lower right one, whole pixels within the frame
    shift : (h, w, 2) float32 for every pixel of the box, source minus destination, pixels
    """

    box: tuple[int, int, int, int]
    shift: np.ndarray

    @property
    def largest(self) -> float:
        """Pixels."""
        return float(np.abs(self.shift).max()) if self.shift.size else 0.0


class HeadShape:
    """The person's mesh and camera, ready to be placed many times.

    Parameters
    ----------
    model : face model
    rest : (V, 3) metres, the person at rest
    focal, size : of the full frame, pixels
    """

    def __init__(self, model: FaceModel, rest: np.ndarray, focal: float, size: tuple[int, int]) -> None:
        names = set(map(str, model.part_names))
        chosen = np.zeros(len(rest), bool)
        for name in SHOWN:
            if name in names:
                chosen |= model.part(name)
        if not chosen.any():
            chosen[:] = True
        # Any face model will do: one without a neck of its own has none to leave out.
        neck = model.region("neck") if "neck" in set(map(str, model.region_names)) else np.zeros(len(rest))
        self.rest = np.asarray(rest, np.float64)
        self.basis = model.expression_basis
        self.triangles = model.triangles()
        self.chosen, self.skull = np.flatnonzero(chosen), np.flatnonzero(chosen & (neck < 0.1))
        self.focal, self.size = float(focal), (int(size[0]), int(size[1]))
        face = self.rest[model.region("face") > 0.5]
        self.chin, self.top = (face[pick(face[:, 1])] for pick in (np.argmax, np.argmin))

    def camera(self, state: State) -> np.ndarray:
        """(V, 3) metres in camera space."""
        return to_camera(deform(self.rest, self.basis, np.asarray(state.expression, np.float64)), state.pose)

    def pixels(self, camera: np.ndarray) -> np.ndarray:
        """(N, 2) of camera-space points, a pixel's centre being a whole number."""
        return project(camera, self.focal, np.array(self.size) / 2) - 0.5

    def unit(self, pose: np.ndarray) -> float:
        """Pixels that `FACE` metres measure at the head's distance."""
        return FACE * self.focal / max(float(pose[5]), 1e-3)


def field(shape: HeadShape, plate: State, wanted: State) -> Field:
    """The field that turns the head of `plate` into `wanted`.

    Pose and expression fade out differently: the neck follows the skull halfway down, the jaw's own movement only as
    far as the mesh's skin does.
    """
    turned = State(wanted.pose, plate.expression)
    before, between, after = (shape.camera(state) for state in (plate, turned, wanted))
    flat = [shape.pixels(points) for points in (before, between, after)]
    unit = shape.unit(wanted.pose)
    box = _box(shape, flat[2], unit)
    step = max(unit / CELLS, 1.0)
    width, height = max(box[2] - box[0], 0), max(box[3] - box[1], 0)
    if width < 2 or height < 2:
        return Field((box[0], box[1], box[0], box[1]), np.zeros((0, 0, 2), np.float32))
    cells = (max(round(height / step), 2), max(round(width / step), 2))
    scale = np.array([cells[1] / width, cells[0] / height])
    seen = shape.chosen[_facing(shape, after)[shape.chosen] > 0.05]
    place = (flat[2][seen] + 0.5 - box[:2]) * scale
    values = np.concatenate([flat[0][seen] - flat[1][seen], flat[1][seen] - flat[2][seen]], 1)
    moved = _spread(values, place, after[seen, 2], cells)
    head, jaw = _weights(shape, wanted.pose, (flat[2][shape.skull] + 0.5 - box[:2]) * scale, cells, box, scale, unit)
    shift = moved[..., :2] * head[..., None] + moved[..., 2:] * jaw[..., None]
    shift = cv2.resize(cv2.GaussianBlur(shift, (0, 0), 1.2), (width, height), interpolation=cv2.INTER_CUBIC)
    return Field(box, np.ascontiguousarray(shift, np.float32))


def _box(shape: HeadShape, flat: np.ndarray, unit: float) -> tuple[int, int, int, int]:
    skull = flat[shape.skull]
    low, high = np.floor(skull.min(0) - BOX * unit).astype(int), np.ceil(skull.max(0) + BOX * unit).astype(int)
    low, high = np.clip(low, 0, shape.size), np.clip(high, 0, shape.size)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _facing(shape: HeadShape, camera: np.ndarray) -> np.ndarray:
    """(V,) cosine between normal and the way to the camera."""
    normals = vertex_normals(camera, shape.triangles)
    return -(normals * camera).sum(1) / np.maximum(np.linalg.norm(camera, axis=1), 1e-9)


def _spread(values: np.ndarray, place: np.ndarray, depth: np.ndarray, cells: tuple[int, int]) -> np.ndarray:
    """(h, w, C) of `values` (N, C) at cells `place` (N, 2) x, y: the nearest surface's mean, carried on beyond it."""
    column, row = np.floor(place).astype(int).T
    inside = (column >= 0) & (row >= 0) & (column < cells[1]) & (row < cells[0])
    index = row[inside] * cells[1] + column[inside]
    nearest = np.full(cells[0] * cells[1], 1e3)
    np.minimum.at(nearest, index, depth[inside])
    nearest = cv2.erode(nearest.reshape(cells).astype(np.float32), np.ones((3, 3), np.uint8)).ravel()
    front = depth[inside] < nearest[index] + LAYER
    chosen = np.column_stack([values[inside], np.ones(inside.sum())])[front]
    total = [np.bincount(index[front], chosen[:, k], cells[0] * cells[1]) for k in range(chosen.shape[1])]
    return diffuse(np.stack(total, -1).reshape(*cells, -1).astype(np.float32))


def _weights(shape: HeadShape, pose: np.ndarray, skull: np.ndarray, cells: tuple[int, int],
             box: tuple[int, int, int, int], scale: np.ndarray, unit: float) -> tuple[np.ndarray, np.ndarray]:
    """(h, w) shares of the head's and of the jaw's motion."""
    covered = np.zeros(cells, np.uint8)
    cv2.fillConvexPoly(covered, cv2.convexHull(np.round(skull).astype(np.int32)), (1,))
    beyond = cv2.distanceTransform(1 - covered, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) / (unit * float(scale.mean()))
    chin, top = shape.pixels(to_camera(np.stack([shape.chin, shape.top]), pose))
    down = (chin - top) / max(float(np.linalg.norm(chin - top)), 1.0)
    y, x = np.mgrid[:cells[0], :cells[1]]
    places = np.stack([(x + 0.5) / scale[0], (y + 0.5) / scale[1]], -1) + box[:2] - 0.5
    below = ((places - chin) @ down / unit).astype(np.float32)
    aside = np.abs((places - chin) @ np.array([-down[1], down[0]]) / unit).astype(np.float32)
    shoulders = (1 - _fade(below, 0.0, 0.35)) * (1 - _fade(aside, NECK_WIDTH, SHOULDER))
    head = _fade(below, 0.0, NECK) * _fade(beyond, HAIR, AROUND) * (1 - shoulders)
    return head, _fade(below, 0.3, NECK) * _fade(beyond, 0.0, 0.3)


def _fade(value: np.ndarray, begin: float, end: float) -> np.ndarray:
    """1 up to `begin`, smoothly down to 0 at `end`."""
    part = np.clip((value - begin) / (end - begin), 0, 1)
    return (1 - part * part * (3 - 2 * part)).astype(np.float32)
