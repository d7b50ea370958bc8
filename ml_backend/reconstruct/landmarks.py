"""Face landmarks of a clip or a photo by MediaPipe's Face Mesh: 478 points per frame of one person.

MediaPipe 0.10.21, `solutions.face_mesh` with iris refinement, tracking from frame to frame. Its own detector sees faces
of roughly a tenth of the frame and more; smaller ones are found by the full-range detector and tracked in a crop.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from ml_backend.errors import UserInputError
from ml_backend.progress import Progress, silent
from ml_backend.reconstruct.points import COUNT
from ml_backend.reconstruct.tracklets import choose

SURVEY_FRAMES = 10
MOST_FACES = 3
CROP_FACES = 3.0
"""Side of the crop around a small face, in face boxes."""
AGAIN_FACES = 2.2
CROP_PIXELS = 384
RIVAL = 0.4
"""A second face counts when it is at least this share of the largest one's size."""


@dataclass(frozen=True)
class LandmarkTrack:
    """Landmarks of one person over T frames.

    Attributes
    ----------
    landmarks : (T, 478, 3) float32 pixels, z relative in the same scale as x, NaN where the face was not found
    confidence : (T,) float32, 1 where found, 0 where not
    warnings : sentences for the user
    """

    landmarks: np.ndarray
    confidence: np.ndarray
    warnings: tuple[str, ...] = ()


