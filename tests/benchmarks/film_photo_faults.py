"""What goes wrong where a photo turns, measured on the pictures of what moves: holes, crumbs, a ragged edge, a second
chin."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage

OPAQUE = 128
TALL = 160
"""Pixels of a face's height that all is measured at."""
LEAST = 4
"""Pixels of a crumb that anybody sees."""
NEAR = 0.03
"""Of a face's height: how far beside the face the sheet may still show it."""
CLOSE = 0.03
"""Of a face's height: width of a slit that counts as a hole."""


@dataclass(frozen=True)
class Faults:
    """Of one picture, each to be compared with the picture at rest, whose hair and collar have some of their own.

    Attributes
    ----------
    holes : pixels within the head through which one sees what is behind, % of the face's height squared
    crumbs : pixels off the head that belong to nothing, the same
    ragged : length of the head's edge over that of the same edge smoothed, less 1, %
    """

    holes: float
    crumbs: float
    ragged: float


@dataclass(frozen=True)
class Sheet:
    """Points of the sheet: `pixel` (N, 2) where each is seen, `shows_face` (N,) bool: it shows the photo's face."""

    pixel: np.ndarray
    shows_face: np.ndarray


def faults(rgba: np.ndarray, tall: float) -> Faults:
    """Faults of one picture.

    Parameters
    ----------
    rgba : (h, w, 4) uint8, straight alpha: what moves
    tall : pixels from the face's top to its chin
    """
    scale = TALL / tall
    size = (max(round(rgba.shape[1] * scale), 1), max(round(rgba.shape[0] * scale), 1))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    alpha = cv2.resize(rgba[..., 3], size, interpolation=how)
    solid = alpha > OPAQUE
    count, labels = cv2.connectedComponents(solid.astype(np.uint8), connectivity=4)
    if count < 2:
        return Faults(100.0, 0.0, 0.0)
    sizes = np.bincount(np.asarray(labels).ravel())[1:]
    head = labels == 1 + int(sizes.argmax())
    crumbs = float(sizes[(sizes >= LEAST)].sum() - sizes.max())
    side = 2 * max(round(CLOSE * TALL / 2), 1) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    closed = cv2.morphologyEx(np.pad(head, side).astype(np.uint8), cv2.MORPH_CLOSE, kernel)
    closed = ndimage.binary_fill_holes(closed[side:-side, side:-side])
    holes = float((np.asarray(closed) & ~solid).sum())
    return Faults(100 * holes / TALL**2, 100 * crumbs / TALL**2, _ragged(head))


def excess(turned: list[Faults], rest: Faults) -> Faults:
    """The worst of all pictures over what there is at rest."""
    def worst(name: str) -> float:
        return max(0.0, max(getattr(one, name) for one in turned) - getattr(rest, name))

    return Faults(worst("holes"), worst("crumbs"), worst("ragged"))


def _ragged(head: np.ndarray) -> float:
    """% by which the edge of `head` (h, w) bool, within the picture, is longer than the same edge smoothed."""
    def length(mask: np.ndarray) -> float:
        edges = np.abs(np.diff(mask, axis=0))[:, 1:] ** 2 + np.abs(np.diff(mask, axis=1))[1:] ** 2
        return float(np.sqrt(edges).sum())

    fine = cv2.GaussianBlur(head.astype(np.float32), (0, 0), 1.5)
    broad = cv2.GaussianBlur(head.astype(np.float32), (0, 0), 6.0)
    return 100 * (length(fine) / max(length(broad), 1e-6) - 1)


def doubled(sheet: Sheet, outlines: np.ndarray, size: tuple[int, int], tall: float) -> float:
    """% of the sheet's points which show the face that lie beside the face that is drawn: a second chin or cheek.

    Parameters
    ----------
    sheet : as it is turned
    outlines : (F, 3, 2) pixels, the triangles of the face that is drawn, as it is turned
    size : width and height of the frame
    tall : pixels from the face's top to its chin
    """
    drawn = np.zeros(size[::-1], np.uint8)
    cv2.fillPoly(drawn, list(np.round(outlines).clip(-1 << 14, 1 << 14).astype(np.int32)), (1,))
    side = 2 * max(round(NEAR * tall), 1) + 1
    drawn = cv2.dilate(drawn, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
    x, y = np.round(sheet.pixel[sheet.shows_face]).astype(int).T
    inside = (x >= 0) & (y >= 0) & (x < size[0]) & (y < size[1])
    return float(100 * (drawn[y[inside], x[inside]] == 0).mean()) if inside.any() else 0.0
