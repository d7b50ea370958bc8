"""Hands before the face, frame by frame: MediaPipe's hand network, whose weights are part of its wheel."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np

from ml_backend.reconstruct.mesh import quiet, rgb, warm_up

MOST, POINTS = 2, 21
REACH = 2.2
"""Side of the picture in which hands are sought, in sides of the face crop: a whole hand is found best."""
LONGEST = 360
SURE = 0.5
THICK = 0.16
"""Of a hand's length by which flesh reaches beyond the joints that the network marks."""
PALM = (0, 1, 5, 9, 13, 17)
FINGERS = ((1, 2, 3, 4), (5, 6, 7, 8), (9, 10, 11, 12), (13, 14, 15, 16), (17, 18, 19, 20))


class HandFinder:
    """Follows up to two hands through the frames of a clip, given in order."""

    def __init__(self, network: Any, crop: np.ndarray) -> None:
        self._network = network
        x, y, side = (float(value) for value in crop)
        spare = (REACH - 1) / 2 * side
        self._window = (x - spare, y - spare, x + side + spare, y + side + spare)

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """(2, 21, 2) float32 pixels of `frame` (H, W, 3) uint8 RGB, NaN for hands that are not there."""
        height, width = frame.shape[:2]
        x0, y0 = (max(0, round(value)) for value in self._window[:2])
        x1, y1 = min(width, round(self._window[2])), min(height, round(self._window[3]))
        out = np.full((MOST, POINTS, 2), np.nan, np.float32)
        if x1 - x0 < 8 or y1 - y0 < 8:
            return out
        part = frame[y0:y1, x0:x1]
        scale = min(1.0, LONGEST / max(part.shape[:2]))
        small = cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        found = self._network.process(np.ascontiguousarray(rgb(small))).multi_hand_landmarks or []
        for hand, marks in zip(out, found, strict=False):
            hand[:] = [(x0 + point.x * (x1 - x0), y0 + point.y * (y1 - y0)) for point in marks.landmark]
        return out


@contextmanager
def hand_finder(crop: np.ndarray) -> Iterator[HandFinder]:
    """A `HandFinder` around the face crop (3,) x, y, side."""
    with quiet():
        import mediapipe  # here, since it takes a second: see `mesh.face_mesh`

        network = mediapipe.solutions.hands.Hands(  # pyright: ignore[reportAttributeAccessIssue]
           static_image_mode=False, max_num_hands=MOST, model_complexity=0,
                                                  min_detection_confidence=SURE)
        warm_up(network)
    try:
        yield HandFinder(network, crop)
    finally:
        network.close()


def hand_mask(hands: np.ndarray, size: tuple[int, int], feather: float = 0.0) -> np.ndarray:
    """Which pixels hands cover.

    Parameters
    ----------
    hands : (N, 21, 2) pixels, NaN for none
    size : height and width
    feather : pixels of soft edge

    Returns
    -------
    (H, W) float32 in [0, 1]
    """
    out = np.zeros(size, np.uint8)
    for hand in hands[np.isfinite(hands).all((1, 2))]:
        points = np.round(hand).astype(np.int32)
        thick = max(1, round(THICK * float(np.ptp(hand, 0).max())))
        cv2.fillConvexPoly(out, cv2.convexHull(points[list(PALM)]), (1,))
        for finger in (PALM, *FINGERS):
            cv2.polylines(out, [points[list(finger)]], finger == PALM, (1,), thick)
    mask = out.astype(np.float32)
    return cv2.GaussianBlur(mask, (0, 0), feather) if feather > 0 else mask
