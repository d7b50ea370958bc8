"""One frame's pose and expression by its pixels: a drawn face is moved until it lies where the real one does.

Gauss–Newton on the difference of intensities, with the mean of both pictures' slopes (Malis 2004), of rigid pose and
expression at once (Thies et al., Face2Face, 2016). Light and tone that differ are taken away before: what counts is
detail finer than a thirtieth of the face. What covers the face, and what the drawing has wrong, is outvoted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ml_backend.artefacts.character import Character
from ml_backend.face_model.synthesis import deform, project, rotation_angles, rotation_matrix, to_camera
from ml_backend.prepare.drawing import FaceDrawing
from ml_backend.reconstruct.pose import exponential
from ml_backend.reconstruct.raster import cover

TURN, SHIFT, DEPTH, WEIGHT, EYE_WEIGHT = np.radians(0.6), 0.0003, 0.003, 0.06, 0.12
"""Standard deviations of what landmarks get wrong: rotation (rad), place across and along the view (m), expressions,
those of the eyes."""
DETAIL = 28.0
"""Details that count are finer than the face's height over this."""
SOFT = 0.7
"""Blur in pixels of either picture: neighbouring pixels must tell of the same edge."""
RELATED = 40.0
"""Pixels that say as much as one that is independent of the others."""
STRIDE = 2
"""One pixel in each row and column of so many is looked at; every one at the eyes, which are small."""
STEPS, FRESH = 5, (0, 2)
"""Gauss–Newton steps, and those at which slopes and weights are worked out anew."""
ODD = 2.0
"""Differences, in standard deviations, from which on a pixel counts less (Geman and McClure 1987)."""
LEAST_NOISE = 1.0
"""Of 255."""
BORDER, OPAQUE = 5, 200
"""Pixels at the drawing's edges that are left out, and the opacity of what is looked at."""
LEAST_PIXELS = 150
GREY = np.array([0.3, 0.5, 0.2], np.float32)
UNMOVED, OF_EYES = ("tongue", "cheekPuff"), "eye"
"""Expressions that are left as they are, since little of them shows; those that eyes alone may speak for."""
AROUND = 5
"""Pixels: what lies so near to an eye is taken for it. Eyes say nothing of the pose."""


@dataclass(frozen=True)
class Aligned:
    """What the pixels of a frame say. K expressions, C of them that are asked for.

    Attributes
    ----------
    pose : (6,) rad, m
    expression : (K,)
    information : (6 + C, 6 + C) second derivatives of half the error, by `pose` and the expressions asked for
    before, after : robust mean squared difference of what is compared, where it began and where it ended
    """

    pose: np.ndarray
    expression: np.ndarray
    information: np.ndarray
    before: float
    after: float


@dataclass(frozen=True)
class _Drawn:
    """A drawn face at N pixels: `place` (N, 2) x, y; `point` (N, 3) at the expression drawn, model space; `moves`
    (N, C, 3) of a unit of each expression; `value` (N,), `slope` (N, 2); `mask` (S, S) float32 and `blur` in pixels say
    how either picture is flattened; `free` (N, 6 + C) is 1 where a pixel may speak for a parameter, else 0; `reach` is
    the focal length in the crop's pixels."""

    place: np.ndarray
    point: np.ndarray
    moves: np.ndarray
    value: np.ndarray
    slope: np.ndarray
    mask: np.ndarray
    free: np.ndarray
    blur: float
    reach: float


def channels(names: list[str]) -> np.ndarray:
    """(C,) numbers of the expressions that pixels are asked for."""
    return np.array([k for k, name in enumerate(names) if not name.startswith(UNMOVED)], int)


