"""The whole face as one texture, eyes and mouth included, with the modes by which it changes; see `living`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from ml_backend.artefacts.face_track import FaceTrack
from ml_backend.face_model.model import FaceModel
from ml_backend.reconstruct import living
from ml_backend.reconstruct.observed import Seen, Texels, face_texels, observe
from ml_backend.reconstruct.paint import inner_shade
from ml_backend.reconstruct.posed import Posed
from ml_backend.reconstruct.unwrap import push_pull

SIDE = 512
"""Texels along the side of a mode, and of the grid on which frames are compared."""
DIM = 0.6
"""Share of the light that gets into a mouth, where no frame shows how much."""
MARGIN = 3
"""Texels around what is covered that are filled too."""
STEPS, ZERO = 127, 128
"""Of a mode's 8 bits: its largest value, and where it adds nothing."""
LARGEST = 99.9
"""Percentile of a mode's values that its 8 bits must hold."""


@dataclass(frozen=True)
class Enlivened:
    """`sheet` (S, S, 3) uint8, the albedo of skin, eyes and mouth; `modes` (M, SIDE, SIDE, 3) uint8; what drives them.

    A mode adds ``scale · weight · (value − 128) / 255`` to the albedo; `scale` (M,) float32.
    """

    sheet: np.ndarray
    modes: np.ndarray
    scale: np.ndarray
    drive: living.Drive


def enlivened(track: FaceTrack, model: FaceModel, rest: np.ndarray, sheet: np.ndarray, low: np.ndarray,
              light: np.ndarray, view_of: Callable[[int], Posed]) -> Enlivened | None:
    """`sheet` come alive, None for a photo, a short clip, or one whose expressions don't tell how its face changes.

    Parameters
    ----------
    track : of the clip
    rest : (V, 3) neutral shape
    sheet : (S, S, 3) uint8 albedo of the skin
    low : (V, 3) colours of the vertices, of which eyes and mouth are taken
    light : (9, 3)
    view_of : the mesh over a frame, with the person told from the background
    """
    numbers = living.fit_frames(track)
    if len(numbers) < living.LEAST_FRAMES:
        return None
    texels = face_texels(model, SIDE)
    if not texels.apart:
        return None
    small = cv2.resize(sheet, (SIDE, SIDE), interpolation=cv2.INTER_AREA).reshape(-1, 3)[texels.chart.cover.pixel] / 255
    base = np.where(texels.inner[:, None], _inside(model, rest, low, texels), small).astype(np.float32)
    seen = observe(numbers, view_of, texels, light, base)
    thin = Seen(*(values[:, ::living.THINNED].astype(np.float32) for values in (seen.residual, seen.weight)))
    names, values = living.features(track)
    found = living.fit(seen, thin, names, values[numbers], texels.spread)
    if found is None:
        return None
    coded, scale = _coded(found.modes, texels)
    return Enlivened(_whole(sheet, base, found.middle, texels), coded, scale, found.drive)


def _inside(model: FaceModel, rest: np.ndarray, low: np.ndarray, texels: Texels) -> np.ndarray:
    """(N, 3) albedo of eyes and mouth with the shade in them, where the rig no longer shades."""
    shade = np.where(texels.mouth, DIM, 1) * texels.interpolate(inner_shade(model, rest)[:, None])[:, 0]
    return texels.interpolate(low) * shade[:, None]


def _whole(sheet: np.ndarray, base: np.ndarray, middle: np.ndarray, texels: Texels) -> np.ndarray:
    """(S, S, 3) uint8: `sheet` with eyes and mouth of `base`, moved to what the frames show in the mean."""
    inner = texels.inner[:, None]
    painted, where = _filled(base * inner, texels, inner[:, 0])
    moved, near = _filled(middle, texels, np.ones(len(texels), bool))
    side = sheet.shape[0]
    painted, moved = (cv2.resize(picture * mask[..., None], (side, side), interpolation=cv2.INTER_LINEAR)
                      for picture, mask in ((painted, where), (moved, near)))
    mask = cv2.resize(where, (side, side), interpolation=cv2.INTER_LINEAR)[..., None]
    whole = painted + (1 - mask) * (sheet / np.float32(255)) + moved
    return np.round(np.clip(whole, 0, 1) * 255).astype(np.uint8)


def _filled(values: np.ndarray, texels: Texels, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(SIDE, SIDE, 3) picture of `values` (N, 3) at texels `chosen`, carried on beyond them; where it counts, 0 or 1.
    """
    cover = texels.chart.cover
    mask = np.zeros(SIDE * SIDE, np.float32)
    mask[cover.pixel[chosen]] = 1
    mask = mask.reshape(SIDE, SIDE)
    size = 2 * MARGIN + 1
    return push_pull(cover.image(values), mask), cv2.dilate(mask, np.ones((size, size), np.uint8))


def _coded(modes: np.ndarray, texels: Texels) -> tuple[np.ndarray, np.ndarray]:
    """(M, SIDE, SIDE, 3) uint8 of `modes` (M, N, 3), and the scale (M,) that turns them back."""
    coded, scale = np.zeros((len(modes), SIDE, SIDE, 3), np.uint8), np.zeros(len(modes), np.float32)
    everywhere = np.ones(len(texels), bool)
    for number, mode in enumerate(modes):
        largest = max(float(np.percentile(np.abs(mode), LARGEST)), 1e-6)
        picture, mask = _filled(mode, texels, everywhere)
        value = np.clip(picture * mask[..., None] / largest, -1, 1)
        coded[number], scale[number] = np.round(ZERO + STEPS * value), largest * 255 / STEPS
    return coded, scale
