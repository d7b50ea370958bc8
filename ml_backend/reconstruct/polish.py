"""A clip's track made more exact by its pixels, once there is a character to be drawn.

Landmarks lie a pixel or so off, each frame differently. The person's own texture, drawn where the track has the face
and compared with the frame, tells by how much (see `polish_frame`). What pixels say is joined over time (`steady`,
`priors.temporal_weights`), and believed only if frames of which the texture was not made are drawn nearer to the real
ones with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from ml_backend.artefacts.face_track import FaceTrack
from ml_backend.background.warp import crop_resize
from ml_backend.face_model.model import FaceModel
from ml_backend.parallel import each
from ml_backend.prepare.drawing import FaceDrawing
from ml_backend.progress import Progress, silent
from ml_backend.reconstruct import boxsolve, living, polish_frame, pose, priors
from ml_backend.reconstruct.polish_frame import OPAQUE, Aligned
from ml_backend.reconstruct.steady import steady
from ml_backend.reconstruct.texture import make_character
from ml_backend.reconstruct.unseen import Chosen, chosen_track

LEAST_SIZE, MOST_SIZE = 96, 256
"""Pixels along the side of the crop in which faces are compared."""
LEAST_FRAMES = 25
LEAST_FACE = 48
"""Pixels: a smaller face's detail is no better than its landmarks."""
FARTHEST = 3.0
"""A frame whose pose is corrected by more standard deviations than this is not believed."""
MOST_ODD = 0.5
"""Share of frames not to be believed from which on nothing is."""
DRAFT = 100
"""Frames that take as long as making a character."""
TESTED = 24
WORTH = 0.99
"""Share of the error at most that the tested frames must be left with."""


@dataclass(frozen=True)
class Polished:
    """A `track`, the polished one if that was `kept`; mean squared error of the tested frames, in units of 255."""

    track: FaceTrack
    kept: bool
    before: float = 0.0
    after: float = 0.0

    def facts(self) -> dict:
        """For a report."""
        return {"kept": self.kept, "before": round(self.before, 3), "after": round(self.after, 3)}


def polish(track: FaceTrack, frames: Sequence[np.ndarray], drawing: FaceDrawing, cuts: np.ndarray | None = None, *,
           progress: Progress = silent) -> Polished:
    """Correct pose and expression of every frame of `track` by the `frames`' pixels, if that makes it better.

    Parameters
    ----------
    track : a clip's, as `track_with_cuts` measured it
    frames : the clip's frames, RGB uint8 (H, W, 3)
    drawing : of the character made of this track, or of a part of it
    cuts : (T,) bool, true where a frame begins a new shot
    progress : called about once a frame
    """
    height = float(np.median(np.ptp(track.landmarks[..., 1], axis=1)))
    known = np.flatnonzero(track.confidence > 0)
    if len(known) < LEAST_FRAMES or height < LEAST_FACE:
        return Polished(track, False)
    compared = _Compared(track, frames, drawing, _size(track), height)
    tested = _tested(track)
    total = len(known) + 2 * len(tested)
    with threadpool_limits(1, user_api="blas"):
        found = _each(compared, known, lambda done: progress(done, total))
        good = _believed(track, found)
        if good.sum() < (1 - MOST_ODD) * len(known):
            return Polished(track, False)
        better = _joined(track, found, good, pose.segments(track.landmarks, cuts))
        before, after = _errors(compared, better, tested, lambda done: progress(len(known) + done, total))
    kept = after < WORTH * before
    return Polished(better if kept else track, kept, before, after)


