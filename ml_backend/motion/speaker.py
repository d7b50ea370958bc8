"""Whose voice is it? Of several faces in a clip, the one whose lips agree best with the sound."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from ml_backend.audio.load import Speech, load_speech
from ml_backend.config import motion_weights
from ml_backend.errors import UserInputError
from ml_backend.metrics.landmarks import lip_measures
from ml_backend.motion.agreement import compare, heard_lips
from ml_backend.motion.checkpoint import load_weights
from ml_backend.progress import Progress, silent
from ml_backend.reconstruct.landmarks import LandmarkTrack, detect
from ml_backend.reconstruct.tracklets import LARGEST, SPEAKING

CLEARLY = 0.08
"""By how much another face than the largest has to agree better with the sound to be taken for the speaker."""
LEAST_SEEN = 0.5
"""A face seen in less than this share of the frames doesn't count."""


def listening(clip: Path, find: Callable[..., LandmarkTrack] = detect, *, start: float = 0.0
              ) -> Callable[..., LandmarkTrack]:
    """`find` (`landmarks.detect` or its like) for 25 fps frames of `clip` from second `start` on that also knows the
    face "speaking".

    In a clip without sound, or with one face, that is the largest.
    """

    @cache
    def speech() -> Speech | None:
        try:
            whole = load_speech(clip)
        except UserInputError:
            return None
        return replace(whole, samples=whole.samples[round(start * whole.sample_rate):])

    def found(frames: Sequence[np.ndarray], *, face: str = LARGEST, progress: Progress = silent,
              source: str = "the clip") -> LandmarkTrack:
        if face != SPEAKING:
            return find(frames, face=face, progress=progress, source=source)
        return follow_speaker(frames, speech(), find, progress=progress, source=source)

    return found


def follow_speaker(frames: Sequence[np.ndarray], speech: Speech | None, find: Callable[..., LandmarkTrack] = detect, *,
                   progress: Progress = silent, source: str = "the clip") -> LandmarkTrack:
    """The face in 25 fps `frames` that says `speech`.

    Every face that is well in view is followed, and its lips are held against those that the embedded motion weights
    hear in the sound, at any delay within 0.6 s. The largest face is taken unless another agrees clearly better.

    Raises
    ------
    UserInputError
        Where `landmarks.detect` does.
    """
    track = find(frames, progress=lambda done, of: progress(done, 2 * of), source=source)
    if track.people < 2 or speech is None:
        return track
    tracks = _everybody(frames, track.people, find, progress, source)
    heard = heard_lips(load_weights(motion_weights()), speech.samples)
    scores = {number: agreement(item, heard) for number, item in tracks.items()}
    number = chosen(scores, _same(track, tracks))
    if number is None:
        return track
    others = [score for other, score in scores.items() if other != number]
    beside = f", the others {max(others):.2f} at most" if others else ""
    note = (f"{track.people} faces are in {source}; face {number} from the left is followed, whose lips go with the "
            f"sound (r = {scores[number]:.2f}{beside}; --face chooses another).")
    return replace(tracks[number], warnings=(note, *tracks[number].warnings))


def agreement(track: LandmarkTrack, heard: np.ndarray) -> float:
    """How well the lips of `track` go with `heard` (T, 2) at the best delay; 0 where they can't be seen."""
    sync = compare(heard, lip_measures(track.landmarks)).sync
    return sync if np.isfinite(sync) else 0.0


def chosen(scores: dict[int, float], largest: int | None) -> int | None:
    """Number of the face that speaks: the best of `scores`, or `largest` unless that is beaten clearly."""
    if not scores:
        return None
    best = max(scores, key=lambda number: scores[number])
    usual = scores.get(largest, -1.0) if largest is not None else -1.0
    return best if scores[best] > usual + CLEARLY else largest


def _everybody(frames: Sequence[np.ndarray], people: int, find: Callable[..., LandmarkTrack], progress: Progress,
               source: str) -> dict[int, LandmarkTrack]:
    """The tracks of all faces by number, without those that are seldom seen."""
    tracks: dict[int, LandmarkTrack] = {}
    for number in range(1, people + 1):
        try:
            tracks[number] = find(frames, face=str(number), source=source)
        except UserInputError:
            continue
        finally:
            progress(people + number, 2 * people)
    return {number: track for number, track in tracks.items() if track.confidence.mean() >= LEAST_SEEN}


def _same(track: LandmarkTrack, tracks: dict[int, LandmarkTrack]) -> int | None:
    """Number of the one of `tracks` that follows the same face as `track`."""
    apart = {number: float(np.nanmedian(np.abs(other.landmarks[..., :2] - track.landmarks[..., :2])))
             for number, other in tracks.items()}
    return min(apart, key=lambda number: apart[number], default=None)
