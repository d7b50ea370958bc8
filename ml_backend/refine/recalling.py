"""What a clip's frames lacked as rendered, remembered, judged on the clip's held-out end, and given to a film's frames.

A character knows the frames it was made of, so that what it lacks there is less than what it lacks elsewhere, and
nothing of it can be tested on frames it knows. So the memory is judged with a character made without the clip's end:
what that one lacked in the frames before it must make its rendering of the end better.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ml_backend.metrics.image import Quality, measure
from ml_backend.progress import Progress, silent
from ml_backend.reconstruct.recall import POSE_NAMES, Recall, described, learn
from ml_backend.reconstruct.recall_frames import Drawn, FaceMap, recalled
from ml_backend.reconstruct.recall_strips import Notes
from ml_backend.refine.config import TrainOptions
from ml_backend.refine.judging import judged
from ml_backend.refine.losses import feature_weights
from ml_backend.refine.recalling_strips import Chosen, Measure, Noted, choose, give_strips
from ml_backend.refine.shutter import Watch, exposed, motion

MOST_SHARE, LEAST_SHARE = 1.0, 0.1
"""Of what is recalled that is given to a region of the face; below the least it is not worth it."""
NOTHING = 1e-6
DrawnBy = Callable[[int], Drawn]
"""Of a frame's number to its pictures."""


