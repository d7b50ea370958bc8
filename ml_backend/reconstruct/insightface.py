"""Face landmarks by insightface's networks: SCRFD finds faces, 68 points in space and 106 in the picture describe one.

The points are handed on under MediaPipe's numbers, NaN where insightface has none: the irises above all, so that the
gaze stays unknown.

Where the numbers come from: the 68 points are the 300-W scheme (Sagonas et al. 2013). The 106 are in the order of the
figure in insightface's alignment/coordinate_reg; only outlines of eyes and lips are used, whose order public code that
draws them agrees on. They are checked against the 68 in every clip and left out where the two contradict each other.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter1d

from ml_backend import insightface_pack as pack
from ml_backend.errors import DependencyError, UserInputError
from ml_backend.face_model.loaders.landmarks import MEDIAPIPE_OF_68
from ml_backend.progress import Progress, silent
from ml_backend.reconstruct import cuts as cutting
from ml_backend.reconstruct import tracklets
from ml_backend.reconstruct.landmarks import LandmarkTrack, checked, nobody
from ml_backend.reconstruct.points import COUNT
from ml_backend.reconstruct.tracklets import LARGEST, Sighting

MEDIAPIPE_OF_106: dict[int, int] = {
    35: 33, 41: 161, 40: 159, 42: 157, 39: 133, 37: 154, 33: 145, 36: 163,
    89: 362, 95: 384, 94: 386, 96: 388, 93: 263, 91: 390, 87: 374, 90: 381,
    52: 61, 64: 39, 63: 37, 71: 0, 67: 267, 68: 269, 61: 291, 58: 405, 59: 314, 53: 17, 56: 84, 55: 181,
    65: 78, 66: 81, 62: 13, 70: 311, 69: 308, 57: 402, 60: 14, 54: 178,
}  # fmt: skip
"""106-point index → MediaPipe index: eyes (corners, upper and lower lid), outer and inner lips."""
BETWEEN = {161: (33, 160), 159: (160, 158), 157: (158, 133), 163: (33, 144), 145: (144, 153), 154: (153, 133),
           384: (362, 385), 386: (385, 387), 388: (387, 263), 381: (362, 380), 374: (380, 373), 390: (373, 263)}
"""Points that only the 106 have → the two of the 68 whose mean depth they get."""
CONTRADICTION = 0.06
"""Median distance of points that both schemes name, over the face's height, above which the 106 are left out."""
NOSE_TIP, EARS = 30, (0, 16)
"""Of the 68."""
LIKENESS_STEP = 12
"""Frames between two looks at the shape of every face, by which people are known again after a cut."""
STEADY = 1.5
"""Frames over which the place of the crop is smoothed: a box that jitters makes landmarks jitter."""
SEARCH_SHARE = 0.6
WHAT = "--landmarks insightface"
NO_GAZE = "insightface has no iris points: the gaze is unknown and the eyes rest; MediaPipe measures it."


@dataclass(frozen=True)
class Networks:
    """insightface's objects for one pack; `points_2d` may be missing."""

    detection: Any
    points_3d: Any
    points_2d: Any | None

    @classmethod
    def load(cls, folder: Path | None = None) -> Networks:
        """From the pack in `folder` (default: `insightface_pack.root`); raises `DependencyError`, `UserInputError`."""
        detection, points_3d = (pack.load(task, WHAT, folder) for task in (pack.DETECTION, pack.POINTS_3D))
        try:
            points_2d = pack.load(pack.POINTS_2D, WHAT, folder)
        except DependencyError:
            points_2d = None
        return cls(detection, points_3d, points_2d)

    @property
    def name(self) -> str:
        """What measured, for the track."""
        used = (self.detection, self.points_3d, self.points_2d)
        return "insightface " + ", ".join(Path(network.model_file).stem for network in used if network is not None)

    def boxes(self, picture: np.ndarray) -> list[np.ndarray]:
        """Faces (4,) x0, y0, x1, y1, pixels of `picture` (H, W, 3) BGR."""
        return [box[:4].astype(float) for box in self.detection.detect(picture)[0]]

    def shape(self, picture: np.ndarray, box: np.ndarray) -> np.ndarray:
        """(478, 3) float32 by the 68 points in space, NaN elsewhere; smaller z is nearer."""
        from insightface.app.common import Face

        with warnings.catch_warnings():
            # It also estimates a pose, which is not used, and NumPy warns of how.
            warnings.simplefilter("ignore", FutureWarning)
            found = self.points_3d.get(picture, Face(bbox=box))
        out = np.full((COUNT, 3), np.nan, np.float32)
        out[list(MEDIAPIPE_OF_68.values())] = found[list(MEDIAPIPE_OF_68)]
        # insightface's depth grows towards the camera; the nose, always nearer than the ears, says so by itself.
        if found[NOSE_TIP, 2] > found[list(EARS), 2].mean():
            out[:, 2] *= -1
        return out

    def outlines(self, picture: np.ndarray, box: np.ndarray) -> np.ndarray:
        """(478, 2) float32 by the 106 points in the picture, NaN elsewhere."""
        from insightface.app.common import Face

        out = np.full((COUNT, 2), np.nan, np.float32)
        if self.points_2d is not None:
            found = self.points_2d.get(picture, Face(bbox=box))
            out[list(MEDIAPIPE_OF_106.values())] = found[list(MEDIAPIPE_OF_106)]
        return out


