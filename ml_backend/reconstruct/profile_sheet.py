"""The sheet of a photo that turns where it meets the face: how deep it lies there, and what it shows under the face.

Along most of its edge the face goes on into forehead, temple or ear, and the sheet with it. Where it ends in an
outline before neck, hair or room, the sheet is what is behind: a membrane at their depth, which shows them mirrored
about the outline, for a face that turns uncovers what was under it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from scipy import ndimage

from ml_backend.face_model.model import FaceModel
from ml_backend.reconstruct.posed import Posed
from ml_backend.reconstruct.raster import Coverage, cover, depth_map
from ml_backend.reconstruct.unwrap import push_pull

BEHIND = (0.0015, 0.03)
"""Metres that the sheet lies behind the face: at its edge and within."""
FADED = 0.05
"""Weight of the face region below which the face hides nothing."""
STEP, STEEP, FACE = 0.012, 6.0, 0.19
"""Metres behind the face from which what is beside it is something else; the steepest slope of a face; its height."""
RECEDE = 0.04
"""Metres behind an outline at which what is beside it lies at least: as deep as the cheek that a turn may show."""
LOOK = 0.02
"""Of a face's height: how far beyond its end is looked for something behind it."""
TIED, LOOSE = 4.0, 9.0
"""Slopes between the face's end and what is beside it up to which they are one surface, and from which they are two."""
RIM = 0.12
"""Of a face's height: what a turn may uncover of what is under it."""
SLIVER = 0.02
"""Of a face's height: half the width of what, beside an outline, is no hair but the outline's own soft edge."""
EDGE = 0.014
"""Of a face's height: as far beyond its outline a photo may still show the face."""
UNDER = 110.0
"""Pixels of a face's height at which what no mirror shows is carried on."""


@dataclass(frozen=True)
class Seen:
    """What of the head the window shows: `cover` with the `triangles` it counts in, face weight and distance."""

    cover: Coverage
    triangles: np.ndarray
    face: np.ndarray
    near: np.ndarray

    @classmethod
    def of(cls, view: Posed, model: FaceModel, corner: np.ndarray, size: tuple[int, int]) -> Seen:
        """Draw the head of `view` in the window at `corner` (2,), `size` height and width."""
        triangles = _skin(model)
        triangles = triangles[view.facing[triangles].max(1) > 0]
        found = cover(view.pixel[triangles] - corner, size, depth=view.camera[triangles, 2])
        face = found.image(found.interpolate(model.region("face")[:, None], triangles))[..., 0]
        return cls(found, triangles, face, depth_map(found, view.camera[:, 2], triangles))

    @property
    def inside(self) -> np.ndarray:
        """(h, w) bool: the face, eyes and mouth included."""
        return np.asarray(ndimage.binary_fill_holes(self.face > FADED), bool)


def _skin(model: FaceModel) -> np.ndarray:
    """(F, 3) triangles of skin and ears, without what lies behind lips and lids."""
    triangles, names = model.triangles(), [str(name) for name in model.part_names]
    if "skin" not in names:
        return triangles
    outer = np.any([model.part(name) for name in names if name == "skin" or name.startswith("ear")], axis=0)
    return triangles[outer[triangles].all(1)]


def depths(seen: Seen, tall: float) -> tuple[np.ndarray, np.ndarray]:
    """(h, w) metres of the sheet, and (h, w) in [0, 1] where it runs behind the face instead of through it.

    `tall` is the face's height in pixels.
    """
    known, inside = np.isfinite(seen.near), seen.inside
    near = np.where(known, seen.near, 0)
    # The head's outline is seen edge on, which says little about the hair beside it.
    sure = cv2.erode(known.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    beside = sure & (seen.face < FADED)
    source = beside if beside.sum() > 0.02 * tall**2 else sure
    filled = push_pull(near[..., None], source.astype(np.float32))[..., 0]
    soft, wide = (cv2.GaussianBlur(filled, (0, 0), share * tall) for share in (0.03, 0.10))
    beyond = np.clip(cv2.distanceTransform((~source).astype(np.uint8), cv2.DIST_L2, 5) / (0.15 * tall), 0, 1)
    behind = soft + beyond * (wide - soft)
    away = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, 5) / (0.08 * tall)
    # The head's own shape right beside the face, so that both turn as one; further on only its broad form.
    own = np.exp(-(away**2)) * known * ~inside
    outer = _receded(own * (near + BEHIND[0]) + (1 - own) * behind, seen, tall)
    membrane = push_pull(outer[..., None], (~inside).astype(np.float32))[..., 0]
    step = _step(seen, tall) * inside
    under = near + sunk(seen.face, tall)
    deep = np.maximum(under, step * np.maximum(membrane, behind) + (1 - step) * np.where(known, near, membrane))
    return np.where(inside, deep, outer).astype(np.float32), step.astype(np.float32)


