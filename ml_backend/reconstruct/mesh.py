"""MediaPipe's networks as functions of pictures: Face Mesh and the full-range face detector of version 0.10.21."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any

import cv2
import numpy as np

from ml_backend.reconstruct.points import COUNT

CROP_PIXELS = 384
"""Side of the picture that a crop is brought to."""
UNREFINED = 468
_ERRORS = RLock()
"""Held while the error stream is turned away: two threads that do so at once would leave it turned away."""
Network = Any
"""MediaPipe's solution objects, which have no usable types."""


def view(frame: np.ndarray, window: np.ndarray | None) -> tuple[np.ndarray, float, np.ndarray]:
    """The picture to look at, pixels of the frame per pixel of it, and its corner in the frame."""
    if window is None:
        return frame, 1.0, np.zeros(2, np.float32)
    x, y, side = (round(float(value)) for value in window)
    height, width = frame.shape[:2]
    left, top = max(x, 0), max(y, 0)
    part = frame[top:max(min(y + side, height), top + 1), left:max(min(x + side, width), left + 1)]
    padded = cv2.copyMakeBorder(part, top - y, max(y + side - top - part.shape[0], 0), left - x,
                                max(x + side - left - part.shape[1], 0), cv2.BORDER_REPLICATE)
    image = cv2.resize(padded, (CROP_PIXELS, CROP_PIXELS),
                       interpolation=cv2.INTER_CUBIC if side < CROP_PIXELS else cv2.INTER_AREA)
    return image, side / CROP_PIXELS, np.array([x, y], np.float32)


def run(network: Network, image: np.ndarray) -> list[np.ndarray]:
    """Faces (478, 3), or (468, 3) by a network that does not refine, float32 in pixels of `image`."""
    result = network.process(image)
    height, width = image.shape[:2]
    scale = np.array([width, height, width], np.float32)
    faces = [points_of(face) for face in result.multi_face_landmarks or []]
    return [face * scale for face in faces if len(face) in (COUNT, UNREFINED)]


def points_of(face: Any) -> np.ndarray:
    """(N, 3) float32 of MediaPipe's landmark list, read from its bytes: field by field takes too long."""
    coded = np.frombuffer(face.SerializeToString(), np.uint8)
    # Every point is a message of 15 bytes: x, y, z, each a tag (field number << 3 | 5) and four bytes.
    if len(coded) % 17 == 0:
        rows = coded.reshape(-1, 17)
        if bool((rows[:, [0, 1, 2, 7, 12]] == [0x0A, 15, 0x0D, 0x15, 0x1D]).all()):
            values = np.ascontiguousarray(rows[:, [3, 4, 5, 6, 8, 9, 10, 11, 13, 14, 15, 16]])
            return values.view("<f4").astype(np.float32)
    return np.array([(point.x, point.y, point.z) for point in face.landmark], np.float32).reshape(-1, 3)


def find_boxes(pictures: Iterable[np.ndarray]) -> list[list[np.ndarray]]:
    """Faces (x, y, side), centre and pixels, of each RGB picture by the full-range detector.

    It sees smaller faces than Face Mesh; where it sees none either, it looks again at tiles of the picture.
    """
    out: list[list[np.ndarray]] = []
    with face_detector() as detector:
        for picture in pictures:
            height, width = picture.shape[:2]
            whole = [(0, 0, width, height)]
            found: list[tuple[float, float, float, float]] = []
            for tiles in (whole, _tiles(width, height)):
                found = [box for tile in tiles for box in _detect_in(detector, picture, tile)]
                if found:
                    break
            out.append(_once_each(found))
    return out


def count_near(pictures: Iterable[np.ndarray]) -> list[int]:
    """How many faces the detector that Face Mesh begins with sees in each RGB picture."""
    with face_detector(near=True) as detector:
        return [len(detector.process(picture).detections or []) for picture in pictures]


def _once_each(found: list[tuple[float, float, float, float]]) -> list[np.ndarray]:
    """Boxes without those that an overlapping tile shows again; the surest of each stays."""
    kept: list[np.ndarray] = []
    for _, x, y, side in sorted(found, reverse=True):
        if all(np.hypot(x - other[0], y - other[1]) > 0.5 * max(side, other[2]) for other in kept):
            kept.append(np.array([x, y, side]))
    return kept


def _detect_in(detector: Network, picture: np.ndarray, tile: tuple[int, int, int, int]
               ) -> list[tuple[float, float, float, float]]:
    """(score × side, x, y, side) of faces within `tile` (x0, y0, x1, y1), pixels of the picture."""
    x0, y0, x1, y1 = tile
    result = detector.process(np.ascontiguousarray(picture[y0:y1, x0:x1]))
    out = []
    for face in result.detections or []:
        box = face.location_data.relative_bounding_box
        wide, tall = box.width * (x1 - x0), box.height * (y1 - y0)
        side = max(wide, tall)
        out.append((float(face.score[0]) * side, x0 + box.xmin * (x1 - x0) + wide / 2,
                    y0 + box.ymin * (y1 - y0) + tall / 2, side))
    return out


def _tiles(width: int, height: int) -> list[tuple[int, int, int, int]]:
    """Overlapping squares of half the frame's shorter side."""
    side = max(min(width, height) // 2, min(width, height, 128))
    across = np.unique(np.linspace(0, width - side, int(np.ceil(2 * width / side)) - 1).round().astype(int))
    down = np.unique(np.linspace(0, height - side, int(np.ceil(2 * height / side)) - 1).round().astype(int))
    return [(int(x), int(y), int(x) + side, int(y) + side) for y in down for x in across]


def rgb(frame: np.ndarray) -> np.ndarray:
    """Contiguous uint8 (H, W, 3)."""
    if frame.ndim == 2:
        frame = np.repeat(frame[..., None], 3, 2)
    return np.ascontiguousarray(frame[..., :3])


@contextmanager
def face_mesh(*, static: bool, faces: int, refine: bool = True) -> Iterator[Network]:
    """Face Mesh for up to `faces` faces; unless `static`, pictures in order of time.

    With `refine`, 478 points, iris among them; without, 468 in half the time.
    """
    with quiet():
        import mediapipe  # here, since it takes a second and chatters: only those who track pay

        network = mediapipe.solutions.face_mesh.FaceMesh(static_image_mode=static, refine_landmarks=refine,
                                                         max_num_faces=faces)
        warm_up(network)
    try:
        yield network
    finally:
        network.close()


def warm_up(network: Network) -> None:
    """Show `network` an empty picture: its threads have opened, and said what they have to say, before it answers."""
    network.process(np.zeros((64, 64, 3), np.uint8))


def reset(network: Network) -> None:
    """Have a Face Mesh forget the faces that it follows."""
    with quiet():
        network.reset()
        warm_up(network)


@contextmanager
def face_detector(*, near: bool = False) -> Iterator[Network]:
    """The full-range detector, or the one for faces within two metres, which takes half the time."""
    with quiet():
        import mediapipe

        detector = mediapipe.solutions.face_detection.FaceDetection(model_selection=int(not near),
                                                                    min_detection_confidence=0.5)
        warm_up(detector)
    try:
        yield detector
    finally:
        detector.close()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what C++ libraries write to the error stream off the user's terminal; one thread at a time."""
    with _ERRORS:
        try:
            kept = os.dup(2)
        except OSError:
            yield
            return
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            os.close(sink)