def detect(frames: Sequence[np.ndarray], *, face: str = LARGEST, progress: Progress = silent, source: str = "the clip",
           networks: Networks | None = None) -> LandmarkTrack:
    """Find and follow one face; arguments, result and errors are those of `landmarks.detect`.

    `networks` are those of the user's pack by default. The landmarks are NaN where insightface has no such point.
    """
    face = tracklets.check_face(face)
    if not len(frames):
        raise UserInputError(f"There is no picture in {source}; use a clip of at least one frame.")
    networks = networks or Networks.load()
    total = len(frames)
    watch = cutting.Watch(frames)
    begins, sightings = np.zeros(total, bool), []
    for number, (frame, begins[number]) in enumerate(watch):
        sightings += _sightings(networks, frame, number)
        progress(int(SEARCH_SHARE * (number + 1)), total)
    if not sightings:
        raise nobody(source)
    found = tracklets.people(sightings, cutting.shots(begins))
    chosen = found[tracklets.choose(found, face, source)]
    boxes = _steady(chosen, begins)
    shapes, outlines = np.full((total, COUNT, 3), np.nan, np.float32), np.full((total, COUNT, 2), np.nan, np.float32)
    for number in np.flatnonzero(np.isfinite(boxes[:, 0])):
        picture, box = _bgr(frames[number]), _corners(boxes[number])
        shapes[number], outlines[number] = networks.shape(picture, box), networks.outlines(picture, box)
        progress(int((SEARCH_SHARE + (1 - SEARCH_SHARE) * (number + 1) / total) * total), total)
    landmarks, notes = _joined(shapes, outlines)
    known = landmarks[:, np.isfinite(landmarks).all(2).any(0)]
    track = checked(landmarks, begins | cutting.face_cuts(np.array(watch.changes), known), len(found) - 1, face, source)
    progress(total, total)
    return LandmarkTrack(track.landmarks, track.confidence, track.cuts, (*track.warnings, *notes), networks.name,
                         track.people)


def _sightings(networks: Networks, frame: np.ndarray, number: int) -> list[Sighting]:
    """All faces of a frame; now and then with their shape."""
    picture = _bgr(frame)
    out = []
    for box in networks.boxes(picture):
        square = np.array([*(box[:2] + box[2:]) / 2, (box[2:] - box[:2]).max()])
        points = networks.shape(picture, box) if number % LIKENESS_STEP == 0 else None
        out.append(Sighting(number, square, None if points is None else points[list(MEDIAPIPE_OF_68.values())]))
    return out


def _bgr(frame: np.ndarray) -> np.ndarray:
    """Contiguous uint8 (H, W, 3) in OpenCV's order of colours, as insightface wants it."""
    if frame.ndim == 2:
        frame = np.repeat(frame[..., None], 3, 2)
    return np.ascontiguousarray(frame[..., 2::-1])


def _corners(box: np.ndarray) -> np.ndarray:
    """(4,) x0, y0, x1, y1 of a box (3,) centre and side."""
    return np.array([*(box[:2] - box[2] / 2), *(box[:2] + box[2] / 2)])


def _steady(person: list[Sighting], begins: np.ndarray) -> np.ndarray:
    """(T, 3) centre and side in the frames where `person` is seen, NaN elsewhere; smooth within a shot."""
    out = np.full((len(begins), 3), np.nan)
    out[[sighting.frame for sighting in person]] = [sighting.box for sighting in person]
    for shot in cutting.shots(begins):
        seen = np.flatnonzero(np.isfinite(out[shot, 0])) + shot.start
        if len(seen) > 1:
            out[seen] = gaussian_filter1d(out[seen], STEADY, axis=0, mode="nearest")
    return out


def _joined(shapes: np.ndarray, outlines: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """(T, 478, 3): place by the 106 points where they have it, else by the 68, depth by the 68; and what to say."""
    out, notes = shapes.copy(), [NO_GAZE]
    both = np.isfinite(shapes[..., 0]) & np.isfinite(outlines[..., 0])
    if not both.any():
        return out, notes
    heights = shapes[both.any(1)][:, list(MEDIAPIPE_OF_68.values()), 1]
    tall = float(np.median(np.ptp(heights, axis=1)))
    apart = float(np.median(np.linalg.norm(shapes[..., :2] - outlines, axis=2)[both]))
    if apart > CONTRADICTION * tall:
        return out, [*notes, "The 106 landmarks of this insightface pack don't fit its 68; the 68 are used."]
    for point, ends in BETWEEN.items():
        out[:, point, 2] = shapes[:, ends, 2].mean(1)
    named = list(MEDIAPIPE_OF_106.values())
    out[:, named, :2] = outlines[:, named]
    return out, notes


