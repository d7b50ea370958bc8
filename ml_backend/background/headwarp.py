"""Moving the head within a plate, without bending or tearing what is behind it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ml_backend.background.composite import diffuse
from ml_backend.background.field import Field

STILL = 0.06
"""Pixels: smaller motion than this changes nothing that can be seen, and the plate stays as it is."""
RIM = 0.09
"""Of a head's length: how far around the person's mask single hairs are sought."""
CORE = 0.012
"""Of a head's length by which the mask, that is softer than the person, is drawn in before it counts as the person."""
BACKGROUND, HAIR = 8.0, 34.0
"""Grey levels from the empty room up to which a pixel of the rim is background, and from which it is the person."""
STRETCH = (0.3, 1.5)
"""Pixels of motion up to which stretching the surroundings goes unseen, and from which layers are needed."""
COARSE = 4
"""Pixels of the plate per pixel of the smooth difference between plate and empty room."""


@dataclass(frozen=True)
class Behind:
    """What is known of the background.

    Attributes
    ----------
    image : (H, W, 3) float32 or uint8, RGB
    known : (H, W) float32 in [0, 1], how far `image` can be relied on
    """

    image: np.ndarray
    known: np.ndarray

    def part(self, window: tuple[slice, slice]) -> Behind:
        """The same of a window of the frame."""
        return Behind(self.image[window], self.known[window])


def move_head(plate: np.ndarray, moved: Field, person: np.ndarray | None, behind: Behind | None,
              unit: float) -> np.ndarray:
    """`plate` with its head moved by the field.

    With `behind`, the person is moved as a layer over a background that stays: beside the person the plate's own
    pixels, and where the person was, what other frames show there. Without, the surroundings are stretched along.

    Parameters
    ----------
    plate : (H, W, 3) uint8 RGB
    moved : see `field.field`
    person : (H, W) float32 in [0, 1], how surely a pixel shows the person; None where that is not known
    behind : None where the camera moves
    unit : pixels of a head's length, chin to hairline

    Returns
    -------
    (H, W, 3) uint8, `plate` itself where nothing moves
    """
    if moved.largest < STILL:
        return plate
    x0, y0, x1, y1 = moved.box
    part = (slice(y0, y1), slice(x0, x1))
    rows, columns = np.mgrid[:y1 - y0, :x1 - x0].astype(np.float32)
    map_x, map_y = columns + x0 + moved.shift[..., 0], rows + y0 + moved.shift[..., 1]
    fetched = cv2.remap(plate, map_x, map_y, cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
    here = plate[part].astype(np.float32)
    amount = np.abs(moved.shift).max(2)
    if person is not None and behind is not None:
        window = _window(moved, plate.shape)
        layer = Layer.of(plate[window].astype(np.float32), person[window], behind.part(window), unit)
        inner = (slice(y0 - window[0].start, y1 - window[0].start), slice(x0 - window[1].start, x1 - window[1].start))
        now = cv2.remap(layer.cover, map_x - window[1].start, map_y - window[0].start, cv2.INTER_LINEAR,
                        borderMode=cv2.BORDER_REPLICATE)[..., None]
        ground = here + layer.hidden[inner] * (layer.room[inner] - here)
        layered = ground + now * (fetched - ground)
        far = _rise(np.linalg.norm(moved.shift, axis=2), *STRETCH)[..., None]
        fetched = fetched + far * (layered - fetched)
    # Where motion dies away, resampling must not soften the plate's own pixels.
    share = np.clip((amount - STILL) / (0.5 - STILL), 0, 1)[..., None]
    out = plate.copy()
    mixed = np.clip(here + share * (fetched - here) + 0.5, 0, 255).astype(np.uint8)
    out[part] = np.where(share > 0, mixed, plate[part])
    return out


@dataclass(frozen=True)
class Layer:
    """The person cut out of a plate, and what is behind.

    Attributes
    ----------
    cover : (h, w) float32 in [0, 1], how far the person covers a pixel
    hidden : (h, w, 1) float32 in [0, 1], where the plate doesn't show the room
    room : (h, w, 3) float32, the empty room in this plate's light; where no frame shows it, what is around it, smoothly
    """

    cover: np.ndarray
    hidden: np.ndarray
    room: np.ndarray

    @classmethod
    def of(cls, plate: np.ndarray, person: np.ndarray, behind: Behind, unit: float) -> Layer:
        """Cut the person out of `plate` (h, w, 3) float32: by the mask, in its rim by what differs from the room."""
        solid = (person > 0.5).astype(np.uint8)
        out = cv2.distanceTransform(1 - solid, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) / unit
        depth = cv2.distanceTransform(solid, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) / unit
        away = out - depth
        clear = _rise(away, 0.6 * RIM, 1.3 * RIM)
        room, known = behind.image.astype(np.float32), behind.known
        alike = 1 - _rise(np.abs(plate - room).max(2), HAIR, 2 * HAIR)
        room = room + _smooth(plate - room, clear * known * alike)
        unlike = _rise(np.abs(plate - room).max(2), BACKGROUND, HAIR)
        unlike = cv2.GaussianBlur(unlike, (0, 0), 0.8)
        near = 1 - _rise(away, 0.5 * RIM, RIM)
        core = 1 - _rise(away, -3 * CORE, -CORE)
        blind = 1 - _rise(away, 0.0, 0.4 * RIM)  # where the room is not known, the mask alone decides
        cover = np.maximum(core, near * (known * unlike + (1 - known) * blind))
        own = clear * (1 - known)
        sure = known + own
        room = (known[..., None] * room + own[..., None] * plate) / np.maximum(sure, 1e-6)[..., None]
        room = room + (1 - sure)[..., None] * (_smooth(room, sure) - room)
        return cls(cover.astype(np.float32), (1 - clear)[..., None], room)


def _window(moved: Field, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """The field's box and as much around it as it fetches from."""
    x0, y0, x1, y1 = moved.box
    reach = int(np.ceil(moved.largest)) + 8
    return (slice(max(0, y0 - reach), min(shape[0], y1 + reach)), slice(max(0, x0 - reach), min(shape[1], x1 + reach)))


def _smooth(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(h, w, 3): the smooth part of `values` where there is `weight`, carried on to where there is none."""
    size = tuple(max(1, round(length / COARSE)) for length in weight.shape[::-1])
    total = np.dstack([values * weight[..., None], weight]).astype(np.float32)
    field = diffuse(cv2.resize(total, size, interpolation=cv2.INTER_AREA))
    return cv2.resize(field, weight.shape[::-1], interpolation=cv2.INTER_LINEAR)


def _rise(value: np.ndarray, begin: float, end: float) -> np.ndarray:
    """0 up to `begin`, smoothly up to 1 at `end`."""
    part = np.clip((value - begin) / (end - begin), 0, 1)
    return (part * part * (3 - 2 * part)).astype(np.float32)
