"""One photo as a mesh that can turn its head: face profiling after Zhu et al. 2016, §4.1, in one smooth sheet.

The fitted head gives the depth of what it covers; hair beyond it goes on at the depth of its outline; down the neck the
motion fades until shoulders and all behind them stand still. The sheet is a grid over the picture, so that at rest it
shows the photo whatever its depths are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import cv2
import numpy as np
from scipy import ndimage

from ml_backend.artefacts.face_track import FaceTrack
from ml_backend.artefacts.photo_mesh import PhotoMesh
from ml_backend.face_model.model import FaceModel
from ml_backend.face_model.synthesis import to_camera
from ml_backend.reconstruct import matte
from ml_backend.reconstruct.person import head_masks
from ml_backend.reconstruct.posed import Posed
from ml_backend.reconstruct.raster import Coverage, cover, depth_map
from ml_backend.reconstruct.unwrap import push_pull

TEXTURE_FILE, PLATE_FILE = "photo_head.png", "photo_plate.png"
CHIN, TOP, CELLS = 152, 10, 48
"""MediaPipe's points at the face's ends; grid cells along its height."""
TURNS = np.radians([[15.0, 25.0, 12.0]])
"""Pitch, yaw, roll up to which the sheet is made to turn either way from the photo's pose."""
SHIFT = 0.04
"""Metres that the head may move besides."""
NECK = 0.09
"""Metres below the chin at which the motion has faded out, where the model has no neck."""
BEHIND = (0.0015, 0.03)
"""Metres that the sheet lies behind the face: at its edge and within."""
FADED = 0.05
"""Weight of the face region below which the face hides nothing."""
STEP, STEEP, FACE = 0.012, 6.0, 0.19
"""Metres behind the face from which what is beside it is something else; the steepest slope of a face; its height."""
UNDER = 110.0
"""Pixels of a face's height at which hair is carried on under it: slivers of it are all that is ever seen."""
STILL = 0.004
"""Share of the head's motion that nobody sees."""


@dataclass(frozen=True)
class Layers:
    """A photo taken apart. The window is x, y, width, height in pixels of the photo, and may reach beyond it.

    Attributes
    ----------
    corner : (2,) int, upper left corner of the window
    texture : (h, w, 4) uint8 RGBA, what moves, in the window
    plate : (H, W, 3) uint8, the whole photo without it
    depth : (h, w) float32 metres
    share : (h, w) float32 in [0, 1]: how far a pixel moves with the head
    face : (h, w) float32 in [0, 1]: weight of the model's face region
    step : (h, w) float32 in [0, 1]: 1 where the sheet is what is behind the face
    """

    corner: np.ndarray
    texture: np.ndarray
    plate: np.ndarray
    depth: np.ndarray
    share: np.ndarray
    face: np.ndarray
    step: np.ndarray


def layers(view: Posed, track: FaceTrack, model: FaceModel, rest: np.ndarray) -> Layers:
    """Take the photo of `view` apart.

    Parameters
    ----------
    view : the photo with the fitted head over it
    track : of one frame
    model : of the head
    rest : (V, 3) the person's head without expression, model space
    """
    flat = track.landmarks[0, :, :2].astype(float) - 0.5
    tall = _tall(track)
    corner, size = _window(view, flat, tall)
    photo = _cut(view.image, corner, size)
    masks = head_masks(view, track.landmarks[0], model)
    person = masks.face + masks.hair + masks.neck + masks.body
    seen = _Seen.of(view, model, corner, size)
    outline = _main(_cut(matte.refined(view.image, person, 0.06 * tall), corner, size), seen.face)
    depth, step = _depth(seen, tall)
    height = _height(depth, corner, view.image.shape, track)
    falling = _fading(height, model, rest)
    worn = _cut(matte.worn(masks, flat[[TOP, CHIN]]), corner, size)
    clothes = cv2.GaussianBlur(worn, (0, 0), 0.10 * tall)
    share = cv2.GaussianBlur(falling * np.clip(1 - 1.2 * clothes, 0, 1) ** 2, (0, 0), 0.05 * tall)
    share = np.maximum(np.minimum(share, falling), seen.face * falling)
    moving = (share > STILL).astype(np.float32)
    behind = _behind(photo, outline, worn, share > STILL, tall)
    outline = np.maximum(outline, seen.face)
    colour, alpha = matte.foreground(photo, behind, outline * moving)
    colour, alpha = _uncovered(colour, alpha, worn, step, seen.face, tall)
    alpha *= 1 - _lips(view, model, corner, size)
    texture = np.dstack([colour, np.round(alpha * moving * 255).astype(np.uint8)])
    return Layers(corner, texture, _pasted(view.image, behind, corner), depth, share, seen.face, step)


