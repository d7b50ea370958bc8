"""One photo as a mesh that can turn its head: face profiling after Zhu et al. 2016, §4.1, in one smooth sheet.

The fitted head gives the depth of what it covers; hair beyond it goes on at the depth of its outline; down the neck the
motion fades until shoulders and all behind them stand still. The sheet is a grid over the picture, so that at rest it
shows the photo whatever its depths are.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np

from ml_backend.artefacts.face_track import FaceTrack
from ml_backend.artefacts.photo_mesh import PhotoMesh
from ml_backend.face_model.model import FaceModel
from ml_backend.face_model.synthesis import to_camera
from ml_backend.reconstruct import matte
from ml_backend.reconstruct.person import head_masks
from ml_backend.reconstruct.posed import Posed
from ml_backend.reconstruct.profile_edge import drawn, shade
from ml_backend.reconstruct.profile_sheet import Seen, depths, disc, own_edge, uncovered

TEXTURE_FILE, PLATE_FILE = "photo_head.png", "photo_plate.png"
CHIN, TOP, CELLS = 152, 10, 48
"""MediaPipe's points at the face's ends; grid cells along its height."""
TURNS = np.radians([[15.0, 25.0, 12.0]])
"""Pitch, yaw, roll up to which the sheet is made to turn either way from the photo's pose."""
SHIFT = 0.04
"""Metres that the head may move besides."""
NECK = 0.09
"""Metres below the chin at which the motion has faded out, where the model has no neck."""
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
    drawn : (V,) float32 in [0, 1]: how far each vertex of the face is drawn over it
    step : (h, w) float32 in [0, 1]: 1 where the sheet is what is behind the face
    """

    corner: np.ndarray
    texture: np.ndarray
    plate: np.ndarray
    depth: np.ndarray
    share: np.ndarray
    drawn: np.ndarray
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
    seen = Seen.of(view, model, corner, size)
    outline = _main(_cut(matte.refined(view.image, person, 0.06 * tall), corner, size), seen.face)
    depth, step = depths(seen, tall)
    height = _height(depth, corner, view.image.shape, track)
    falling = _fading(height, model, rest)
    worn = _cut(matte.worn(masks, flat[[TOP, CHIN]]), corner, size)
    clothes = cv2.GaussianBlur(worn, (0, 0), 0.10 * tall)
    share = cv2.GaussianBlur(falling * np.clip(1 - 1.2 * clothes, 0, 1) ** 2, (0, 0), 0.05 * tall)
    share = np.maximum(np.minimum(share, falling), seen.face * falling)
    moving = (share > STILL).astype(np.float32)
    behind = _behind(photo, outline, worn, share > STILL, tall)
    hair = _cut(masks.hair, corner, size)
    edge = own_edge(outline, hair, seen, tall)
    outline = np.maximum(outline * (1 - edge), seen.face)
    colour, alpha = matte.foreground(photo, behind, outline * moving)
    colour, alpha = uncovered(colour, alpha * (1 - edge), hair, worn, step, seen.face, tall)
    alpha *= 1 - _lips(view, model, corner, size)
    texture = np.dstack([colour, np.round(alpha * moving * 255).astype(np.uint8)])
    return Layers(corner, texture, _pasted(view.image, behind, corner), depth, share,
                  drawn(view, model, rest, seen, corner, hair, tall), step)


def _lips(view: Posed, model: FaceModel, corner: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(h, w) float32: 1 between the lips, through which the mouth's inside is to be seen and no sheet."""
    drawn = np.zeros(size, np.float32)
    pixel = view.pixel[(model.region("lips") > 0.5) & (view.facing > 0)] - corner
    if len(pixel) > 2:
        cv2.fillConvexPoly(drawn, cv2.convexHull(np.round(pixel).astype(np.int32)), (1.0,))
    return drawn


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
    other = cv2.dilate(((outline > 0.1) & (body < 0.6 * outline)).astype(np.uint8), disc(0.03 * tall)) > 0
    # Hair ends in a haze that outlines leave out: left in the plate, it would stay as a ring where the head was.
    around = other | (cv2.dilate((outline > 0.1).astype(np.uint8), disc(0.015 * tall)) > 0)
    near = cv2.dilate(around.astype(np.uint8), disc(0.14 * tall)) > 0
    bare = matte.without_strands(photo, near & ~around & moves, 0.035 * tall)
    return matte.clean_plate(bare, around & moves, other, tall)


def _pasted(image: np.ndarray, part: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """`image` with the window's `part` in its place."""
    out = image.copy()
    left, top = np.maximum(corner, 0)
    right, bottom = np.minimum(corner + part.shape[1::-1], image.shape[1::-1])
    out[top:bottom, left:right] = part[top - corner[1]:bottom - corner[1], left - corner[0]:right - corner[0]]
    return out


def build(view: Posed, track: FaceTrack, model: FaceModel, rest: np.ndarray, parts: Layers, light: np.ndarray
          ) -> PhotoMesh:
    """The sheet that shows `parts`, see `layers`, and how a face in the `light` (9, 3) of its character is drawn before
    it; the pictures are to be saved beside it under the names it has."""
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
    depth = parts.depth[at].ravel()[used]
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
        parts.drawn, shade(view, model, rest, light),
        np.array([model.names[k] for k in moved], dtype=str), offsets[moved].astype(np.float32),
        pose.astype(np.float32), _reach(points, 1 - parts.share[at].ravel()[used], pose, focal, size),
        np.array(TEXTURE_FILE), np.array(PLATE_FILE))


def _shown(parts: Layers, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """(R, C) bool: cells that show something and move."""
    def cells(values: np.ndarray) -> np.ndarray:
        return np.maximum.reduceat(np.maximum.reduceat(values, rows[:-1], 0), columns[:-1], 1)

    shows = cells((parts.texture[..., 3] > 0).astype(np.uint8)) > 0
    moves = cells((parts.share > STILL).astype(np.uint8)) > 0
    return shows & moves


def _offsets(view: Posed, model: FaceModel, place: np.ndarray, parts: Layers) -> np.ndarray:
    """(K, N, 3) metres by which each expression moves the head's surface at the window's pixels `place` (N, 2)."""
    seen = Seen.of(view, model, parts.corner, (parts.depth.shape[0], parts.depth.shape[1]))
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
