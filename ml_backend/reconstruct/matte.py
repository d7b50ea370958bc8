"""A person cut out of a photo: a soft outline, what lies behind, and the colours in front of it.

The three fit together: laid over the plate again, the cut-out is the photo, whatever the outline's faults.
"""

from __future__ import annotations

import cv2
import numpy as np

from ml_backend.reconstruct.person import HeadMasks
from ml_backend.reconstruct.unwrap import push_pull

SOFTNESS = 1e-4
"""Variance of colours, in [0, 1]², below which the guided filter takes the picture for flat."""
FAINT = 0.02
"""Differences from the plate below this are no strand of hair."""
STRAND = 9
"""Grey levels by which a hair differs from the wall behind it."""
LOOSE = 0.3
"""How surely hair is hair that is followed from the head to where it hangs."""
LONGEST = 1000
"""Pixels of the longer side at which an outline is worked out; a finer one would show nothing new."""


def refined(image: np.ndarray, coarse: np.ndarray, radius: float) -> np.ndarray:
    """(H, W) float32 in [0, 1]: `coarse` with its edge drawn to the edges of `image`.

    The guided filter of He et al. 2013 (eq. 14-19, colour guide), and then a contrast that undoes its haze.

    Parameters
    ----------
    image : (H, W, 3) uint8 RGB
    coarse : (H, W) float32 in [0, 1]
    radius : pixels around a pixel that are looked at
    """
    scale = min(1.0, LONGEST / max(image.shape[:2]))
    if scale < 1:
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        rough = cv2.resize(coarse, small.shape[1::-1], interpolation=cv2.INTER_AREA)
        return cv2.resize(refined(small, rough, radius * scale), image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    guide = image.astype(np.float32) / 255
    side = 2 * max(round(radius), 1) + 1

    def mean(values: np.ndarray) -> np.ndarray:
        return cv2.blur(values, (side, side), borderType=cv2.BORDER_REFLECT)

    middle, share = mean(guide), mean(coarse)
    pairs = mean((guide[..., :, None] * guide[..., None, :]).reshape(*coarse.shape, 9)).reshape(*coarse.shape, 3, 3)
    spread = pairs - middle[..., :, None] * middle[..., None, :] + SOFTNESS * np.eye(3, dtype=np.float32)
    along = mean(guide * coarse[..., None]) - middle * share[..., None]
    slope = np.linalg.solve(spread, along[..., None])[..., 0]
    offset = share - (slope * middle).sum(-1)
    found = (mean(slope) * guide).sum(-1) + mean(offset)
    return np.clip((found - 0.5) * 1.5 + 0.5, 0, 1).astype(np.float32)


def worn(masks: HeadMasks, ends: np.ndarray) -> np.ndarray:
    """(H, W) float32 in [0, 1]: clothes, among them what has the colour of hair but hangs together with none of it.

    Parameters
    ----------
    masks : what of the person the pixels show
    ends : (2, 2) pixels: the face's top and its chin
    """
    count, found = cv2.connectedComponents((masks.hair > LOOSE).astype(np.uint8))
    labels = np.asarray(found, np.int64)
    y, x = np.mgrid[0:labels.shape[0], 0:labels.shape[1]]
    upper = (np.stack([x, y], -1) - ends.mean(0)) @ (ends[1] - ends[0]) < 0
    own = np.zeros(count, bool)
    own[labels[upper]] = True
    own[0] = True
    return np.clip(masks.body + masks.hair * ~own[labels], 0, 1).astype(np.float32)


def clean_plate(image: np.ndarray, hole: np.ndarray, avoid: np.ndarray, unit: float) -> np.ndarray:
    """(H, W, 3) uint8: `image` with its `hole` (H, W) bool filled in from beside it; the same bytes elsewhere.

    Every row goes on into the hole, mirrored, from its left and from its right: a turning head uncovers what is beside
    it, and horizons, walls and shelves run across. Rows that lie in the hole from end to end get a smooth fill.

    Parameters
    ----------
    avoid : (H, W) bool, pixels that the fill is not taken from although they are no part of the hole
    unit : pixels; a tenth of it is the softness of the hole's edge and of the mirror's
    """
    if not hole.any() or (hole | avoid).all():
        return image.copy()
    picture = image.astype(np.float32)
    closed = _rounded(hole | avoid, 0.05 * unit)
    closed = hole | avoid if closed.all() else closed
    smooth = push_pull(picture, (~closed).astype(np.float32))
    filled = cv2.GaussianBlur(smooth, (0, 0), max(0.05 * unit, 1.0))
    total = np.full(hole.shape, 1e-7, np.float32)
    filled = filled * total[..., None]
    for flip in (False, True):
        turn = (lambda values: values[:, ::-1]) if flip else (lambda values: values)
        seen, weight = _from_left(turn(picture), turn(closed), turn(smooth))
        filled, total = filled + turn(seen * weight[..., None]), total + turn(weight)
    filled /= total[..., None]
    # What is left between the picture and its mirror along the edge goes, softly, into the depth.
    ring = cv2.GaussianBlur((closed & ~hole & ~avoid).astype(np.float32), (0, 0), max(0.01 * unit, 0.5))
    ring *= closed & ~hole & ~avoid
    gap = cv2.GaussianBlur(push_pull(picture - filled, ring), (0, 0), max(0.02 * unit, 1.0)) if ring.any() else 0.0
    deep = cv2.distanceTransform(np.pad(hole, 1).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    share = np.clip(deep / max(0.012 * unit, 1.0), 0, 1)[..., None]
    filled = filled + gap * np.exp(-deep / (0.15 * unit))[..., None]
    mixed = np.round(np.clip(picture + share * (filled - picture), 0, 255)).astype(np.uint8)
    return np.where(hole[..., None], mixed, image)


def without_strands(image: np.ndarray, where: np.ndarray, width: float) -> np.ndarray:
    """`image` with what is thinner than `width` pixels gone, within `where` (H, W) bool: single hairs on a wall."""
    scale = min(1.0, 6 / max(width, 1.0))
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    side = 2 * max(round(width * scale), 1) + 1
    broad = cv2.resize(cv2.medianBlur(small, side), image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    thin = np.abs(image.astype(np.int16) - broad).max(-1) > STRAND
    thin = cv2.dilate((thin & where).astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool) & where
    soft = cv2.GaussianBlur(thin.astype(np.float32), (0, 0), 1.0)[..., None] * where[..., None]
    return np.round(image + np.clip(2 * soft, 0, 1) * (broad.astype(np.float32) - image)).astype(np.uint8)


def foreground(image: np.ndarray, plate: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Colours (H, W, 3) uint8 and opacity (H, W) float32 that give `image` over `plate`, at least as opaque as `alpha`.

    Where `alpha` is too low for any colour to do so (a strand outside the outline), it is raised.
    """
    wanted, behind = image.astype(np.float32) / 255, plate.astype(np.float32) / 255
    gap = wanted - behind
    room = np.where(gap > 0, 1 - behind, behind)
    least = (np.abs(gap) / np.maximum(room, 1e-3)).max(-1).clip(0, 1)
    opaque = np.where(least > FAINT, np.maximum(alpha, least), alpha).astype(np.float32)
    colour = behind + gap / np.maximum(opaque, 1e-3)[..., None]
    # Where nothing is seen the colour still counts: samplers mix it with its neighbours'.
    colour = np.where(opaque[..., None] > 1e-3, colour, wanted)
    return np.round(np.clip(colour, 0, 1) * 255).astype(np.uint8), opaque


def _rounded(mask: np.ndarray, radius: float) -> np.ndarray:
    """`mask` (H, W) bool with a smoother outline around it: what is mirrored about that is not frayed."""
    wide = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), max(radius, 0.5))
    return mask | (wide > 0.3)


def _from_left(picture: np.ndarray, closed: np.ndarray, smooth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(H, W, 3) what `closed` gets from its left, each row mirrored, and (H, W) its weight: less the further away."""
    height, width = closed.shape
    place = np.arange(width)
    edge = np.maximum.accumulate(np.where(closed, -1, place), axis=1)
    known = edge >= 0
    source = np.maximum(2 * edge - place, 0)
    rows = np.arange(height)[:, None]
    # Where the mirror shows another part of what is closed, or nothing, the smooth picture stands in.
    lost = closed[rows, source] | (2 * edge - place < 0)
    seen = np.where(lost[..., None], smooth, picture[rows, source])
    far = (place - edge).astype(np.float32)
    return seen, np.where(known, 1 / (1 + far) ** 2, 0).astype(np.float32)