def detect(frames: Sequence[np.ndarray], *, progress: Progress = silent, source: str = "the clip") -> LandmarkTrack:
    """Find and follow one face.

    Parameters
    ----------
    frames : RGB uint8 (H, W, 3) of one size; a single frame is treated as a photo
    progress : called once a frame
    source : what to call the input in messages

    Raises
    ------
    UserInputError
        If there is no frame, no face, or a face in less than half of the frames.
    """
    if not len(frames):
        raise UserInputError(f"There is no picture in {source}; use a clip of at least one frame.")
    counts = _survey(frames)
    needed = max(1, len(counts) // 3)
    if sum(count > 0 for count in counts) >= needed:
        # What is seen in one sampled frame only may be a poster or a mistake.
        people = max(1, max(counts) if len(counts) < 3 else sorted(counts)[-2])
        windows = None
    else:
        people, windows = 1, _windows(frames, source)
    candidates = _follow(frames, people, windows, progress)
    landmarks, rivals = choose(candidates)
    if not rivals:
        _look_again(frames, landmarks)
    return _checked(landmarks, rivals, source)


def _look_again(frames: Sequence[np.ndarray], landmarks: np.ndarray) -> None:
    """Search frames without a face once more, enlarged around where it was or will be; fills `landmarks` in place."""
    found = np.isfinite(landmarks[:, 0, 0])
    lost, known = np.flatnonzero(~found), np.flatnonzero(found)
    if not len(lost) or not len(known):
        return
    low, high = landmarks[known, :, :2].min(1), landmarks[known, :, :2].max(1)
    middle = np.stack([np.interp(lost, known, (low + high)[:, axis] / 2) for axis in (0, 1)], 1)
    side = AGAIN_FACES * np.interp(lost, known, (high - low).max(1))
    with _mesh(static=True, faces=1) as mesh:
        for number, (frame, centre, wide) in enumerate(zip(lost, middle, side, strict=True)):
            image, scale, corner = _view(_rgb(frames[frame]), np.array([*(centre - wide / 2), wide]))
            for face in _run(mesh, image, first=number == 0)[:1]:
                face *= scale
                face[:, :2] += corner
                landmarks[frame] = face


def _checked(landmarks: np.ndarray, rivals: int, source: str) -> LandmarkTrack:
    found = np.isfinite(landmarks[:, 0, 0])
    if not found.any():
        raise UserInputError(f"No face was found in {source}; use a clip in which one face is well lit and looks "
                             "towards the camera.")
    if found.mean() < 0.5:
        raise UserInputError(f"The face was lost in {100 * (1 - found.mean()):.0f} % of the frames of {source}; use a "
                             "part in which it stays in view.")
    notes = []
    if rivals:
        notes.append(f"{rivals + 1} faces are in {source}; the one that is largest and longest in view is followed.")
    if not found.all():
        notes.append(f"The face was not found in {int((~found).sum())} of {len(found)} frames of {source}; "
                     "they are interpolated.")
    return LandmarkTrack(landmarks, found.astype(np.float32), tuple(notes))


def _follow(frames: Sequence[np.ndarray], people: int, windows: np.ndarray | None, progress: Progress
            ) -> list[list[np.ndarray]]:
    """All faces (478, 3) of every frame, pixels of the full frame."""
    out: list[list[np.ndarray]] = []
    with _mesh(static=len(frames) == 1, faces=people) as mesh:
        for number, frame in enumerate(frames):
            image, scale, corner = _view(_rgb(frame), None if windows is None else windows[number])
            faces = _run(mesh, image, first=number == 0)
            if faces and (number == 0 or not out[-1]) and len(frames) > 1:
                # Found by the detector, whose box is coarse: a second look starts from the landmarks.
                faces = _run(mesh, image) or faces
            for face in faces:
                face *= scale
                face[:, :2] += corner
            out.append(faces)
            progress(number + 1, len(frames))
    return out


def _view(frame: np.ndarray, window: np.ndarray | None) -> tuple[np.ndarray, float, np.ndarray]:
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


def _run(mesh: Any, image: np.ndarray, *, first: bool = False) -> list[np.ndarray]:
    """Faces (478, 3) float32 in pixels of `image`."""
    if first:
        with quiet():
            result = mesh.process(image)
    else:
        result = mesh.process(image)
    height, width = image.shape[:2]
    scale = np.array([width, height, width], np.float32)
    faces = [_points(face) for face in result.multi_face_landmarks or []]
    return [face * scale for face in faces if len(face) == COUNT]


def _points(face: Any) -> np.ndarray:
    """(N, 3) float32 of MediaPipe's landmark list, read from its bytes: field by field takes too long."""
    coded = np.frombuffer(face.SerializeToString(), np.uint8)
    # Every point is a message of 15 bytes: x, y, z, each a tag (field number << 3 | 5) and four bytes.
    if len(coded) % 17 == 0:
        rows = coded.reshape(-1, 17)
        if bool((rows[:, [0, 1, 2, 7, 12]] == [0x0A, 15, 0x0D, 0x15, 0x1D]).all()):
            values = np.ascontiguousarray(rows[:, [3, 4, 5, 6, 8, 9, 10, 11, 13, 14, 15, 16]])
            return values.view("<f4").astype(np.float32)
    return np.array([(point.x, point.y, point.z) for point in face.landmark], np.float32).reshape(-1, 3)


def _survey(frames: Sequence[np.ndarray]) -> list[int]:
    """How many faces of comparable size there are in a few frames."""
    picks = np.unique(np.linspace(0, len(frames) - 1, min(SURVEY_FRAMES, len(frames))).round().astype(int))
    counts = []
    with _mesh(static=True, faces=MOST_FACES) as mesh:
        for number, pick in enumerate(picks):
            tall = [float(np.ptp(face[:, 1])) for face in _run(mesh, _rgb(frames[pick]), first=number == 0)]
            counts.append(sum(size > RIVAL * max(tall) for size in tall))
    return counts


def _windows(frames: Sequence[np.ndarray], source: str) -> np.ndarray:
    """(T, 3) x, y, side of a crop that follows a face too small for Face Mesh's own detector."""
    step = max(1, min(12, len(frames) // 8))
    picks = np.arange(0, len(frames), step)
    boxes = _small_faces([_rgb(frames[pick]) for pick in picks])
    known = np.flatnonzero(np.isfinite(boxes[:, 0]))
    if not len(known):
        raise UserInputError(f"No face was found in {source}; use a clip in which one face is well lit and looks "
                             "towards the camera.")
    side = CROP_FACES * float(np.median(boxes[known, 2]))
    middle = np.stack([np.interp(np.arange(len(frames)), picks[known], boxes[known, axis]) for axis in (0, 1)], 1)
    return np.concatenate([middle - side / 2, np.full((len(frames), 1), side)], 1)


def _small_faces(pictures: list[np.ndarray]) -> np.ndarray:
    """(N, 3) centre and side of the most prominent face by the full-range detector, NaN where none; tiles come last."""
    out = np.full((len(pictures), 3), np.nan)
    with _detector() as detector:
        for number, picture in enumerate(pictures):
            height, width = picture.shape[:2]
            whole = [(0, 0, width, height)]
            for tiles in (whole, _tiles(width, height)):
                found = [box for tile in tiles for box in _detect_in(detector, picture, tile, first=number == 0)]
                if found:
                    out[number] = max(found)[1:]
                    break
    return out


def _detect_in(detector: Any, picture: np.ndarray, tile: tuple[int, int, int, int], *, first: bool
               ) -> list[tuple[float, float, float, float]]:
    """(score × side, x, y, side) of faces within `tile` (x0, y0, x1, y1), pixels of the picture."""
    x0, y0, x1, y1 = tile
    part = np.ascontiguousarray(picture[y0:y1, x0:x1])
    if first:
        with quiet():
            result = detector.process(part)
    else:
        result = detector.process(part)
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


def _rgb(frame: np.ndarray) -> np.ndarray:
    """Contiguous uint8 (H, W, 3)."""
    if frame.ndim == 2:
        frame = np.repeat(frame[..., None], 3, 2)
    return np.ascontiguousarray(frame[..., :3])


@contextmanager
def _mesh(*, static: bool, faces: int) -> Iterator[Any]:
    with quiet():
        import mediapipe  # here, since it takes a second and chatters: only those who track pay

        mesh = mediapipe.solutions.face_mesh.FaceMesh(static_image_mode=static, refine_landmarks=True,
                                                      max_num_faces=faces)
    try:
        yield mesh
    finally:
        mesh.close()


@contextmanager
def _detector() -> Iterator[Any]:
    with quiet():
        import mediapipe

        detector = mediapipe.solutions.face_detection.FaceDetection(model_selection=1, min_detection_confidence=0.5)
    try:
        yield detector
    finally:
        detector.close()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what C++ libraries write to the error stream off the user's terminal."""
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
