"""The room without the person, as far as a still camera has shown it: median of the frames where it was seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from ml_backend.background.fill import filled
from ml_backend.background.headwarp import Behind
from ml_backend.progress import Progress, silent

SAMPLES, EXTREMES = 10, 10
"""Frames looked at: spread over the clip, and those in which the head is furthest from where it was in the others."""
LEAST = 3
"""Fewer frames than this tell nothing."""
SEEN = 2
"""Of these a pixel has to be seen in, free of the person."""
SPREAD = 7.0
"""Grey levels by which these may differ: more, and something moves there."""
STILL_SHARE = 0.7
"""Of the background has to hold still for the camera to count as standing."""
MARGIN = 0.07
"""Of a head's length kept between the person's mask and what counts as background."""
STRIP = 64


def clean_plate(frames: Sequence[np.ndarray], picks: Sequence[int], person: Callable[[int], np.ndarray], unit: float,
                *, region: tuple[slice, slice] | None = None, progress: Progress = silent) -> Behind | None:
    """What is behind the person.

    Parameters
    ----------
    frames : (H, W, 3) uint8 RGB
    picks : numbers of the frames to look at, e.g. from `spread_picks`
    person : gives (H, W) float32, how surely each pixel of a frame shows a person
    unit : pixels of a head's length, chin to hairline
    region : rows and columns of the frames that matter; all by default

    Returns
    -------
    Behind, empty outside the region, its unknown parts guessed (see `fill`), or None where the camera moves or too few
    frames are there to tell
    """
    if len(picks) < LEAST:
        return None
    pictures, free = [], []
    reach = 2 * max(1, round(MARGIN * unit)) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    part = region or (slice(None), slice(None))
    shape = (0, 0)
    for done, number in enumerate(picks):
        picture, mask = frames[number], person(number)
        shape = picture.shape[:2]
        pictures.append(picture[part].copy())
        free.append(cv2.dilate((mask[part] > 0.2).astype(np.uint8), kernel) == 0)
        progress(done + 1, len(picks))
    found = _middle(pictures, free)
    if found is None:
        return None
    image, known = np.zeros((*shape, 3), np.uint8), np.zeros(shape, np.float32)
    image[part], known[part] = filled(found[0], found[1] > 0, unit), found[1]
    return Behind(image, known)


def spread_picks(usable: np.ndarray, place: np.ndarray | None = None) -> list[int]:
    """Numbers of frames that `usable` (T,) bool allows: `SAMPLES` evenly spread and up to `EXTREMES` by their `place`.

    `place` (T, D) says where the head is; each further frame is the one furthest from all that are chosen.
    """
    good = np.flatnonzero(usable)
    chosen = good[np.unique(np.linspace(0, len(good) - 1, min(SAMPLES, len(good))).round().astype(int))].tolist()
    if place is not None and chosen:
        there = np.asarray(place, np.float64)[good]
        far = np.min([np.linalg.norm(there - place[number], axis=1) for number in chosen], axis=0)
        for _ in range(EXTREMES):
            if far.max() <= 0:
                break
            chosen.append(int(good[far.argmax()]))
            far = np.minimum(far, np.linalg.norm(there - place[chosen[-1]], axis=1))
    return sorted(int(number) for number in chosen)


def _middle(pictures: list[np.ndarray], free: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray] | None:
    height, width = pictures[0].shape[:2]
    image, known = np.zeros((height, width, 3), np.uint8), np.zeros((height, width), np.float32)
    seen, still = 0, 0
    for top in range(0, height, STRIP):  # in strips: all at once would be half a gigabyte
        strip = slice(top, top + STRIP)
        stack = np.stack([picture[strip] for picture in pictures])
        valid = np.stack([mask[strip] for mask in free])
        count = valid.sum(0)
        ordered = np.sort(np.where(valid[..., None], stack, np.uint8(255)), axis=0)
        middle = np.take_along_axis(ordered, np.maximum(count - 1, 0)[None, ..., None] // 2, 0)[0]
        apart = (_apart(stack, middle) * valid).sum(0) / np.maximum(count, 1)
        enough = count >= SEEN
        sure = enough & (apart < SPREAD)
        seen, still = seen + int(enough.sum()), still + int(sure.sum())
        image[strip], known[strip] = np.where(sure[..., None], middle, 0), sure
    if seen == 0 or still < STILL_SHARE * seen:
        return None
    # Only a pixel whose neighbours are known too can be relied on wholly; the sum of a blur never exceeds that.
    inner = cv2.erode(known, np.ones((3, 3), np.uint8))
    soft = np.minimum(cv2.GaussianBlur(inner, (0, 0), 2.0), known)
    return image, soft


def _apart(stack: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """(N, h, w) uint8 largest difference of the channels of (N, h, w, 3) from (h, w, 3), both uint8."""
    apart = np.maximum(stack, middle) - np.minimum(stack, middle)
    return np.maximum(np.maximum(apart[..., 0], apart[..., 1]), apart[..., 2])