def polished_track(track: FaceTrack, frames: Sequence[np.ndarray], model: FaceModel, folder: Path,
                   cuts: np.ndarray | None = None, *, known: int | None = None, progress: Progress = silent
                   ) -> Polished:
    """`polish` a `track` by a character that is made for it in `folder`, if it lives.

    Parameters
    ----------
    track, frames, cuts, progress : as in `polish`
    model : the face model of the track
    folder : for the character, its texture and nothing else; is made when missing
    known : make the character of so many frames only, the first ones; default all

    Raises
    ------
    UserInputError
        If the folder can't be written.
    """
    if len(track) < living.LEAST_FRAMES:
        return Polished(track, False)
    rows = np.arange(len(track) if known is None else known)
    made = make_character(chosen_track(track, rows), Chosen(frames, rows), model, folder)
    if not made.lives:
        return Polished(track, False)
    return polish(track, frames, FaceDrawing(model, made, folder), cuts,
                  progress=lambda done, total: progress(DRAFT + done, DRAFT + total))


@dataclass(frozen=True)
class _Compared:
    """What frames are compared with; `size` of the crop and `height` of the face in the frames, pixels."""

    track: FaceTrack
    frames: Sequence[np.ndarray]
    drawing: FaceDrawing
    size: int
    height: float

    def real(self, number: int) -> np.ndarray:
        """(S, S, 3) uint8 crop of a frame."""
        return crop_resize(self.frames[number], self.drawing.character.crop, self.size)

    def align(self, number: int, asked: np.ndarray) -> Aligned | None:
        """What a frame's pixels say."""
        scale = self.size / float(self.drawing.character.crop[2])
        return polish_frame.align(self.drawing, *_state(self.track, number), self.real(number), self.height * scale,
                                  asked)

    def draw(self, track: FaceTrack, number: int) -> np.ndarray:
        """(S, S, 4) uint8: the face as `track` has it."""
        return self.drawing.draw(*_state(track, number), self.size)