@dataclass(frozen=True)
class _Seen:
    """What of the head the window shows: `cover` with the `triangles` it counts in, face weight and distance."""

    cover: Coverage
    triangles: np.ndarray
    face: np.ndarray
    near: np.ndarray

    @classmethod
    def of(cls, view: Posed, model: FaceModel, corner: np.ndarray, size: tuple[int, int]) -> _Seen:
        triangles = _skin(model)
        triangles = triangles[view.facing[triangles].max(1) > 0]
        found = cover(view.pixel[triangles] - corner, size, depth=view.camera[triangles, 2])
        face = found.image(found.interpolate(model.region("face")[:, None], triangles))[..., 0]
        return cls(found, triangles, face, depth_map(found, view.camera[:, 2], triangles))


def _lips(view: Posed, model: FaceModel, corner: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(h, w) float32: 1 between the lips, through which the mouth's inside is to be seen and no sheet."""
    drawn = np.zeros(size, np.float32)
    pixel = view.pixel[(model.region("lips") > 0.5) & (view.facing > 0)] - corner
    if len(pixel) > 2:
        cv2.fillConvexPoly(drawn, cv2.convexHull(np.round(pixel).astype(np.int32)), (1.0,))
    return drawn


def _skin(model: FaceModel) -> np.ndarray:
    """(F, 3) triangles of skin and ears, without what lies behind lips and lids."""
    triangles, names = model.triangles(), [str(name) for name in model.part_names]
    if "skin" not in names:
        return triangles
    outer = np.any([model.part(name) for name in names if name == "skin" or name.startswith("ear")], axis=0)
    return triangles[outer[triangles].all(1)]


def _window(view: Posed, flat: np.ndarray, tall: float) -> tuple[np.ndarray, tuple[int, int]]:
    """Corner (2,) int and (height, width) of what may move: head, hair and neck."""
    down = (flat[CHIN] - flat[TOP]) / tall
    middle = (flat[CHIN] + flat[TOP]) / 2
    side = np.array([-down[1], down[0]])
    ends = np.stack([middle + a * tall * side + b * tall * down for a in (-1.5, 1.5) for b in (-1.45, 1.75)])
    low, high = np.floor(ends.min(0)).astype(int), np.ceil(ends.max(0)).astype(int)
    # Beyond the frame only as much as can come into view.
    margin, bounds = int(np.ceil(0.5 * tall)), np.array(view.image.shape[1::-1])
    low, high = np.maximum(low, -margin), np.minimum(high, bounds + margin)
    return low, (int(high[1] - low[1]), int(high[0] - low[0]))


def _cut(picture: np.ndarray, corner: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The window of `picture`, which is mirrored beyond its edges."""
    height, width = picture.shape[:2]
    x, y = np.arange(size[1]) + corner[0], np.arange(size[0]) + corner[1]
    return np.ascontiguousarray(picture[_folded(y, height)][:, _folded(x, width)])


def _folded(index: np.ndarray, count: int) -> np.ndarray:
    index = np.mod(index, 2 * count)
    return np.where(index < count, index, 2 * count - 1 - index)


def _main(mask: np.ndarray, face: np.ndarray) -> np.ndarray:
    """`mask` without what hangs together with no part of the `face`: other people, things of their colour."""
    count, labels = cv2.connectedComponents((mask > 0.08).astype(np.uint8))
    own = np.bincount(labels[face > 0.5], minlength=count)
    own[0] = 0
    return mask * (labels == own.argmax()) if own.any() else mask


def _depth(seen: _Seen, tall: float) -> tuple[np.ndarray, np.ndarray]:
    """(h, w) metres of the sheet, and (h, w) in [0, 1] where it runs behind the face instead of through it.

    Where the face ends and hair or neck go on at its depth, the sheet goes on under it at that depth. Where the face
    ends in an outline, with something centimetres behind it, the sheet is what is behind: were it tied to the outline,
    it would hide the cheek that turns into view.
    """
    known = np.isfinite(seen.near)
    near = np.where(known, seen.near, 0)
    # The head's outline is seen edge on, which says little about the hair beside it.
    sure = cv2.erode(known.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    beside = sure & (seen.face < FADED)
    source = beside if beside.sum() > 0.02 * tall**2 else sure
    filled = push_pull(near[..., None], source.astype(np.float32))[..., 0]
    soft, wide = (cv2.GaussianBlur(filled, (0, 0), share * tall) for share in (0.03, 0.10))
    beyond = np.clip(cv2.distanceTransform((~source).astype(np.uint8), cv2.DIST_L2, 5) / (0.15 * tall), 0, 1)
    behind = soft + beyond * (wide - soft)
    step = _step(seen, tall)
    inside = seen.face > FADED
    away = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, 5) / (0.08 * tall)
    # The head's own shape right beside the face, so that both turn as one; further on only its broad form.
    own = np.maximum(np.clip(4 * seen.face, 0, 1), np.exp(-(away**2))) * known * (1 - step)
    step = step * inside
    depth = own * near + (1 - own) * behind
    # Never before the face.
    return np.maximum(depth, np.where(seen.face > FADED, near, 0)).astype(np.float32), step


def _step(seen: _Seen, tall: float) -> np.ndarray:
    """(h, w) float32 in [0, 1]: 1 where the nearest end of the face is an outline with something far behind it."""
    border, outline = _outline(seen, tall)
    if not outline.any():
        return np.zeros(border.shape, np.float32)
    _, labels = cv2.distanceTransformWithLabels((~border).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5,
                                                labelType=cv2.DIST_LABEL_PIXEL)
    number = np.asarray(labels, np.int64)
    is_outline = np.zeros(int(number.max()) + 1, np.float32)
    is_outline[number[border]] = outline[border]
    return cv2.GaussianBlur(is_outline[number], (0, 0), 0.02 * tall)


def off_outlines(view: Posed, model: FaceModel) -> Posed:
    """`view` that doesn't count as the person what lies along an outline of the face with something far behind it: a
    fit that is a pixel too wide there would paint the jaw with the collar."""
    face = view.pixel[(model.region("face") > 0.5) & (view.facing > 0)]
    if view.person is None or len(face) < 3:
        return view
    tall = max(float(np.ptp(face[:, 1])), 8.0)
    size = (view.image.shape[0], view.image.shape[1])
    _, outline = _outline(_Seen.of(view, model, np.zeros(2, int), size), tall)
    near = cv2.dilate(outline.astype(np.float32), _disc(0.02 * tall))
    return replace(view, person=view.person * (1 - cv2.GaussianBlur(near, (0, 0), max(0.005 * tall, 0.5))))


def _outline(seen: _Seen, tall: float) -> tuple[np.ndarray, np.ndarray]:
    """(h, w) bool, twice: the face's end, and where that is an outline with something far behind it."""
    inside = np.asarray(ndimage.binary_fill_holes(seen.face > FADED), bool)
    far = np.where(np.isfinite(seen.near), seen.near, 1e3).astype(np.float32)
    jump = cv2.dilate(far, np.ones((5, 5), np.uint8)) - far
    # Two pixels on, a surface may be that much further back without being another one.
    apart = max(STEP, STEEP * 2 * FACE / tall)
    border = inside & ~cv2.erode(inside.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    return border, border & (jump > apart)


def _uncovered(photo: np.ndarray, outline: np.ndarray, worn: np.ndarray, step: np.ndarray, face: np.ndarray,
               tall: float) -> tuple[np.ndarray, np.ndarray]:
    """`photo` and its opacity `outline` with what is beside the face, hair, neck or nothing, carried on under it where
    the sheet runs behind it, by `step`. What is `worn` stays behind when the head turns, and is not carried on."""
    scale = min(1.0, UNDER / tall)
    under = cv2.dilate(step, _disc(0.014 * tall))
    deep, labels = cv2.distanceTransformWithLabels(((face > FADED) | (under > 0.02)).astype(np.uint8), cv2.DIST_L2,
                                                cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL)
    beside = (face <= FADED) & (under <= 0.02)
    labels = np.asarray(labels, np.int64)
    nearest = np.zeros(int(labels.max()) + 1, np.float32)
    nearest[labels[beside]] = outline[beside]
    # Only a rim: further in the sheet closes what opens between jaw and neck.
    rim = np.clip(2 * under, 0, 1) * np.clip(1.5 - deep / (0.04 * tall), 0, 1)
    opaque = outline + rim * (cv2.GaussianBlur(nearest[labels], (0, 0), 0.01 * tall) - outline)
    small = [cv2.resize(values, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
             for values in (photo, under, outline * (1 - worn))]
    # At an outline colours are mixed with what is behind.
    hidden = (small[1] > 0.02) | (cv2.erode(small[2], np.ones((3, 3), np.uint8)) < 0.5)
    left, top, wide, high = cv2.boundingRect((small[1] > 0.02).astype(np.uint8))
    part = (slice(max(top - 8, 0), top + high + 8), slice(max(left - 8, 0), left + wide + 8))
    if not wide or hidden[part].all():
        return photo, opaque
    filled = small[0].copy()
    filled[part] = cv2.inpaint(np.ascontiguousarray(filled[part]), hidden[part].astype(np.uint8), 3, cv2.INPAINT_TELEA)
    filled = cv2.resize(filled, photo.shape[1::-1], interpolation=cv2.INTER_LINEAR).astype(np.float32)
    share = np.clip(2 * under, 0, 1)[..., None]
    return np.round(photo + share * (filled - photo)).astype(np.uint8), opaque


def _height(depth: np.ndarray, corner: np.ndarray, frame: tuple[int, ...], track: FaceTrack) -> np.ndarray:
    """(h, w) metres: y in model space of what each pixel shows."""
    pose = track.pose()[0].astype(float)
    points = unproject(depth, corner, frame, float(track.focal))
    turn = to_camera(np.eye(3), np.concatenate([pose[:3], np.zeros(3)])).T
    return (points - pose[3:]) @ turn[:, 1]


def unproject(depth: np.ndarray, corner: np.ndarray, frame: tuple[int, ...], focal: float) -> np.ndarray:
    """(h, w, 3) metres in camera space of a window's pixels at `depth` (h, w)."""
    y, x = np.mgrid[0:depth.shape[0], 0:depth.shape[1]]
    across = (x + corner[0] + 0.5 - frame[1] / 2) / focal
    down = (y + corner[1] + 0.5 - frame[0] / 2) / focal
    return np.stack([across * depth, down * depth, depth], -1)


def _fading(height: np.ndarray, model: FaceModel, rest: np.ndarray) -> np.ndarray:
    """(h, w) in [0, 1]: 1 from the chin upwards, evenly down to 0 at the neck's root."""
    chin = float(rest[model.region("face") > 0.5][:, 1].max())
    names = [str(name) for name in model.region_names]
    root = float(rest[model.region("neck") > 0][:, 1].max()) if "neck" in names else chin + NECK
    share = np.clip((root - height) / max(root - chin + 0.02, 0.03), 0, 1)
    return (share * share * (3 - 2 * share)).astype(np.float32)


def _behind(photo: np.ndarray, outline: np.ndarray, body: np.ndarray, moves: np.ndarray, tall: float) -> np.ndarray:
    """The window's `photo` without what moves, filled from the background and, over the shoulders, from the clothes."""
    other = cv2.dilate(((outline > 0.1) & (body < 0.6 * outline)).astype(np.uint8), _disc(0.03 * tall)) > 0
    # Hair ends in a haze that outlines leave out: left in the plate, it would stay as a ring where the head was.
    around = other | (cv2.dilate((outline > 0.1).astype(np.uint8), _disc(0.015 * tall)) > 0)
    near = cv2.dilate(around.astype(np.uint8), _disc(0.14 * tall)) > 0
    bare = matte.without_strands(photo, near & ~around & moves, 0.035 * tall)
    return matte.clean_plate(bare, around & moves, other, tall)


def _disc(radius: float) -> np.ndarray:
    side = 2 * max(round(radius), 1) + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))


def _pasted(image: np.ndarray, part: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """`image` with the window's `part` in its place."""
    out = image.copy()
    left, top = np.maximum(corner, 0)
    right, bottom = np.minimum(corner + part.shape[1::-1], image.shape[1::-1])
    out[top:bottom, left:right] = part[top - corner[1]:bottom - corner[1], left - corner[0]:right - corner[0]]
    return out


def build(view: Posed, track: FaceTrack, model: FaceModel, rest: np.ndarray, parts: Layers) -> PhotoMesh:
    """The sheet that shows `parts`, see `layers`; its pictures are to be saved beside it under the names it has."""
    tall = _tall(track)
    step = max(tall / CELLS, 2.0)
    height, width = parts.depth.shape
    y, x = (np.linspace(-0.5, n - 0.5, max(int(np.ceil(n / step)), 1) + 1) for n in (height, width))
    rows, columns = (np.clip(np.round(v), 0, n - 1).astype(int) for v, n in ((y, height), (x, width)))
    at = np.ix_(rows, columns)
    index = np.arange(len(y) * len(x)).reshape(len(y), len(x))
    quads = np.stack([index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]], -1)
    quads = quads[_shown(parts, rows, columns)]
    used, faces = np.unique(quads, return_inverse=True)
    pixel = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)[used]
    depth = (parts.depth + _sunk(parts.face, tall) * (1 - parts.step))[at].ravel()[used]
    focal, size = float(track.focal), np.asarray(track.size, float)
    across = (pixel + parts.corner + 0.5 - size / 2) / focal * depth[:, None]
    pose = track.pose()[0].astype(float)
    turn = to_camera(np.eye(3), np.concatenate([pose[:3], np.zeros(3)])).T
    points = (np.concatenate([across, depth[:, None]], 1) - pose[3:]) @ turn
    offsets = _offsets(view, model, np.stack([np.repeat(rows, len(x)), np.tile(columns, len(y))], 1)[used], parts)
    offsets *= (1 - parts.step[at].ravel()[used])[:, None]
    moved = np.flatnonzero(np.abs(offsets).max((1, 2)) > 1e-4)
    points -= np.tensordot(track.expression[0], offsets, 1)
    return PhotoMesh(
        points.astype(np.float32), ((pixel + 0.5) / [width, height] * [1, -1] + [0, 1]).astype(np.float32),
        faces.reshape(-1, 4).astype(np.int32), (1 - parts.share[at].ravel()[used]).astype(np.float32),
        np.array([model.names[k] for k in moved], dtype=str), offsets[moved].astype(np.float32),
        pose.astype(np.float32), _reach(points, 1 - parts.share[at].ravel()[used], pose, focal, size),
        np.array(TEXTURE_FILE), np.array(PLATE_FILE))


def _sunk(face: np.ndarray, tall: float) -> np.ndarray:
    """(h, w) metres that the sheet lies behind the face: little at its edge, where the two blend, and behind the eyes
    within; seen from the photo's camera it stays where it is."""
    inside = np.asarray(ndimage.binary_fill_holes(face > FADED), np.uint8)
    deep = cv2.distanceTransform(inside, cv2.DIST_L2, 5) / (0.2 * tall)
    return BEHIND[0] * inside + (BEHIND[1] - BEHIND[0]) * np.clip(deep, 0, 1) ** 2


def _shown(parts: Layers, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """(R, C) bool: cells that show something and move."""
    def cells(values: np.ndarray) -> np.ndarray:
        return np.maximum.reduceat(np.maximum.reduceat(values, rows[:-1], 0), columns[:-1], 1)

    shows = cells((parts.texture[..., 3] > 0).astype(np.uint8)) > 0
    moves = cells((parts.share > STILL).astype(np.uint8)) > 0
    return shows & moves


def _offsets(view: Posed, model: FaceModel, place: np.ndarray, parts: Layers) -> np.ndarray:
    """(K, N, 3) metres by which each expression moves the head's surface at the window's pixels `place` (N, 2)."""
    seen = _Seen.of(view, model, parts.corner, (parts.depth.shape[0], parts.depth.shape[1]))
    number = np.full(parts.depth.size, -1)
    number[seen.cover.pixel] = np.arange(len(seen.cover.pixel))
    number = number.reshape(parts.depth.shape)[place[:, 0], place[:, 1]]
    out = np.zeros((len(model.names), len(place), 3))
    hit = number >= 0
    corners = seen.triangles[seen.cover.triangle[number[hit]]]
    out[:, hit] = np.einsum("ni,knic->knc", seen.cover.weights[number[hit]], model.expression_basis[:, corners])
    return out


def _reach(points: np.ndarray, still: np.ndarray, pose: np.ndarray, focal: float, size: np.ndarray) -> np.ndarray:
    """(4,) int32 x, y, width, height: the part of the frame that the sheet stays within."""
    rest = to_camera(points, pose)
    ends = []
    for signs in product((-1, 0, 1), repeat=3):
        turned = pose.copy()
        turned[:3] += TURNS[0] * signs
        camera = still[:, None] * rest + (1 - still[:, None]) * to_camera(points, turned)
        ends += [camera[:, :2].min(0) / camera[:, 2].min(), camera[:, :2].max(0) / camera[:, 2].min()]
    room = SHIFT / rest[:, 2].min()
    low = np.clip(np.floor((np.min(ends, 0) - room) * focal + size / 2), 0, size - 2)
    high = np.clip(np.ceil((np.max(ends, 0) + room) * focal + size / 2), low + 2, size)
    return np.concatenate([low, high - low]).astype(np.int32)


def _tall(track: FaceTrack) -> float:
    """Pixels from the face's top to its chin."""
    return float(np.linalg.norm(track.landmarks[0, CHIN, :2] - track.landmarks[0, TOP, :2]))