@dataclass(frozen=True)
class Acted:
    """How T frames were drawn.

    Attributes
    ----------
    names : K expressions
    expression : (T, K) weights
    pose : (T, 6) rad and m
    """

    names: list[str]
    expression: np.ndarray
    pose: np.ndarray

    def described(self, names: np.ndarray, rows: slice = slice(None)) -> np.ndarray:
        """(T, P) float32 features `names` of frames `rows`; see `ml_backend.reconstruct.recall.described`."""
        return described(names, self.names, self.expression[rows], self.pose[rows, :3])

    def frame(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """(K,) expression and (6,) pose of a frame."""
        return self.expression[index], self.pose[index]


@dataclass(frozen=True)
class Remembered:
    """What became of a memory.

    Attributes
    ----------
    recall : the memory, None where it makes the held-out end no better
    shares : of mouth, eyes and skin, how much of what is recalled they are given
    before, after : the end without and with it; None where there were too few frames
    strips : of mouth and eyes, how much of their strips is used, and how crisp they are; empty where they don't help
    shutter : share of a frame's time for which the camera's is open
    """

    recall: Recall | None
    shares: tuple[float, ...]
    before: Quality | None
    after: Quality | None
    strips: tuple[float, ...] = ()
    shutter: float = 0.0

    def as_dict(self) -> dict:
        """JSON-ready."""
        return {"used": self.recall is not None, "shares": [round(share, 3) for share in self.shares],
                "strips": [round(share, 3) for share in self.strips], "shutter": self.shutter,
                "before": self.before and self.before.as_dict(), "after": self.after and self.after.as_dict()}


def remember(face: FaceMap, acted: Acted, own: DrawnBy, unseen: DrawnBy, ends: np.ndarray, landmarks: np.ndarray | None,
             progress: Progress = silent) -> Remembered:
    """Remember what frames lacked, if that makes others better.

    Parameters
    ----------
    face : of the person
    acted : of the T frames
    own : a frame as drawn with the film's character
    unseen : a frame as drawn with a character made without the `ends`
    ends : numbers of the frames that are held out
    landmarks : (T, 478, 2) in the crop, pixels; None = not known
    progress : called with frames done and in total
    """
    everything = np.arange(len(acted.expression))
    names, rows = np.array([*acted.names, *POSE_NAMES]), np.setdiff1d(everything, ends)
    values, total, done, watch = acted.described(names), 2 * len(everything), [0], Watch.of(face, acted.pose)

    def counted(drawn: DrawnBy) -> DrawnBy:
        return _counted(drawn, done, total, progress)

    tested, noted = _learn(face, acted, names, values, counted(watch.over(unseen)), rows)
    if tested is None or not len(ends):
        return Remembered(None, (), None, None)
    frames = [counted(watch.over(unseen))(int(index)) for index in ends]
    shutter = watch.shutter()
    tested, shares = _trusted(face, acted, tested, values, frames, ends)

    measured = _Judge(frames, None if landmarks is None else landmarks[ends], shutter * watch.ways[ends],
                      lambda: progress(min(done[0], total), total))
    made, soft = _made(face, acted, tested, values, frames, ends, measured)
    chosen = _chosen(noted, values[ends], [acted.frame(int(index)) for index in ends], made, frames, measured)
    before, after = measured.instant([one.composite for one in frames], True), measured(chosen.pictures, True)
    worse = judged(after) >= judged(before) or after.psnr < before.psnr or after.ssim < before.ssim
    recall, noted = (None, noted) if worse else _learn(face, acted, names, values, counted(own), everything)
    if recall is not None:
        recall = replace(recall, trust=tested.trust, soft=np.array(soft), strips=chosen.learned(noted),
                         shutter=np.array(shutter, np.float32))
    return Remembered(recall, shares, before, after, chosen.facts(), shutter)


@dataclass(frozen=True)
class _Judge:
    """Of pictures of the held-out `frames`, whose faces go along `ways` (T, 2) while the shutter is open.

    `landmarks` (T, 478, 2) in the crop, None = not known; `began` is called first.
    """

    frames: Sequence[Drawn]
    landmarks: np.ndarray | None
    ways: np.ndarray
    began: Callable[[], None]

    def __call__(self, pictures: Sequence[np.ndarray], consecutive: bool = False) -> Quality:
        """How good `pictures` are as the camera shows them."""
        return self.instant([exposed(picture, frame.shown, way) for picture, frame, way
                             in zip(pictures, self.frames, self.ways, strict=True)], consecutive)

    def instant(self, pictures: Sequence[np.ndarray], consecutive: bool = False) -> Quality:
        """How good they are as they are."""
        self.began()
        return _quality(pictures, self.frames, self.landmarks, consecutive)


def _counted(drawn: DrawnBy, done: list[int], total: int, progress: Progress) -> DrawnBy:
    """`drawn`, each of whose frames is one more `done`."""
    def one(index: int) -> Drawn:
        picture = drawn(index)
        done[0] += 1
        progress(min(done[0], total), total)
        return picture
    return one


def _chosen(noted: Noted, values: np.ndarray, drawn: Sequence[tuple[np.ndarray, np.ndarray]],
            made: Sequence[np.ndarray], frames: Sequence[Drawn], measured: Measure) -> Chosen:
    """Which strips, learned from the frames `noted`, are best for the held-out `frames` of features `values`."""
    end = Noted(noted.face, tuple(Notes.empty(strip, len(frames)) for strip in noted.face.strips), values,
                noted.metrics)
    for place, (frame, one) in enumerate(zip(frames, drawn, strict=True)):
        end.take(place, frame, *one)
    return choose(noted, end, drawn, made, frames, measured)


def _made(face: FaceMap, acted: Acted, recall: Recall, values: np.ndarray, frames: Sequence[Drawn], ends: np.ndarray,
          measured: Measure) -> tuple[list[np.ndarray], bool]:
    """The `ends` with `recall`, and whether they are better with the mouth freed of specks, as they are here then."""
    made = [give(face, recall, amounts, frame, acted, int(index))
            for frame, amounts, index in zip(frames, recall.amounts(values[ends]), ends, strict=True)]
    clean = [face.despeckled(picture, frame.shown, acted.expression[index], acted.pose[index])
             for picture, frame, index in zip(made, frames, ends, strict=True)]
    plain, softer = measured(made), measured(clean)
    soft = softer.psnr > plain.psnr and _unlike(softer) < _unlike(plain)
    return (clean if soft else made), soft


def give(face: FaceMap, recall: Recall, amounts: np.ndarray, frame: Drawn, acted: Acted, index: int) -> np.ndarray:
    """(S, S, 3) uint8: the composite of `frame`, drawn as `acted` says for `index`, with what it lacks."""
    drawn = acted.frame(index)
    found = recalled(frame.composite, face.paint(recall.at(amounts), *drawn), frame.shown)
    if recall.soft:
        found = face.despeckled(found, frame.shown, *drawn)
    features = acted.described(recall.names, slice(index, index + 1))[0]
    found = give_strips(face, recall.strips, features, drawn, found, frame)
    return found if not recall.shutter else exposed(found, frame.shown,
                                                    float(recall.shutter) * motion(face, acted.pose, index))


def _unlike(quality: Quality) -> float:
    """How many times sharper or softer the mouth is than the real one, as a logarithm; NaN where that is not known."""
    return abs(float(np.log(max(quality.mouth_sharpness, NOTHING))))


def _learn(face: FaceMap, acted: Acted, names: np.ndarray, values: np.ndarray, drawn: DrawnBy, rows: np.ndarray
           ) -> tuple[Recall | None, Noted]:
    """A memory of frames `rows`, and what these show on strips."""
    noted = Noted.empty(face, names, values[rows])

    def frame(place: int) -> Drawn:
        found = drawn(int(rows[place]))
        noted.take(place, found, *acted.frame(int(rows[place])))
        return found

    seen = face.observe(frame, acted.expression[rows], acted.pose[rows])
    return learn(names, values[rows], seen, face.side), noted


def _trusted(face: FaceMap, acted: Acted, recall: Recall, values: np.ndarray, frames: Sequence[Drawn], ends: np.ndarray
             ) -> tuple[Recall, tuple[float, ...]]:
    """`recall` with the share of it in each region that is best for `frames`, the `ends`; and these shares."""
    regions = face.regions()
    along, across = np.zeros(len(regions)), np.full(len(regions), NOTHING)
    for frame, amounts, index in zip(frames, recall.amounts(values[ends]), ends, strict=True):
        lacked, weight = face.lacking(frame, acted.expression[index], acted.pose[index])
        said, weight = recall.at(amounts), weight.astype(np.float32)
        for number, region in enumerate(regions):
            along[number] += float((weight * (said * lacked).sum(1))[region].sum())
            across[number] += float((weight * (said * said).sum(1))[region].sum())
    best = np.clip(along / across, 0, MOST_SHARE)
    shares = np.where(best < LEAST_SHARE, 0, best)
    trust = np.zeros(len(face.texels), np.float32)
    for share, region in zip(shares, regions, strict=True):
        trust[region] = share
    return replace(recall, trust=trust), tuple(float(share) for share in shares)


def _quality(pictures: Sequence[np.ndarray], frames: Sequence[Drawn], landmarks: np.ndarray | None, consecutive: bool
             ) -> Quality:
    options, shape = TrainOptions(), (frames[0].real.shape[0], frames[0].real.shape[1])
    weights = [np.ones(shape, np.float32)] * len(frames) if landmarks is None else [
        feature_weights(points, shape, mouth=options.mouth_weight, eyes=options.eye_weight) for points in landmarks]
    return measure(pictures, [frame.real for frame in frames], weights, landmarks, consecutive=consecutive)
