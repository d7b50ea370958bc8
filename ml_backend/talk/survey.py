"""What a clip shows besides the face that the plates have to respect: how much moves, and hands before the face."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ml_backend.artefacts.schema import load_npz, require, save_npz
from ml_backend.background.motion import MotionMeter
from ml_backend.reconstruct.hands import POINTS, hand_finder, hand_mask
from ml_backend.talk.session import Session
from ml_backend.talk.target import Target
from ml_backend.terminal import hushed

SCHEMA, VERSION = "parley.survey", 1
FILE = "survey.npz"
COVERED = 0.02
"""Share of the face from which a hand counts as being before it."""
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
    """

    motion: np.ndarray
    hands: np.ndarray
    covered: np.ndarray

    @property
    def before_face(self) -> np.ndarray:
        """(T,) bool: a hand is before the face."""
        return self.covered > COVERED


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
        meter = MotionMeter(track.crop)
        hands = np.full((len(track), 2, POINTS, 2), np.nan, np.float32)
        with hushed(take.path("logs/track.log")), hand_finder(track.crop) as find:
            for number in range(len(track)):
                frame = target.frames[number]
                meter.add(frame)
                hands[number] = find(frame)
                progress(number + 1, len(track))
        motion = meter.motion()
        motion[:-1][target.cuts[1:]] = 0  # a cut is no motion
        covered = np.array([_covered(one, flat) for one, flat in zip(hands, track.landmarks[..., :2], strict=True)])
        save_npz(path, SCHEMA, VERSION, {"motion": motion, "hands": hands,
                                         "covered": covered.astype(np.float32)})
        return {"hand_before_face": int((covered > COVERED).sum()), "motion_px": float(motion.max(initial=0))}

    session.stage("survey", "Looking through the clip", {"track": take.key("track")}, [FILE], work)
    arrays = load_npz(path, SCHEMA, VERSION)
    good = {"motion", "hands", "covered"} <= set(arrays) and len(arrays["motion"]) == len(track)
    require(good, path, "it is no survey of this clip")
    return Survey(arrays["motion"], arrays["hands"], arrays["covered"])


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
