"""What a clip shows besides the face that the plates have to respect: how much moves, and hands before the face."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import cv2
import numpy as np
from scipy.ndimage import binary_dilation, binary_opening

from ml_backend.artefacts.schema import load_npz, require, save_npz
from ml_backend.background.disturbances import camera_motion, lettering, wall
from ml_backend.background.motion import MotionMeter
from ml_backend.config import FPS
from ml_backend.progress import Progress, silent
from ml_backend.reconstruct.hands import POINTS, hand_finder, hand_mask
from ml_backend.talk.session import Session
from ml_backend.talk.target import Target
from ml_backend.terminal import hushed

SCHEMA, VERSION = "parley.survey", 2
FILE = "survey.npz"
COVERED = 0.02
"""Share of the face from which a hand counts as being before it."""
LETTERS_EVERY, LETTERS, OFTEN = 5, 0.04, 0.1
"""Frames from one that is searched for letters to the next; share of chin and cheeks from which they are some; share of
the frames searched from which it is said. No clip without letters came near the first."""
SHAKY, PANNED, ZOOMED = 0.0012, 0.03, 0.05
"""Of the picture's longer side, the camera's motion a frame and over the clip; its growth over the clip."""
PASSING, PASSES = 0.06, 4
"""Share of the background, and frames in a row, that something has to move in for it to pass by."""
SOFT = 0.008
"""Soft edge of a hand, in crop sides."""
OVAL = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149,
        150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)
"""MediaPipe's points around the face."""


@dataclass(frozen=True)
class Survey:
    """T source frames.

    Attributes
    ----------
    motion : (T,) float32 pixels that the surroundings move until the next frame, 0 at a cut
    hands : (T, 2, 21, 2) float32 pixels, NaN for none
    covered : (T,) float32, share of the face behind hands
    camera : (T, 4) float32, from the frame before: the camera's shift in pixels, growth, share of the background that
        moves otherwise; 0 at a cut
    letters : (T,) float32, share of the chin and the cheeks with edges like those of letters, where it was looked
    """

    motion: np.ndarray
    hands: np.ndarray
    covered: np.ndarray
    camera: np.ndarray
    letters: np.ndarray

    @property
    def before_face(self) -> np.ndarray:
        """(T,) bool: a hand is before the face."""
        return self.covered > COVERED

    @property
    def passing(self) -> np.ndarray:
        """(T,) bool: something passes by behind the person, in so few frames that the film can do without them."""
        moving = self.camera[:, 3] > PASSING
        kept = binary_opening(moving, np.ones(min(PASSES, max(1, len(moving)))))
        found = binary_dilation(kept, iterations=2) if kept.any() else kept
        return found if found.mean() < 0.5 else np.zeros_like(found)


class Hidden:
    """What of the face must not be painted over.

    Parameters
    ----------
    seen : of the clip
    crop : (3,) x, y, side of the face crop
    source : (N,) source frame behind each picture
    """

    def __init__(self, seen: Survey, crop: np.ndarray, source: np.ndarray) -> None:
        self._seen, self._crop, self._source = seen, crop, source

    def __call__(self, index: int, size: int) -> np.ndarray | None:
        """(size, size) float32 share of each pixel of the crop behind a hand, None where there is none."""
        number = int(self._source[index])
        if not self._seen.before_face[number]:
            return None
        place = (self._seen.hands[number] - self._crop[:2]) * (size / float(self._crop[2]))
        return hand_mask(place, (size, size), SOFT * size)


def survey(session: Session, target: Target) -> Survey:
    """Look through the clip once; kept in the take."""
    take, track = session.take, target.track
    path = take.path(FILE)

    def work(progress):
        with hushed(take.path("logs/track.log")), hand_finder(track.crop) as find:
            seen = look(target, find, progress)
        save_npz(path, SCHEMA, VERSION, {field.name: getattr(seen, field.name) for field in fields(Survey)})
        covered, motion = seen.covered, seen.motion
        return {"hand_before_face": int((covered > COVERED).sum()), "motion_px": float(motion.max(initial=0))}

    session.stage("survey", "Looking through the clip", {"track": take.key("track"), "version": VERSION}, [FILE], work)
    arrays = load_npz(path, SCHEMA, VERSION)
    names = [field.name for field in fields(Survey)]
    good = set(names) <= set(arrays) and all(len(arrays[name]) == len(track) for name in names)
    require(good, path, "it is no survey of this clip")
    seen = Survey(*(arrays[name] for name in names))
    for note in notes(seen, max(map(int, track.size))):
        session.terminal.warn(note)
    return seen


