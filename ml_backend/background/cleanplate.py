"""The room without the person, as far as a still camera has shown it: median of the frames where it was seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from ml_backend.background.headwarp import Behind
from ml_backend.progress import Progress, silent

SAMPLES = 15
"""Frames looked at, spread over the clip."""
LEAST = 3
"""Of these a pixel has to be seen in, free of the person."""
SPREAD = 7.0
"""Grey levels by which these may differ: more, and something moves there."""
STILL_SHARE = 0.7
"""Of the background has to hold still for the camera to count as standing."""
MARGIN = 0.08
"""Of a head's length kept between the person's mask and what counts as background."""


def clean_plate(frames: Sequence[np.ndarray], picks: Sequence[int], person: Callable[[int], np.ndarray], unit: float,
                *, progress: Progress = silent) -> Behind | None:
    """What is behind the person.

    Parameters
    ----------
    frames : (H, W, 3) uint8 RGB
    picks : numbers of the frames to look at, e.g. from `spread_picks`
    person : gives (H, W) float32, how surely each pixel of a frame shows a person
    unit : pixels of a head's length, chin to hairline

    Returns
    -------
    Behind, or None where the camera moves or too few frames are there to tell
    """
    if len(picks) < LEAST:
        return None
    pictures, free = [], []
    for done, number in enumerate(picks):
        picture = frames[number]
        reach = 2 * max(1, round(MARGIN * unit)) + 1
        solid = (person(number) > 0.2).astype(np.uint8)
        solid = cv2.dilate(solid, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
        pictures.append(picture)
        free.append(solid == 0)
        progress(done + 1, len(picks))
    return _middle(pictures, free)


def spread_picks(usable: np.ndarray) -> list[int]:
    """Up to `SAMPLES` numbers of the frames `usable` (T,) bool, evenly spread."""
    good = np.flatnonzero(usable)
    chosen = np.linspace(0, len(good) - 1, min(SAMPLES, len(good))).round().astype(int)
    return [int(number) for number in good[np.unique(chosen)]]


def _middle(pictures: list[np.ndarray], free: list[np.ndarray]) -> Behind | None:
    height, width = pictures[0].shape[:2]
    image, known = np.zeros((height, width, 3), np.uint8), np.zeros((height, width), np.float32)
    seen, still = 0, 0
    for top in range(0, height, 64):  # in strips: fifteen whole frames as whole numbers are half a gigabyte
        strip = slice(top, top + 64)
        stack = np.stack([picture[strip] for picture in pictures]).astype(np.int16)
        valid = np.stack([mask[strip] for mask in free])
        count = valid.sum(0)
        ordered = np.sort(np.where(valid[..., None], stack, 999), axis=0)
        middle = np.take_along_axis(ordered, np.maximum(count - 1, 0)[None, ..., None] // 2, 0)[0]
        apart = (np.abs(stack - middle).max(3) * valid).sum(0) / np.maximum(count, 1)
        enough = count >= LEAST
        sure = enough & (apart < SPREAD)
        seen, still = seen + int(enough.sum()), still + int(sure.sum())
        image[strip], known[strip] = np.where(sure[..., None], middle, 0), sure
    if seen == 0 or still < STILL_SHARE * seen:
        return None
    # Only a pixel whose neighbours are known too can be relied on wholly; the sum of a blur never exceeds that.
    inner = cv2.erode(known, np.ones((3, 3), np.uint8))
    soft = np.minimum(cv2.GaussianBlur(inner, (0, 0), 2.0), known)
    return Behind(image, soft)
