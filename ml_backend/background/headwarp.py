"""Moving the head within a plate, without bending or tearing what is behind it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ml_backend.background.composite import diffuse
from ml_backend.background.field import Field

STILL = 0.06
"""Pixels: smaller motion than this changes nothing that can be seen, and the plate stays as it is."""
RIM = 0.15
"""Of a head's length: how far around the person's mask single hairs are sought where the room is known."""
BLIND = 0.06
"""The same where it is not: what the mask leaves out, so far around it, goes with the person."""
CORE = 0.012
"""Of a head's length by which the mask, that is softer than the person, is drawn in before it counts as the person."""
BACKGROUND, HAIR = 8.0, 34.0
"""Grey levels from the empty room up to which a pixel of the rim is background, and from which it is the person."""
STRETCH = (0.3, 1.5)
"""Pixels of motion up to which stretching the surroundings goes unseen, and from which layers are needed."""
STRETCHED = 2.5
"""Times the motion: how far from the frame's edge what it cuts off is stretched, so that the edge still cuts it off."""
COARSE = 8
"""Pixels of the plate per pixel of the smooth difference between plate and empty room."""

@dataclass(frozen=True)
class Behind:
    """What is known of the background.

    Attributes
    ----------
    image : (H, W, 3) uint8, RGB
    known : (H, W) float32 in [0, 1], how far `image` was seen; elsewhere it is a guess
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
    pixels, and where the person was, what other frames show there, or a guess. Without, the surroundings are stretched
    along.

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
    here = plate[y0:y1, x0:x1]
    shift_x, shift_y = cv2.split(moved.shift)
    map_x = _within(shift_x, np.arange(x0, x1, dtype=np.float32), plate.shape[1])
    map_y = _within(shift_y, np.arange(y0, y1, dtype=np.float32)[:, None], plate.shape[0])
    fetched = cv2.remap(plate, map_x, map_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    # Where motion dies away, resampling must not soften the plate's own pixels.
    share = np.clip((cv2.max(np.abs(shift_x), np.abs(shift_y)) - STILL) / (0.5 - STILL), 0, 1)
    if person is not None and behind is not None:
        window = _window(moved, plate.shape)
        layer = Layer.of(plate[window], person[window], behind.part(window), unit)
        inner = (slice(y0 - window[0].start, y1 - window[0].start), slice(x0 - window[1].start, x1 - window[1].start))
        now = cv2.remap(layer.cover, map_x - window[1].start, map_y - window[0].start, cv2.INTER_LINEAR,
                        borderMode=cv2.BORDER_REPLICATE)
        uncovered = share * _rise(cv2.magnitude(shift_x, shift_y), *STRETCH) * (1 - now)
        share = share - uncovered
        shown = uncovered * layer.hidden[inner]
        # A blend with a weight of zero keeps the bytes; it divides by the sum of the weights.
        here = cv2.blendLinear(here, layer.room[inner], 1 - share - shown, shown)
    out = plate.copy()
    out[y0:y1, x0:x1] = cv2.blendLinear(here, fetched, 1 - share, share)
    return out


def _within(shift: np.ndarray, place: np.ndarray, size: int) -> np.ndarray:
    """(h, w) float32: where pixels at `place` are fetched from, moved by `shift` as far as the frame of `size` goes.

    Hair that the frame cuts off stays cut off there, and is stretched a little: beyond the frame nothing is known.
    """
    room = np.where(shift < 0, place, size - 1 - place)
    share = np.clip(room / (STRETCHED * np.maximum(np.abs(shift), np.float32(1e-6))), 0, 1)
    return (place + shift * share).astype(np.float32)


@dataclass(frozen=True)
class Layer:
    """The person cut out of a plate, and what is behind.

    Attributes
    ----------
    cover : (h, w) float32 in [0, 1], how far the person covers a pixel
    hidden : (h, w) float32 in [0, 1], where the plate doesn't show the room
    room : (h, w, 3) uint8, the empty room in this plate's light
    """

    cover: np.ndarray
    hidden: np.ndarray
    room: np.ndarray

    @classmethod
    def of(cls, plate: np.ndarray, person: np.ndarray, behind: Behind, unit: float) -> Layer:
        """Cut the person out of `plate` (h, w, 3) uint8: by the mask, in its rim by what differs from the room."""
        away, known = _away(person, unit), behind.known
        rim = BLIND + known * np.float32(RIM - BLIND)
        clear = _rise(away, 0.6 * rim, 1.3 * rim)
        room = _in_this_light(behind.image, plate, clear * known)
        unlike = cv2.GaussianBlur(_rise(_apart(plate, room), BACKGROUND, HAIR), (0, 0), 0.8)
        near = 1 - _rise(away, 0.5 * rim, rim)
        core = 1 - _rise(away, -3 * CORE, -CORE)
        blind = 1 - _rise(away, 0.0, 0.5 * BLIND)  # where the room is not known, the mask alone decides
        cover = np.maximum(core, near * (known * unlike + (1 - known) * blind))
        return cls(cover.astype(np.float32), 1 - clear, room)


def _away(person: np.ndarray, unit: float) -> np.ndarray:
    """(h, w) float32 lengths from the person's outline, negative within; at half the resolution, as smooth as it is."""
    small = cv2.resize(person, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    solid = (small > 0.5).astype(np.uint8)
    signed = cv2.distanceTransform(1 - solid, cv2.DIST_L2, 5) - cv2.distanceTransform(solid, cv2.DIST_L2, 5)
    return cv2.resize(signed, person.shape[::-1], interpolation=cv2.INTER_LINEAR) * np.float32(2 / unit)


def _in_this_light(room: np.ndarray, plate: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(h, w, 3) uint8: `room` with its smooth difference from `plate` made up for, known where there is `weight`."""
    size = tuple(max(1, round(length / COARSE)) for length in weight.shape[::-1])
    small = [cv2.resize(picture, size, interpolation=cv2.INTER_AREA) for picture in (plate, room)]
    share = cv2.resize(weight, size, interpolation=cv2.INTER_AREA) * (1 - _rise(_apart(*small), HAIR, 2 * HAIR))
    difference = cv2.subtract(*small, dtype=cv2.CV_32F)
    field = diffuse(cv2.merge([*cv2.split(difference * share[..., None]), share]))
    field = cv2.resize(field, weight.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return cv2.add(room, field, dtype=cv2.CV_8U)


def _apart(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(h, w) float32 largest difference of the channels of two uint8 pictures."""
    red, green, blue = cv2.split(cv2.absdiff(first, second))
    return cv2.max(cv2.max(red, green), blue).astype(np.float32)


def _window(moved: Field, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """The field's box and as much around it as it fetches from."""
    x0, y0, x1, y1 = moved.box
    reach = int(np.ceil(moved.largest)) + 8
    return (slice(max(0, y0 - reach), min(shape[0], y1 + reach)), slice(max(0, x0 - reach), min(shape[1], x1 + reach)))


def _rise(value: np.ndarray, begin: float | np.ndarray, end: float | np.ndarray) -> np.ndarray:
    """0 up to `begin`, smoothly up to 1 at `end`."""
    part = np.clip((value - begin) / (end - begin), 0, 1)
    return (part * part * (3 - 2 * part)).astype(np.float32)