def look(target: Target, find: Callable[[np.ndarray], np.ndarray], progress: Progress = silent) -> Survey:
    """Look through the clip; `find` finds hands in frames given in order."""
    track, frames, cuts = target.track, target.frames, target.cuts
    count, meter = len(track), MotionMeter(track.crop)
    hands = np.full((count, 2, POINTS, 2), np.nan, np.float32)
    camera, letters = np.zeros((count, 4), np.float32), np.zeros(count, np.float32)
    background: np.ndarray | None = None
    for number in range(count):
        frame = frames[number]
        meter.add(frame)
        if number and not cuts[number] and meter.flown is not None:
            scale = meter.flown.shape[1] / float(track.size[0])
            if background is None:
                background = wall(track.landmarks, meter.flown.shape[:2], scale)
            found, others = camera_motion(meter.flown, background)
            camera[number] = found[0] / scale, found[1] / scale, found[2], others
        if number % LETTERS_EVERY == 0 and track.confidence[number] > 0:
            letters[number] = lettering(frame, track.landmarks[number])
        _follow(hands, number, frame, find)
        progress(number + 1, count)
    motion = meter.motion()
    motion[:-1][cuts[1:]] = 0  # a cut is no motion
    covered = [_covered(one, flat) for one, flat in zip(hands, track.landmarks[..., :2], strict=True)]
    return Survey(motion, hands, np.array(covered, np.float32), camera, letters)


def _follow(hands: np.ndarray, number: int, frame: np.ndarray, find: Callable[[np.ndarray], np.ndarray]) -> None:
    """Fill in the `hands` of a frame; hands are there for longer than one, so that every other tells when to look."""
    before = number > 0 and bool(np.isfinite(hands[number - 1]).any())
    if number % 2 == 0 or number == len(hands) - 1 or before:
        hands[number] = find(frame)
        if number % 2 == 0 and number and not before:
            hands[number - 1] = hands[number]


def notes(seen: Survey, longest: int) -> list[str]:
    """One sentence for each thing in the clip that will show in the film; `longest` is the frames' longer side."""
    found = []
    shift, growth = seen.camera[:, :2] / longest, seen.camera[:, 2]
    if np.ptp(np.cumsum(growth)) > ZOOMED:
        found.append("The camera zooms, and the film plays that forwards and backwards; a clip without zooming looks "
                     "better.")
    elif np.median(np.linalg.norm(shift, axis=1)) > SHAKY or np.ptp(np.cumsum(shift, axis=0), axis=0).max() > PANNED:
        found.append("The camera moves: what is beside the head is stretched along when it turns; a clip from a tripod "
                     "looks better.")
    passed = np.flatnonzero(seen.passing)
    if len(passed):
        found.append(f"Something moves behind the person between {passed[0] / FPS:.1f} and {passed[-1] / FPS:.1f} s of "
                     "the clip; the film avoids these frames where it can.")
    if (seen.letters[::LETTERS_EVERY] > LETTERS).mean() > OFTEN:
        found.append("Letters, such as a subtitle, seem to lie over the chin: the face is painted over them; a clip "
                     "without them looks better.")
    return found


def _covered(hands: np.ndarray, landmarks: np.ndarray) -> float:
    """Share of the face that hands cover; `landmarks` (478, 2) pixels."""
    known = hands[np.isfinite(hands).all((1, 2))]
    if not len(known):
        return 0.0
    low = landmarks.min(0)
    scale = 96 / max(float((landmarks.max(0) - low).max()), 1.0)
    face = np.zeros((96, 96), np.uint8)
    cv2.fillPoly(face, [np.round((landmarks[list(OVAL)] - low) * scale).astype(np.int32)], (1,))
    return float((hand_mask((known - low) * scale, (96, 96)) * face).sum() / max(int(face.sum()), 1))
