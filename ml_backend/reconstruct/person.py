"""Which pixels show a person, and which of these face, hair, neck and body: MediaPipe's selfie segmentation, whose
weights are part of its wheel, the fitted mesh, and colours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from ml_backend.face_model.model import FaceModel
from ml_backend.reconstruct.mesh import quiet, rgb, warm_up
from ml_backend.reconstruct.posed import Posed

NETWORK_SIDE = 256
"""Pixels: the network sees its picture at this size."""
HEAD_FACES = 3.2
"""Side of the picture in which a head's parts are told apart, in faces: hair, neck, and some of the clothes."""
TOP, CHIN = 10, 152
"""MediaPipe's points at the face's ends."""
LEAST_SEED = 30
UNLIKE = -18.0
"""Log likelihood of a colour that is none of a part's: others may still be less likely there."""


def person_mask(frame: np.ndarray, window: np.ndarray | None = None) -> np.ndarray:
    """(H, W) float32 in [0, 1]: how surely each pixel shows a person, hair and clothes included.

    Parameters
    ----------
    frame : (H, W, 3) RGB uint8
    window : (3,) x, y, side, pixels: look there only, which resolves a head in a large frame better; 0 outside
    """
    with person_finder() as find:
        return find(frame, window)


@contextmanager
def person_finder() -> Iterator[Callable[[np.ndarray, np.ndarray | None], np.ndarray]]:
    """`person_mask` for many frames, in any order: setting up the network takes longer than a frame does."""
    with _network() as network:
        yield lambda frame, window: _found(network, rgb(frame), window)


def _found(network: Any, picture: np.ndarray, window: np.ndarray | None) -> np.ndarray:
    if window is None:
        return _segment(network, picture)
    height, width = picture.shape[:2]
    x, y, side = (round(float(value)) for value in window)
    left, top, right, bottom = max(x, 0), max(y, 0), min(x + side, width), min(y + side, height)
    out = np.zeros((height, width), np.float32)
    if right - left < 2 or bottom - top < 2:
        return out
    out[top:bottom, left:right] = _segment(network, np.ascontiguousarray(picture[top:bottom, left:right]))
    return out


def inner(mask: np.ndarray, margin: float) -> np.ndarray:
    """(H, W) float32: `mask` drawn in by `margin` pixels, with an edge as soft as that."""
    radius = max(1, round(margin))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    out = np.zeros_like(mask)
    x, y, wide, tall = cv2.boundingRect((mask > 0.25).astype(np.uint8))
    part = (slice(max(y - 2 * radius, 0), y + tall + 2 * radius), slice(max(x - 2 * radius, 0), x + wide + 2 * radius))
    # Beyond the picture's edge the person goes on.
    sure = cv2.erode(np.clip(2 * mask[part] - 0.5, 0, 1), kernel, borderType=cv2.BORDER_REPLICATE)
    out[part] = np.minimum(sure, cv2.GaussianBlur(sure, (0, 0), radius / 2, borderType=cv2.BORDER_REPLICATE))
    return out