def align(drawing: FaceDrawing, expression: np.ndarray, pose: np.ndarray, real: np.ndarray, height: float,
          asked: np.ndarray) -> Aligned | None:
    """Pose and expression at which the drawn face lies over the real one; None where too little of it is drawn.

    Parameters
    ----------
    drawing : of the person
    expression, pose : (K,) and (6,) to start from, which are believed as far as pixels don't say otherwise
    real : (S, S, 3) uint8, the character's crop of the frame
    height : of the face in `real`, pixels
    asked : (C,) of `channels`
    """
    drawn = _drawn(drawing, expression, pose, len(real), height, asked)
    if len(drawn.value) < LEAST_PIXELS:
        return None
    flat = _flattened(_grey(real), drawn.mask, drawn.blur)
    seen = np.dstack([flat, *_slopes(flat)])
    beforehand = trust([drawing.model.names[k] for k in asked])
    start = expression[asked].astype(float)
    turn, move, change = rotation_matrix(pose[:3]), pose[3:].astype(float), np.zeros(len(asked))
    total, origin = np.zeros(6 + len(asked)), None
    rows, noise, costs = np.zeros((0, 0)), np.ones(len(drawn.value)), []
    for number in range(STEPS):
        turned = (drawn.point + np.einsum("ncd,c->nd", drawn.moves, change.astype(np.float32))) @ turn.T
        camera = turned + move
        at = drawn.reach * camera[:, :2] / camera[:, 2:]
        origin = at if origin is None else origin
        shown = _looked_up(seen, drawn.place + at - origin)
        gap = shown[:, 0] - drawn.value
        if number in FRESH:
            noise = _noise(gap, drawn) if number == FRESH[0] else noise
            rows = _rows(drawn, (shown[:, 1:] + drawn.slope) / 2, turn, turned, camera)
        weight = (1 + (gap / (ODD * noise)) ** 2) ** -2
        costs.append(_cost(gap, noise))
        weight *= STRIDE**2 / (RELATED * noise**2)
        information = ((rows * weight[:, None]).T @ rows).astype(float) + np.diag(beforehand)
        step = -np.linalg.solve(information, rows.T @ (weight * gap) + beforehand * total)
        step[6:] = np.clip(start + change + step[6:], 0, 1) - start - change
        turn, move, change = exponential(step[None, :3])[0] @ turn, move + step[3:6], change + step[6:]
        total += step
    out = expression.astype(float).copy()
    out[asked] = start + change
    found = np.concatenate([rotation_angles(turn), move])
    return Aligned(found, out, _by_angles(information, found[:3]), costs[0], costs[-1])