def _receded(depth: np.ndarray, seen: Seen, tall: float) -> np.ndarray:
    """`depth` (h, w) far enough behind an outline of the face for the cheek that turns into view to hide it."""
    border, apart = ends(seen, tall)
    known = np.isfinite(seen.near)
    if not (border & known).any():
        return depth
    edge = push_pull(np.where(border & known, seen.near, 0)[..., None], (border & known).astype(np.float32))[..., 0]
    away = cv2.distanceTransform((~seen.inside).astype(np.uint8), cv2.DIST_L2, 5) / (0.12 * tall)
    # An ear beyond the face's end is part of the head, and what is beyond the ear stays with it.
    beyond = cv2.dilate((~known & ~seen.inside).astype(np.uint8), disc(max(2, round(LOOK * tall)))) > 0
    room = spread(border, apart * beyond, tall) * np.clip(1 - away, 0, 1) * ~known
    least = cv2.GaussianBlur((edge + RECEDE) * room + depth * (1 - room), (0, 0), max(0.01 * tall, 0.5))
    return np.maximum(depth, least)


def sunk(face: np.ndarray, tall: float) -> np.ndarray:
    """(h, w) metres that the sheet lies behind the face: little at its edge, where the two blend, and behind the eyes
    within; seen from the photo's camera it stays where it is."""
    inside = np.asarray(ndimage.binary_fill_holes(face > FADED), np.uint8)
    deep = cv2.distanceTransform(inside, cv2.DIST_L2, 5) / (0.2 * tall)
    return BEHIND[0] * inside + (BEHIND[1] - BEHIND[0]) * np.clip(deep, 0, 1) ** 2


def _step(seen: Seen, tall: float) -> np.ndarray:
    """(h, w) float32 in [0, 1]: 1 where the nearest end of the face is an outline with something far behind it."""
    border, apart = ends(seen, tall)
    if not border.any():
        return np.zeros(border.shape, np.float32)
    return cv2.GaussianBlur(spread(border, apart, tall), (0, 0), 0.02 * tall)


def spread(border: np.ndarray, values: np.ndarray, tall: float) -> np.ndarray:
    """(h, w) of each pixel: `values` (h, w) at the nearest pixel of the `border`, evened out along it."""
    on, along = border.astype(np.float32), max(0.03 * tall, 1.0)
    even = cv2.GaussianBlur(values * on, (0, 0), along) / np.maximum(cv2.GaussianBlur(on, (0, 0), along), 1e-6)
    labels, number = nearest(border)
    value = np.zeros(number, np.float32)
    value[labels[border]] = even[border]
    return value[labels]