def _segment(network: Any, picture: np.ndarray) -> np.ndarray:
    scale = NETWORK_SIDE / max(picture.shape[:2])
    small = picture if scale >= 1 else cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    found = network.process(np.ascontiguousarray(small)).segmentation_mask
    full = cv2.resize(np.asarray(found, np.float32), picture.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return np.clip(full, 0, 1)


@contextmanager
def _network() -> Iterator[Any]:
    with quiet():
        import mediapipe  # here, since it takes a second: see `mesh.face_mesh`

        network = mediapipe.solutions.selfie_segmentation.SelfieSegmentation(model_selection=0)
        warm_up(network)
    try:
        yield network
    finally:
        network.close()


@dataclass(frozen=True)
class HeadMasks:
    """What of a person a pixel shows; each (H, W) float32 in [0, 1], together at most the person's share.

    Attributes
    ----------
    face : the model's face region
    hair : hair, a hat, a bald head's top
    neck : skin beyond the face region: neck, ears, the forehead's upper end
    body : clothes, hands and all the rest
    """

    face: np.ndarray
    hair: np.ndarray
    neck: np.ndarray
    body: np.ndarray

    @property
    def head(self) -> np.ndarray:
        """Hair and neck without the face: what has to move with a face that is drawn anew."""
        return self.hair + self.neck


def head_masks(view: Posed, landmarks: np.ndarray, model: FaceModel) -> HeadMasks:
    """Tell face, hair, neck and body apart in one frame.

    MediaPipe's selfie segmentation knows the person only. The face is where the fitted mesh is; what is left is hair,
    skin or clothes by the colours found above, in and far below the face, and by where they can be.

    Parameters
    ----------
    view : the frame with the mesh over it, see `posed.place`
    landmarks : (478, ≥2) pixels of the frame
    model : of the mesh
    """
    flat = landmarks[:, :2].astype(float) - 0.5
    side = float(np.ptp(flat, axis=0).max())
    window = np.array([*(flat.min(0) + flat.max(0)) / 2 - HEAD_FACES * side / 2, HEAD_FACES * side])
    person = person_mask(view.image, window)
    face = np.minimum(_drawn(view, model), person)
    low = np.clip(np.floor(window[:2]), 0, None).astype(int)
    high = np.minimum(np.ceil(window[:2] + window[2]).astype(int), view.image.shape[1::-1])
    part = (slice(low[1], high[1]), slice(low[0], high[0]))
    rest = person - face
    out = [np.zeros_like(person) for _ in range(3)]
    if rest[part].size:
        shares = _shares(view.image[part], face[part], rest[part], _along(flat, low, rest[part].shape))
        for mask, share in zip(out, np.moveaxis(shares, -1, 0), strict=True):
            mask[part] = rest[part] * share
    return HeadMasks(face, *out)


def _drawn(view: Posed, model: FaceModel) -> np.ndarray:
    """(H, W) float32 share of each pixel that the face region of the mesh covers, an edge two pixels soft."""
    triangles = model.triangles()
    near = (model.region("face")[triangles] > 0.5).all(1) & (view.facing[triangles].max(1) > 0)
    drawn = np.zeros(view.image.shape[:2], np.float32)
    for polygon in np.round(view.pixel[triangles[near]] * 16).clip(-(1 << 24), 1 << 24).astype(np.int32):
        cv2.fillConvexPoly(drawn, polygon, (1.0,), shift=4)
    return cv2.GaussianBlur(drawn, (0, 0), 1.0)


def _along(flat: np.ndarray, corner: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """(H, W, 2) of each pixel: to the side of the face's middle, and down from the chin, in face heights."""
    top, chin = flat[TOP], flat[CHIN]
    tall = max(float(np.linalg.norm(chin - top)), 1.0)
    down = (chin - top) / tall
    y, x = np.mgrid[0:shape[0], 0:shape[1]]
    offset = np.stack([x, y], -1) + corner - chin
    return np.stack([offset @ [-down[1], down[0]], offset @ down], -1) / tall


def _shares(image: np.ndarray, face: np.ndarray, rest: np.ndarray, along: np.ndarray) -> np.ndarray:
    """(H, W, 3) shares of hair, neck and body, sum 1, in pixels of the person that are not the face."""
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.float32) * [0.5, 1.0, 1.0]
    across, down = np.abs(along[..., 0]), along[..., 1]
    sure = rest > 0.8
    seeds = (sure & (down < -1.02) & (across < 0.5), face > 0.9, sure & (down > 0.55))
    # Where each can be at all: log odds that fall off outside.
    hair = -8 * np.clip(down - 0.25, 0, None) - 30 * np.clip(0.35 - across, 0, None) * (down > -0.2)
    neck = -12 * (np.clip(down - 0.45, 0, None) + np.clip(-0.75 - down, 0, None)) - 8 * np.clip(across - 0.5, 0, None)
    body = -14 * np.clip(0.12 - down, 0, None)
    scores = [place + _likeness(lab, seed) for place, seed in zip((hair, neck, body), seeds, strict=True)]
    odds = np.exp(np.stack(scores, -1) - np.max(scores, axis=0)[..., None])
    return cv2.blur((odds / odds.sum(-1, keepdims=True)).astype(np.float32), (3, 3))


def _likeness(lab: np.ndarray, seed: np.ndarray) -> np.ndarray:
    """(H, W) log likelihood, down to a floor, of colours `lab` under a Gaussian of those at `seed` (H, W) bool."""
    if seed.sum() < LEAST_SEED:
        return np.full(seed.shape, UNLIKE / 2, np.float32)
    known = lab[seed]
    middle = np.median(known, axis=0)
    spread = np.maximum(np.median(np.abs(known - middle), axis=0) * 1.4826, 5.0)
    return np.maximum(-0.5 * (((lab - middle) / spread) ** 2).sum(-1) - np.log(spread).sum(), UNLIKE)
