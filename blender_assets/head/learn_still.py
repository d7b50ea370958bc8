"""How single pictures mislead: ``python -m blender_assets.head.learn_still WORK LANDMARKS INDEX``.

Writes `still.npz` and `mouth.safetensors` (see `learn_mouth`) beside the head. The clips themselves lie where the INDEX
names them. What is drawn and measured stays in WORK: the same command takes up what an earlier one left there.

Random heads are drawn by Blender as for the round-trip benchmark, but with another seed, and tracked like photos; ridge
regression on principal components tells from the solved picture by how much the pose is off and what some expressions
really weigh. Beside them stand single frames of people of the train split, whose whole clips say what the frame alone
does not: without them the guess turns everybody's head by the mean difference of drawn and filmed faces. Their turns
are freed of the mean. Mirror images count as well. From the same pictures a small network learns to read the mouth. Run
it again when the landmarks of `parley_head.npz` change: files for another head are not used.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import av
import numpy as np
from scipy.linalg import block_diag
from scipy.spatial.transform import Rotation

from blender_assets.head import learn_mouth
from blender_assets.head.learn_identity import person_of, read_index, validate_people
from ml_backend.artefacts.schema import load_fields, save_fields
from ml_backend.blender import Blender, find_blender
from ml_backend.config import head_model
from ml_backend.errors import ArtefactError, UserInputError
from ml_backend.face_model.look import hairstyles
from ml_backend.face_model.model import FaceModel, load
from ml_backend.face_model.synthesis import rotation_matrix
from ml_backend.reconstruct import landmarks, mouth_reader, photo_prior, pose, still
from ml_backend.reconstruct.appearance import CELL, DIRECTIONS, MOUTH, appearance
from ml_backend.reconstruct.fit import first_view, fit_landmarks
from ml_backend.reconstruct.mouth_view import mouth_view
from ml_backend.reconstruct.photo_prior import TURN_UNIT, PhotoPrior
from ml_backend.reconstruct.points import Rig, rig

HEADS = {4201: 1600, 9101: 500}
"""Seeds, none the benchmark's, and how many heads are drawn of each."""
SAMPLES = 4
"""Of a pixel; the benchmark's 8 look the same at the size of a mouth's view and take a third longer."""
SCHEMA, VERSION = "parley.still_sample", 1
COMPONENTS, RIDGE = 60, 400.0
SEEN_COMPONENTS, SEEN_RIDGE = 240, 800.0
"""The same for what a picture shows, of each patch."""
PEOPLE = 0.8
"""Weight of all frames of people beside that of all heads: those are measured less well, but real."""
LEAST = 1e-3
"""A component's spread beside the first one's below which it is noise."""
GUESSED = ("jawOpen", "mouthPucker", "mouthSmileLeft", "mouthSmileRight", "eyeBlinkLeft", "eyeBlinkRight",
           "browInnerUp")
"""Channels whose guess is better on frames of unseen people; others' is not."""
SHOWN = {"mouthPucker": 0.5}
"""Share of the picture's guess in channels of which it tells more on heads than on people; the rest is the landmarks'
guess, as turns are wholly. Half of it costs people nothing."""
FOLDS = 5
"""Parts of what is drawn and filmed that are left out in turn, for guesses as good as those at strangers."""
SAMPLED, PICKED = 120, 20
"""Frames of a clip that tell its person, and those that are solved by themselves."""


@dataclass(frozen=True)
class Sample:
    """N solved pictures: target (N, L, 3), expression (N, K), angles (N, 3); the truth: turn (N, 3), weights (N, K).

    Their `appearance` is look (N, F), and in a mirror other_look (N, F); the `mouth_view` is mouth (N, H, W, 3) uint8.
    """

    target: np.ndarray
    expression: np.ndarray
    angles: np.ndarray
    turn: np.ndarray
    weights: np.ndarray
    look: np.ndarray
    other_look: np.ndarray
    mouth: np.ndarray