def ends(seen: Seen, tall: float) -> tuple[np.ndarray, np.ndarray]:
    """(h, w) bool: the face's end; and (h, w) float32 in [0, 1]: how surely it is an outline with something far behind
    it, there."""
    inside = seen.inside
    far = np.where(np.isfinite(seen.near) & ~inside, seen.near, 0).astype(np.float32)
    far = np.where(np.isfinite(seen.near) | inside, far, 1e3).astype(np.float32)
    reach = max(2, round(LOOK * tall))
    jump = cv2.dilate(far, disc(reach)) - np.where(np.isfinite(seen.near), seen.near, 1e3)
    slope = jump / (reach * FACE / tall)
    border = inside & ~cv2.erode(inside.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    apart = np.clip((slope - TIED) / (LOOSE - TIED), 0, 1)
    return border, (apart * border).astype(np.float32)


def off_outlines(view: Posed, model: FaceModel) -> Posed:
    """`view` that doesn't count as the person what lies along an outline of the face with something far behind it: a
    fit that is a pixel too wide there would paint the jaw with the collar."""
    face = view.pixel[(model.region("face") > 0.5) & (view.facing > 0)]
    if view.person is None or len(face) < 3:
        return view
    tall = max(float(np.ptp(face[:, 1])), 8.0)
    size = (view.image.shape[0], view.image.shape[1])
    outline = _sharp(Seen.of(view, model, np.zeros(2, int), size), tall)
    near = cv2.dilate(outline.astype(np.float32), disc(0.02 * tall))
    return replace(view, person=view.person * (1 - cv2.GaussianBlur(near, (0, 0), max(0.005 * tall, 0.5))))


def _sharp(seen: Seen, tall: float) -> np.ndarray:
    """(h, w) bool: where the face ends in an outline, two pixels beyond which something far behind is seen."""
    far = np.where(np.isfinite(seen.near), seen.near, 1e3).astype(np.float32)
    jump = cv2.dilate(far, np.ones((5, 5), np.uint8)) - far
    # Two pixels on, a surface may be that much further back without being another one.
    apart = max(STEP, STEEP * 2 * FACE / tall)
    border = seen.inside & ~cv2.erode(seen.inside.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    return border & (jump > apart)


def own_edge(outline: np.ndarray, hair: np.ndarray, seen: Seen, tall: float) -> np.ndarray:
    """(h, w) float32 in [0, 1]: 1 where the opacity `outline` (h, w) is the soft rim of the face's own outline before
    the room, and no `hair`. It moves with the face, which is drawn with an edge of its own; the sheet would leave it
    behind as dashes."""
    border, apart = ends(seen, tall)
    near = cv2.dilate((border & (apart > 0.5)).astype(np.uint8), disc(2 * SLIVER * tall)) > 0
    outside = (outline > 0.5) & ~seen.inside
    broad = cv2.morphologyEx(outside.astype(np.uint8), cv2.MORPH_OPEN, disc(SLIVER * tall))
    broad = cv2.dilate(broad, disc(0.6 * SLIVER * tall)) > 0
    # An ear that is seen from the front is no broader, but known.
    lone = near & ~broad & ~seen.inside & ~np.isfinite(seen.near)
    lone = cv2.GaussianBlur(lone.astype(np.float32), (0, 0), 0.5)
    return lone * np.clip(1.5 - 3 * hair, 0, 1)


def uncovered(photo: np.ndarray, outline: np.ndarray, hair: np.ndarray, worn: np.ndarray, step: np.ndarray,
              face: np.ndarray, tall: float) -> tuple[np.ndarray, np.ndarray]:
    """`photo` and its opacity `outline` with what is beside the face carried on under it where the sheet runs behind
    it, by `step`: `hair` as its mirror image, skin smoothly. What is `worn` stays behind when the head turns, and is
    not carried on."""
    under = cv2.dilate(step, disc(EDGE * tall))
    covered = (face > FADED) | (under > 0.02)
    beside = ~covered
    if not beside.any() or not (under > 0.02).any():
        return photo, outline
    deep = cv2.distanceTransform(covered.astype(np.uint8), cv2.DIST_L2, 5)
    labels, number = nearest(beside)
    value = np.zeros(number, np.float32)
    value[labels[beside]] = outline[beside]
    rim = np.clip(2 * under, 0, 1) * np.clip(2 - deep / (RIM * tall), 0, 1)
    opaque = outline + rim * (cv2.GaussianBlur(value[labels], (0, 0), 0.01 * tall) - outline)
    shown = _mirrored(photo, labels, beside, np.minimum(outline, 3 * hair - 1.2).clip(0) * (1 - worn), tall)
    filled = _carried_on(photo, under, outline * (1 - worn), tall)
    mixed = filled + shown[..., 3:] * (shown[..., :3] - filled)
    share = np.clip(2 * under - 0.4, 0, 1)[..., None]
    return np.round(photo + share * (mixed - photo)).clip(0, 255).astype(np.uint8), opaque


def _mirrored(photo: np.ndarray, labels: np.ndarray, beside: np.ndarray, usable: np.ndarray, tall: float) -> np.ndarray:
    """(h, w, 4) float32: `photo` mirrored about the nearest pixel that is `beside`, and how far that is usable."""
    height, width = beside.shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    place = np.zeros((int(labels.max()) + 1, 2), np.float32)
    place[labels[beside]] = np.stack([x[beside], y[beside]], 1)
    edge = place[labels]
    # Neighbours may lie nearest to pixels far apart along a ragged end.
    soft = cv2.GaussianBlur(edge, (0, 0), max(0.015 * tall, 0.5))
    source = [2 * soft[..., k] - own for k, own in enumerate((x, y))]
    both = np.dstack([photo.astype(np.float32), usable.astype(np.float32)])
    seen = cv2.remap(both, source[0], source[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    whole = cv2.erode((seen[..., 3] > 0.9).astype(np.float32), disc(0.01 * tall))
    seen[..., 3] = cv2.GaussianBlur(whole, (0, 0), max(0.01 * tall, 0.5)) * whole
    return seen


def _carried_on(photo: np.ndarray, under: np.ndarray, usable: np.ndarray, tall: float) -> np.ndarray:
    """(h, w, 3) float32: `photo` with what is `under` the face filled in smoothly from what is `usable` beside it."""
    scale = min(1.0, UNDER / tall)
    small = [cv2.resize(values, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
             for values in (photo, under, usable)]
    # At an outline colours are mixed with what is behind.
    hidden = (small[1] > 0.02) | (cv2.erode(small[2], np.ones((3, 3), np.uint8)) < 0.5)
    left, top, wide, high = cv2.boundingRect((small[1] > 0.02).astype(np.uint8))
    part = (slice(max(top - 8, 0), top + high + 8), slice(max(left - 8, 0), left + wide + 8))
    if not wide or hidden[part].all():
        return photo.astype(np.float32)
    filled = small[0].copy()
    filled[part] = cv2.inpaint(np.ascontiguousarray(filled[part]), hidden[part].astype(np.uint8), 3, cv2.INPAINT_TELEA)
    return cv2.resize(filled, photo.shape[1::-1], interpolation=cv2.INTER_LINEAR).astype(np.float32)


def nearest(targets: np.ndarray) -> tuple[np.ndarray, int]:
    """(h, w) int64 number of the nearest pixel of `targets` (h, w) bool, and how many numbers there are."""
    _, labels = cv2.distanceTransformWithLabels((~targets).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5,
                                                labelType=cv2.DIST_LABEL_PIXEL)
    labels = np.asarray(labels, np.int64)
    return labels, int(labels.max()) + 1


def disc(radius: float) -> np.ndarray:
    """A round kernel."""
    side = 2 * max(round(radius), 1) + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