def _by_angles(information: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """`information` by pitch, yaw and roll instead of a rotation vector, at `angles` (3,)."""
    way = np.eye(len(information))
    way[:3, 0] = rotation_matrix(np.array([0, angles[1], angles[2]]))[:, 0]
    way[:3, 1] = rotation_matrix(np.array([0, 0, angles[2]]))[:, 1]
    return way.T @ information @ way


def trust(names: Sequence[str]) -> np.ndarray:
    """(6 + C,) inverse variances of what is known beforehand of the pose and of expressions `names`."""
    spread = [TURN] * 3 + [SHIFT] * 2 + [DEPTH]
    spread += [EYE_WEIGHT if name.startswith(OF_EYES) else WEIGHT for name in names]
    return 1 / np.array(spread) ** 2


def _noise(gap: np.ndarray, drawn: _Drawn) -> np.ndarray:
    """(N,) how large differences `gap` (N,) are as a rule: of skin and of eyes, whose edges are far stronger."""
    eyes, out = drawn.free[:, 0] == 0, np.zeros(len(gap), np.float32)
    for some in (eyes, ~eyes):
        if some.any():
            out[some] = max(1.4826 * float(np.median(np.abs(gap[some]))), LEAST_NOISE)
    return out


def _cost(gap: np.ndarray, noise: np.ndarray) -> float:
    """Mean of Geman and McClure's error of differences (N,), in units of 255."""
    square = (gap / (ODD * noise)) ** 2
    return float((square / (1 + square) * (ODD * noise) ** 2).mean())


def _drawn(drawing: FaceDrawing, expression: np.ndarray, pose: np.ndarray, size: int, height: float,
           asked: np.ndarray) -> _Drawn:
    person, model = drawing.character, drawing.model
    rgba = drawing.draw(expression, pose, size)
    shape = deform(person.neutral_shape, model.expression_basis, expression)
    found, corners = _covered(drawing, person, shape, pose, size)
    outer, eye = np.zeros((2, size, size), np.uint8)
    kind = drawing.kinds[found.triangle]
    outer.ravel()[found.pixel], eye.ravel()[found.pixel] = kind != "mouth", kind == "eye"
    mask = cv2.erode(outer & (rgba[..., 3] > OPAQUE), np.ones((BORDER, BORDER), np.uint8))
    y, x = np.divmod(found.pixel, size)
    near = cv2.dilate(eye, np.ones((AROUND, AROUND), np.uint8))[y, x] > 0
    kept = (mask[y, x] > 0) & (near | (x % STRIDE == 0) & (y % STRIDE == 0))
    corner, weights = corners[found.triangle[kept]], found.weights[kept].astype(np.float32)
    basis = model.expression_basis[asked].astype(np.float32)
    moves = sum(weights[:, i, None, None] * basis.transpose(1, 0, 2)[corner[:, i]] for i in range(3))
    point = sum(weights[:, i, None] * shape[corner[:, i]] for i in range(3))
    area, blur = mask.astype(np.float32), max(height / DETAIL, 1.5)
    flat = _flattened(_grey(rgba), area, blur)
    x, y = x[kept], y[kept]
    looks = np.array([False] * 6 + [model.names[k].startswith(OF_EYES) for k in asked])
    slope = np.stack([part[y, x] for part in _slopes(flat)], 1)
    reach = float(person.focal) * size / float(person.crop[2])
    return _Drawn(np.stack([x, y], 1).astype(np.float32), np.asarray(point, np.float32),
                  np.asarray(moves, np.float32), flat[y, x], slope, area,
                  np.where(near[kept, None], looks, True).astype(np.float32), blur, reach)


def _covered(drawing: FaceDrawing, person: Character, shape: np.ndarray, pose: np.ndarray, size: int):
    """What of the face's triangles covers which pixel; and the triangles' corners (F, 3)."""
    camera = to_camera(shape, pose)
    pixel = project(camera, float(person.focal), np.asarray(person.size, float) / 2)
    pixel = (pixel - person.crop[:2]) * (size / float(person.crop[2])) - 0.5
    corners = drawing.triangles
    ahead = camera[corners]
    # Skin that looks away lies behind other skin.
    seen = (np.cross(ahead[:, 1] - ahead[:, 0], ahead[:, 2] - ahead[:, 0]) * ahead[:, 0]).sum(1) < 0
    number = np.flatnonzero(seen | (drawing.kinds != "skin"))
    found = cover(pixel[corners[number]], (size, size), depth=ahead[number][..., 2])
    return type(found)(found.size, found.pixel, number[found.triangle], found.weights), corners


def _grey(picture: np.ndarray) -> np.ndarray:
    """(S, S) float32, 0 to 255, of RGB or RGBA `picture` uint8."""
    return cv2.GaussianBlur(picture[..., :3].astype(np.float32) @ GREY, (0, 0), SOFT)


def _flattened(grey: np.ndarray, mask: np.ndarray, blur: float) -> np.ndarray:
    """`grey` (S, S) without what changes slowly within `mask` (S, S)."""
    share = np.maximum(cv2.GaussianBlur(mask, (0, 0), blur), 1e-3)
    return grey - cv2.GaussianBlur(grey * mask, (0, 0), blur) / share


def _slopes(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(S, S) each: change of `picture` along x and y in a pixel."""
    return (cv2.Sobel(picture, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8),
            cv2.Sobel(picture, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8))


def _looked_up(picture: np.ndarray, place: np.ndarray) -> np.ndarray:
    """(N, C) of `picture` (S, S, C) at x, y `place` (N, 2), bilinear."""
    place = place.astype(np.float32)
    out = [cv2.remap(picture, part[:, None, 0].copy(), part[:, None, 1].copy(), cv2.INTER_LINEAR,
                     borderMode=cv2.BORDER_REPLICATE)[:, 0]
           for part in np.array_split(place, len(place) // 30_000 + 1)]
    return np.concatenate(out)


def _rows(drawn: _Drawn, slope: np.ndarray, turn: np.ndarray, turned: np.ndarray, camera: np.ndarray) -> np.ndarray:
    """(N, 6 + C) change of the real picture's value at each point by rotation, translation and expressions."""
    near = (drawn.reach / camera[:, 2:] * slope).astype(np.float32)
    pull = np.concatenate([near, -(near * camera[:, :2]).sum(1, keepdims=True) / camera[:, 2:]], 1).astype(np.float32)
    spin = np.cross(turned.astype(np.float32), pull)
    bend = np.einsum("ncd,nd->nc", drawn.moves, pull @ turn.astype(np.float32))
    return np.concatenate([spin, pull, bend], 1) * drawn.free