def solved(marks: np.ndarray, size: np.ndarray, pose_truth: np.ndarray, weights: np.ndarray, points: Rig,
           pictures: Sequence[np.ndarray]) -> Sample:
    """Solve landmarks (N, 478, 3) of N pictures of `size` (2,), each by itself; those without a face (NaN) left out."""
    rows: list[tuple[np.ndarray, ...]] = []
    for mark, true, weight, picture in zip(marks, pose_truth.astype(float), weights, pictures, strict=True):
        if not np.isfinite(mark).all():
            continue
        found = still.solve(first_view(mark[None, points.index].astype(float), points, size), points)
        rotation = found.view.rotation[0]
        turn = Rotation.from_matrix(rotation.T @ rotation_matrix(true[None, :3])[0]).as_rotvec()
        rows.append((found.target[0], found.expression[0], pose.angles_of(rotation[None])[0], turn, weight,
                     *appearance(picture, mark), mouth_view(picture, found.view, found.target[0], points)))
    return Sample(*(np.stack(column) for column in zip(*rows, strict=True)))


def mirrored(sample: Sample, points: Rig) -> Sample:
    """The same pictures in a mirror."""
    distance = np.linalg.norm(points.mean[:, None] * [-1, 1, 1] - points.mean[None], axis=-1)
    other = [points.names.index(_other(name)) for name in points.names]
    flip = np.array([1, -1, -1])
    return Sample(sample.target[:, distance.argmin(1)] * [-1, 1, 1], sample.expression[:, other], sample.angles * flip,
                  sample.turn * flip, sample.weights[:, other], sample.other_look, sample.look,
                  sample.mouth[:, :, ::-1])


def _other(name: str) -> str:
    """The channel of the other side, or `name` itself."""
    for side, instead in (("Left", "Right"), ("Right", "Left")):
        if name.endswith(side):
            return name.removesuffix(side) + instead
    return name


def learn(heads: Sample, people: Sample | None, points: Rig) -> PhotoPrior:
    """Ridge on whitened principal components of the landmarks, on solved channels and angles.

    `people`, whose turns are freed of their mean, weigh `PEOPLE` times as much as all `heads`.
    """
    parts = [_doubled(heads, points)] + ([] if people is None else [_doubled(people, points)])
    whole = [np.concatenate(fields) for fields in zip(*(vars(part).values() for part in parts), strict=True)]
    target, expression, angles, turn, weights, look, _, _ = whole
    count = len(parts[0].angles)
    share = np.full(len(angles), PEOPLE * count / max(len(angles) - count, 1))
    share[:count] = 1
    places = photo_prior.moved(target, points.mean)
    centre = places.mean(0)
    _, spread, modes = np.linalg.svd(places - centre, full_matrices=False)
    scale = np.maximum(spread[:COMPONENTS], LEAST * spread[0]) / np.sqrt(len(places))
    modes = modes[:COMPONENTS] / scale[:, None]
    inputs = photo_prior.features((places - centre) @ modes.T, expression, angles)
    wanted = np.concatenate([turn / TURN_UNIT, weights[:, [points.names.index(name) for name in GUESSED]]], 1)
    plain, bias = _ridge(inputs, wanted, share, np.full(inputs.shape[1], RIDGE))
    seen_plain, seen_bias = _with_picture(inputs, wanted, share, look, angles)
    share_seen = np.array([0.0] * 3 + [SHOWN.get(name, 1.0) for name in GUESSED])
    landmarks_alone = np.pad(plain, ((0, 0), (0, seen_plain.shape[1] - plain.shape[1])))
    seen_plain = share_seen[:, None] * seen_plain + (1 - share_seen[:, None]) * landmarks_alone
    seen_bias = share_seen * seen_bias + (1 - share_seen) * bias
    numbers = (part.astype(np.float32) for part in (centre, modes, plain, bias, seen_plain, seen_bias))
    return PhotoPrior(points.mean.astype(np.float32), np.array(points.names), np.array(GUESSED), *numbers)


