"""Where a clip jumps: frames that do not continue the one before them, told by the pictures and by the face.

A cut changes the picture at once and far more than anything around it does; a flash changes it twice. Jump cuts of one
person before one wall change few pixels, so that a face that jumps makes a smaller change count.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from ml_backend.artefacts.schema import load_npz, require, save_npz
from ml_backend.progress import Progress, silent

SCHEMA, VERSION = "parley.cuts", 1
SMALL = (32, 18)
"""Width and height at which pictures are compared: noise and small motions average out."""
OVERSAMPLED = 4
"""Pixels looked at along each side of one of theirs."""
REACH = 4
"""Frames to either side that a change is compared with; shots shorter than this are not told apart."""
FLOOR = 0.5
CHANGE, CLEAR = 6.0, 2.5
"""A cut by the picture alone: grey levels, and times the largest change around it."""
SLIGHT, NOTICEABLE = 4.0, 1.7
"""The same where the face jumps too."""
LONE_CHANGE = 20.0
"""Grey levels where there are too few neighbours to compare with."""
JUMP, SUDDEN = 0.05, 1.5
"""A jump of the face: in face heights, and times the largest motion around it."""


class Watch:
    """Hands frames on in order, a few behind what it has read, with whether each begins a new shot.

    Attributes
    ----------
    changes : list of float, grey levels by which each frame read so far differs from the one before; 0 for the first
    """

    def __init__(self, frames: Iterable[np.ndarray]) -> None:
        self.changes: list[float] = []
        self._frames = frames

    def __iter__(self) -> Iterator[tuple[np.ndarray, bool]]:
        waiting: deque[np.ndarray] = deque()
        before: np.ndarray | None = None
        handed = 0
        for frame in self._frames:
            small = _thumbnail(frame)
            self.changes.append(0.0 if before is None else float(np.abs(small - before).mean()))
            before = small
            waiting.append(frame)
            if len(waiting) > REACH:
                yield waiting.popleft(), self._begins(handed)
                handed += 1
        while waiting:
            yield waiting.popleft(), self._begins(handed)
            handed += 1

    def _begins(self, number: int) -> bool:
        change, around = self.changes[number], _around(self.changes, number)
        if len(around) < 2:
            return change >= LONE_CHANGE
        return change >= CHANGE and change >= CLEAR * (max(around) + FLOOR)


def find_cuts(frames: Iterable[np.ndarray], landmarks: np.ndarray | None = None, *, progress: Progress = silent
              ) -> np.ndarray:
    """(T,) bool, true where a frame begins a new shot; never the first.

    Parameters
    ----------
    frames : T frames, RGB uint8 (H, W, 3)
    landmarks : (T, L, ≥2) pixels of the face followed, NaN where there is none; without it only clear cuts are found
    progress : called once a frame
    """
    watch, found = Watch(frames), []
    for number, (_, begins) in enumerate(watch):
        found.append(begins)
        progress(number + 1, number + 1)
    cuts = np.array(found, bool)
    return cuts if landmarks is None else cuts | face_cuts(np.array(watch.changes), landmarks)


def face_cuts(changes: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """(T,) bool, true where the face jumps and the picture changes more than it does around.

    `changes` (T,) as of `Watch`, `landmarks` (T, L, ≥2) pixels, NaN where there is no face.
    """
    out = np.zeros(len(changes), bool)
    jumps = np.zeros(len(changes))
    if len(changes) > 1:
        flat = landmarks[..., :2]
        size = np.maximum(np.ptp(flat[..., 1], axis=1), 1e-6)
        step = np.median(np.linalg.norm(np.diff(flat, axis=0), axis=-1), axis=1)
        jumps[1:] = np.nan_to_num(step / np.minimum(size[1:], size[:-1]))
    for number in np.flatnonzero((jumps > JUMP) & (changes >= SLIGHT)):
        sudden = jumps[number] >= SUDDEN * max(_around(jumps, int(number)), default=0.0)
        out[number] = sudden and changes[number] >= NOTICEABLE * max(_around(changes, int(number)), default=0.0)
    return out


def _thumbnail(frame: np.ndarray) -> np.ndarray:
    """(18, 32, …) float32; of a large picture a grid of pixels is averaged, since reading all takes too long."""
    down, across = (max(1, frame.shape[axis] // (OVERSAMPLED * SMALL[1 - axis])) for axis in (0, 1))
    grid = frame[down // 2::down, across // 2::across]
    sparse = np.empty(grid.shape, np.uint8)
    for place in np.ndindex(grid.shape[2:]):
        # One colour after the other: copying groups of three bytes takes twice as long.
        sparse[..., *place] = grid[..., *place]
    return cv2.resize(sparse, SMALL, interpolation=cv2.INTER_AREA).astype(np.float32)


def _around(values: Sequence[float] | np.ndarray, number: int) -> list[float]:
    """Up to `REACH` values on either side; the first frame has no change."""
    return [*values[max(1, number - REACH):number], *values[number + 1:number + 1 + REACH]]


def shots(cuts: np.ndarray) -> list[slice]:
    """Runs of frames between `cuts` (T,) bool."""
    edges = [0, *(np.flatnonzero(cuts[1:]) + 1).tolist(), len(cuts)]
    return [slice(first, last) for first, last in pairwise(edges)]


def save(cuts: np.ndarray, path: Path) -> None:
    """Write `cuts` (T,) bool."""
    save_npz(path, SCHEMA, VERSION, {"cuts": np.asarray(cuts, bool)})


def load(path: Path) -> np.ndarray:
    """(T,) bool as `save` wrote it; raises `ArtefactError`."""
    arrays = load_npz(path, SCHEMA, VERSION)
    require("cuts" in arrays, path, "the file lacks cuts")
    found = arrays["cuts"]
    require(found.ndim == 1 and found.dtype == bool, path, "cuts is not (T,) bool")
    return found