def _state(track: FaceTrack, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Expression (K,) and pose (6,) of a frame."""
    return np.clip(track.expression[number], 0, 1).astype(float), track.pose()[number].astype(float)


def _size(track: FaceTrack) -> int:
    return int(np.clip(round(float(track.crop[2])) // 2 * 2, LEAST_SIZE, MOST_SIZE))


def _tested(track: FaceTrack) -> np.ndarray:
    """Evenly spaced frames, between those that a living texture is made of where there are enough."""
    known = np.flatnonzero(track.confidence > 0)
    unseen = np.setdiff1d(known, living.fit_frames(track))
    some = unseen if len(unseen) >= TESTED else known
    return some[np.unique(np.linspace(0, len(some) - 1, min(TESTED, len(some))).round().astype(int))]


def _each(compared: _Compared, numbers: np.ndarray, progress) -> list[Aligned | None]:
    """(T,) what the pixels of frames `numbers` say, None for all others."""
    asked = polish_frame.channels(list(map(str, compared.track.expression_names)))
    out: list[Aligned | None] = [None] * len(compared.track)

    def one(place: int) -> None:
        out[numbers[place]] = compared.align(int(numbers[place]), asked)

    each(len(numbers), one, lambda done, _: progress(done))
    return out


def _believed(track: FaceTrack, found: Sequence[Aligned | None]) -> np.ndarray:
    """(T,) bool: the pixels of the frame agree better than before, and the face is where it was, about."""
    out = np.zeros(len(track), bool)
    spread = np.array([polish_frame.TURN] * 3 + [polish_frame.SHIFT] * 2 + [polish_frame.DEPTH])
    for number, one in enumerate(found):
        if one is not None and one.after < one.before:
            moved = np.abs(_moved(one.pose, track.pose()[number].astype(float)))
            out[number] = bool((moved / spread).max() < FARTHEST)
    return out


def _moved(after: np.ndarray, before: np.ndarray) -> np.ndarray:
    """(…, 6) from pose `before` (…, 6) to `after`, angles the short way round."""
    out = after - before
    out[..., :3] = (out[..., :3] + np.pi) % (2 * np.pi) - np.pi
    return out


def _joined(track: FaceTrack, found: Sequence[Aligned | None], good: np.ndarray, runs: list[slice]) -> FaceTrack:
    """`track` with what the frames `good` (T,) say, joined over time within `runs`."""
    names, fps = list(map(str, track.expression_names)), float(track.fps)
    asked, start = polish_frame.channels(names), np.clip(track.expression, 0, 1).astype(float)
    change, moved = np.zeros((len(track), len(asked))), np.zeros((len(track), 6))
    beforehand = polish_frame.trust([names[k] for k in asked])
    known, gram = (np.tile(np.diag(part), (len(track), 1, 1)) for part in (beforehand[:6], beforehand[6:]))
    before = track.pose().astype(float)
    for number, one in _those(found, good):
        change[number] = (one.expression - start[number])[asked]
        moved[number] = _moved(one.pose, before[number])
        known[number], gram[number] = _shares(one.information)
    change, moved = _between(change, good, runs), _between(moved, good, runs)
    wanted = np.clip(start[:, asked] + change, 0, 1)
    out = start.copy()
    out[:, asked] = _smooth(wanted, gram, runs, [names[k] for k in asked], fps)
    for number, one in _those(found, good):
        # The pose that goes with the expression, now that this is another one.
        link = one.information[:6, 6:] @ (out[number, asked] - wanted[number])
        moved[number] -= np.linalg.solve(one.information[:6, :6], link)
    poses = steady(before + moved, known, runs, fps).astype(np.float32)
    return replace(track, expression=out.astype(np.float32), rotation=poses[:, :3], translation=poses[:, 3:])


def _those(found: Sequence[Aligned | None], good: np.ndarray) -> list[tuple[int, Aligned]]:
    """The `good` (T,) ones of `found`, with their numbers."""
    return [(number, one) for number, one in enumerate(found) if one is not None and good[number]]


def _shares(information: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(6, 6) what is known of the pose, whatever the expression, and (C, C) of that, whatever the pose."""
    rigid, link, free = information[:6, :6], information[:6, 6:], information[6:, 6:]
    return (rigid - link @ np.linalg.solve(free, link.T), free - link.T @ np.linalg.solve(rigid, link))


def _between(values: np.ndarray, good: np.ndarray, runs: list[slice]) -> np.ndarray:
    """`values` (T, C) with those of frames that are not `good` (T,) on the line between their neighbours in a run."""
    out = np.zeros_like(values)
    for run in runs:
        at = np.flatnonzero(good[run])
        for column in range(values.shape[1] if len(at) else 0):
            out[run, column] = np.interp(np.arange(run.stop - run.start), at, values[run][at, column])
    return out


def _smooth(wanted: np.ndarray, gram: np.ndarray, runs: list[slice], names: list[str], fps: float) -> np.ndarray:
    """(T, C) expressions near `wanted` (T, C), as near as `gram` (T, C, C) insists, as steady as expressions are."""
    joined = np.ones(max(len(wanted) - 1, 0), bool)
    joined[[run.start - 1 for run in runs[1:]]] = False
    chain = boxsolve.Chain(priors.temporal_weights(names, fps), joined)
    return boxsolve.solve(gram, (gram @ wanted[..., None])[..., 0], chain, below=priors.caps(names), start=wanted)


def _errors(compared: _Compared, better: FaceTrack, numbers: np.ndarray, progress) -> tuple[float, float]:
    """Mean squared errors over frames `numbers` of the face drawn as tracked, and as in `better`."""
    sums = np.zeros(2)
    for done, number in enumerate(map(int, numbers)):
        real = compared.real(number).astype(np.float32)
        drawn = [compared.draw(track, number) for track in (compared.track, better)]
        mask = np.minimum(drawn[0][..., 3], drawn[1][..., 3]) > OPAQUE
        if mask.any():
            sums += [float(((one[..., :3] - real)[mask] ** 2).mean()) for one in drawn]
        progress(2 * done + 2)
    return float(sums[0] / len(numbers)), float(sums[1] / len(numbers))