def _ridge(inputs: np.ndarray, wanted: np.ndarray, share: np.ndarray, penalty: np.ndarray
           ) -> tuple[np.ndarray, np.ndarray]:
    """Weights (W, D) and bias (W,) from inputs (N, D) to `wanted` (N, W), whose rows count by their `share` (N,)."""
    middle, level = share @ inputs / share.sum(), share @ wanted / share.sum()
    scaled = (inputs - middle) * share[:, None]
    gram = scaled.T @ (inputs - middle) + np.diag(penalty)
    found = np.linalg.solve(gram, scaled.T @ (wanted - level)).T
    return found, level - found @ middle


def _with_picture(inputs: np.ndarray, wanted: np.ndarray, share: np.ndarray, look: np.ndarray, angles: np.ndarray
                  ) -> tuple[np.ndarray, np.ndarray]:
    """The same with `look` (N, F) beside, as weights (W, D + 2 F): its principal components are multiplied out."""
    parts = []
    for patch in np.split(look, [DIRECTIONS * (MOUTH[0] // CELL) * (MOUTH[1] // CELL)], axis=1):
        spread, modes = np.linalg.eigh(np.cov(patch, rowvar=False, aweights=share))
        best = slice(-1, -1 - min(SEEN_COMPONENTS, len(spread)), -1)
        parts.append(modes[:, best] / np.sqrt(np.maximum(spread[best], LEAST**2 * max(spread[-1], 1.0))))
    basis = block_diag(*parts, *parts)
    whole = np.concatenate([inputs, photo_prior.seen(look, angles) @ basis], 1)
    penalty = np.full(whole.shape[1], SEEN_RIDGE)
    penalty[: inputs.shape[1]] = RIDGE
    found, bias = _ridge(whole, wanted, share, penalty)
    return np.concatenate([found[:, : inputs.shape[1]], found[:, inputs.shape[1]:] @ basis.T], 1), bias


def _doubled(sample: Sample, points: Rig) -> Sample:
    """`sample` and its mirror image."""
    pairs = zip(vars(sample).values(), vars(mirrored(sample, points)).values(), strict=True)
    return Sample(*(np.concatenate(pair) for pair in pairs))


def people(folder: Path, index: Path, points: Rig, model: FaceModel) -> Sample:
    """Frames of the clips in `folder` of the train split, solved alone, with what the whole clip says about them."""
    splits, clips = read_index(index), {path.stem: path for path in index.parent.iterdir()}
    unseen = validate_people(splits)
    found = []
    for stem, split in sorted(splits.items()):
        path = folder / "clips" / f"{stem}.npz"
        if split == "train" and person_of("clips", stem) not in unseen and path.is_file() and stem in clips:
            found.append(_of_clip(path, clips[stem], points, model))
    whole = joined(found)
    return replace(whole, turn=whole.turn - whole.turn.mean(0))


def _of_clip(path: Path, clip_file: Path, points: Rig, model: FaceModel) -> Sample:
    with np.load(path, allow_pickle=False) as data:
        marks, size, fps = data["landmarks"], data["size"], float(data["fps"])
    step = max(1, len(marks) // SAMPLED)
    clip = fit_landmarks(marks[::step], size, model, fps / step)
    known = np.flatnonzero(clip.found)
    known = known[np.unique(np.linspace(0, len(known) - 1, PICKED).round().astype(int))]
    truth = np.concatenate([clip.rotation, clip.translation], 1)[known]
    return solved(marks[::step][known], size, truth, clip.expression[known], points,
                  _frames(clip_file, known * step, size))


def _frames(path: Path, numbers: np.ndarray, size: np.ndarray) -> list[np.ndarray]:
    """The frames `numbers` (N,), rising, of a clip, RGB uint8, as large as its landmarks take it to be."""
    wanted, found = set(numbers.tolist()), []
    with av.open(str(path)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number in wanted:
                found.append(frame.to_ndarray(format="rgb24", width=int(size[0]), height=int(size[1])))
    return found


def read_mouths(heads: Sample, people: Sample, points: Rig) -> mouth_reader.MouthReader:
    """The network that reads mouths, learned from both."""
    drawn, met = (learn_mouth.Mouths(part.mouth, part.expression, part.angles, guess, part.weights)
                  for part, guess in zip((heads, people), crossed(heads, people, points), strict=True))
    return learn_mouth.learn(drawn, met, points.mean, points.names, list(GUESSED))


def crossed(heads: Sample, people: Sample, points: Rig) -> tuple[np.ndarray, np.ndarray]:
    """(N, C) guesses at `heads` and at `people`, each from a map learned without it and, but for a few, its clip."""
    folds = [np.arange(len(part.angles)) * FOLDS // len(part.angles) for part in (heads, people)]
    found = [np.empty((len(fold), len(GUESSED))) for fold in folds]
    for left_out in range(FOLDS):
        learned = learn(taken(heads, folds[0] != left_out), taken(people, folds[1] != left_out), points)
        for out, sample, fold in zip(found, (heads, people), folds, strict=True):
            own = taken(sample, fold == left_out)
            out[fold == left_out] = learned.guess(own.target, own.expression, own.angles, own.look)[1]
    return found[0], found[1]


def taken(sample: Sample, which: np.ndarray) -> Sample:
    """Those of a sample that are chosen by `which` (N,)."""
    return Sample(*(values[which] for values in vars(sample).values()))


def draw_and_measure(work: Path, seed: int, count: int, model: FaceModel, model_file: Path, blender: Blender) -> Sample:
    """Draw `count` heads of a `seed` in `work`, or take up what lies there, find their landmarks and solve them."""
    # Heads are the benchmark's, which an installed Parley does not have.
    from tests.benchmarks import face_heads, face_roundtrip

    heads = face_heads.draw(model, count, seed, hairstyles(model_file))
    images = face_roundtrip.pictures(heads, blender, work.resolve(), model_file, samples=SAMPLES)
    marks = np.full((count, 478, 3), np.nan, np.float32)
    for number, image in enumerate(images):
        try:
            marks[number] = landmarks.detect([image]).landmarks[0]
        except UserInputError:
            continue  # no face in it: nothing to learn from
    return solved(marks, np.full(2, face_heads.SIZE), heads.pose, heads.expression, rig(model), images)


def kept(path: Path, make: Callable[[], Sample]) -> Sample:
    """The sample that an earlier run left at `path`, or the one made now, which is left there."""
    try:
        return load_fields(Sample, path, SCHEMA, VERSION)
    except ArtefactError:
        save_fields(found := make(), path, SCHEMA, VERSION)
    return found


def joined(parts: Sequence[Sample]) -> Sample:
    """All of them as one."""
    return Sample(*(np.concatenate(column) for column in zip(*(vars(one).values() for one in parts), strict=True)))


def main() -> None:
    """Command line entry."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path, help="folder for pictures, about a second of a core each, and measurements")
    parser.add_argument("landmarks", type=Path, help="folder with clips/*.npz")
    parser.add_argument("index", type=Path, help="the clips' index.csv: its validate split is left out")
    parser.add_argument("--blender", help="executable; default: the one that Parley finds")
    options = parser.parse_args()
    model_file = head_model()
    model, blender = load(model_file), find_blender(options.blender)
    points = rig(model)
    heads = joined([kept(options.work / f"heads_{seed}.npz",
                         partial(draw_and_measure, options.work / str(seed), seed, count, model, model_file, blender))
                    for seed, count in HEADS.items()])
    met = kept(options.work / "people.npz", partial(people, options.landmarks, options.index, points, model))
    save_fields(learn(heads, met, points), photo_prior.beside(model_file), photo_prior.SCHEMA, photo_prior.VERSION)
    mouth_reader.save(read_mouths(heads, met, points), mouth_reader.beside(model_file))


if __name__ == "__main__":
    main()
