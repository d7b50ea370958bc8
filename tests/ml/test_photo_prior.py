"""The learned guess for single pictures: what it is made of, when it is used, and what it moves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from blender_assets.head import learn_still
from ml_backend.artefacts.schema import save_fields
from ml_backend.errors import ArtefactError
from ml_backend.reconstruct import photo_prior, still
from ml_backend.reconstruct.appearance import COUNT, appearance
from ml_backend.reconstruct.fit import first_view
from ml_backend.reconstruct.mouth_view import HEIGHT, WIDTH
from ml_backend.reconstruct.points import rig
from tests.ml.reconstruct_toys import SIZE, head, landmarks, weights


def sample(count: int, seed: int, lag: float) -> learn_still.Sample:
    """Heads whose pose is found `lag` of a turn short, and whose landmarks show that turn."""
    random, points = np.random.default_rng(seed), rig(head())
    angles = random.normal(0, 0.2, (count, 3)) * [1, 1, 0.3]
    shown = np.sin(angles[:, 1])[:, None, None] * np.abs(points.mean[:, 2:]) * [0.1, 0, 0]
    expression = random.uniform(0, 1, (count, len(points.names)))
    target = points.mean + shown + random.normal(0, 1e-4, (count, *points.mean.shape))
    look = random.normal(0, 0.1, (2, count, COUNT))
    look[0, :, 0], look[1, :, 0] = angles[:, 1], -angles[:, 1]
    mouth = np.zeros((count, HEIGHT, WIDTH, 3), np.uint8)
    return learn_still.Sample(target, expression, angles, lag * angles * [0, 1, 0], expression,
                              look[0], look[1], mouth)


def test_the_guess_finds_the_lag() -> None:
    learned = learn_still.learn(sample(200, 0, 0.1), None, rig(head()))
    other = sample(50, 1, 0.1)
    turn, found = learned.guess(other.target, other.expression, other.angles)
    assert np.corrcoef(turn[:, 1], other.turn[:, 1])[0, 1] > 0.9
    assert found.shape == (50, len(learn_still.GUESSED)) and found.min() >= 0 and found.max() <= 1


def test_people_keep_the_guess_from_turning_everybody() -> None:
    heads = sample(200, 0, 0.0)
    turned = replace(heads, turn=heads.turn + np.array([0.05, 0, 0]))
    met = sample(200, 2, 0.0)
    alone, beside = (learn_still.learn(turned, people, rig(head())).guess(met.target, met.expression, met.angles)[0]
                     for people in (None, met))
    assert abs(beside[:, 0].mean()) < 0.7 * abs(alone[:, 0].mean())


def test_a_mirrored_face_turns_the_other_way() -> None:
    learned, points = learn_still.learn(sample(200, 0, 0.1), None, rig(head())), rig(head())
    one = sample(20, 3, 0.1)
    other = learn_still.mirrored(one, points)
    first, second = (learned.guess(s.target, s.expression, s.angles)[0] for s in (one, other))
    assert first * [1, -1, -1] == pytest.approx(second, abs=5e-3)


def test_the_guess_turns_a_part_of_the_way() -> None:
    points = rig(head())
    marks = landmarks(weights(1), np.array([[0.0, 0.2, 0, 0, 0.01, 0.7]]), np.zeros(len(points.identity)))
    view = first_view(marks[:, points.index].astype(float), points, np.asarray(SIZE))
    plain = learn_still.learn(sample(60, 0, 0.0), None, points)
    bias = np.zeros_like(plain.bias)
    bias[1] = 1.0
    always = replace(plain, weights=np.zeros_like(plain.weights), bias=bias)
    never = replace(always, bias=np.zeros_like(bias))
    yaw = [still.pose.angles_of(still.solve(view, points, guess).view.rotation)[0, 1] for guess in (always, never)]
    assert yaw[0] - yaw[1] == pytest.approx(still.TURN_BELIEF * photo_prior.TURN_UNIT, abs=0.02)


def test_only_its_own_head_is_guessed_for() -> None:
    points = rig(head())
    moved = replace(points, mean=points.mean + 0.001)
    assert photo_prior.prior_of(moved) is None
    assert photo_prior.prior_of(replace(points, mean=points.mean[:-1])) is None


def test_damaged_files_are_named(tmp_path) -> None:
    plain = learn_still.learn(sample(60, 0, 0.0), None, rig(head()))
    path = tmp_path / "still.npz"
    save_fields(replace(plain, weights=plain.weights[:-1]), path, photo_prior.SCHEMA, photo_prior.VERSION)
    with pytest.raises(ArtefactError, match="weights"):
        photo_prior.read(path)


def test_a_picture_adds_to_the_guess() -> None:
    heads = sample(200, 0, 0.1)
    raised = np.random.default_rng(5).uniform(0, 1, (200, 1))
    row = rig(head()).names.index("jawOpen")
    heads.weights[:, row] = raised[:, 0]
    look = heads.look.copy()
    look[:, 1:2] = 5 * raised
    shown = replace(heads, look=look, other_look=look)
    learned = learn_still.learn(shown, None, rig(head()))
    place = learn_still.GUESSED.index("jawOpen")
    plain, seen = (learned.guess(shown.target, shown.expression, shown.angles, found)[1][:, place]
                   for found in (None, look))
    assert np.corrcoef(seen, raised[:, 0])[0, 1] > max(0.8, np.corrcoef(plain, raised[:, 0])[0, 1])


def test_half_of_what_a_picture_says_about_a_pucker_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    heads, points = sample(80, 0, 0.1), rig(head())
    row = 3 + learn_still.GUESSED.index("mouthPucker")
    found = []
    for share in (0.0, 0.5, 1.0):
        monkeypatch.setattr(learn_still, "SHOWN", {"mouthPucker": share})
        found.append(learn_still.learn(heads, None, points))
    none, half, whole = (one.seen_weights[row] for one in found)
    assert half == pytest.approx((none + whole) / 2, abs=1e-6) and not np.allclose(none, whole)
    assert none[: found[0].weights.shape[1]] == pytest.approx(found[0].weights[row])
    assert np.array_equal(found[0].seen_weights[0], found[2].seen_weights[0]), "turns are guessed from landmarks"


def test_appearance_is_of_the_face_not_of_its_light_or_place() -> None:
    random = np.random.default_rng(0)
    picture = np.kron(random.integers(40, 120, (20, 20, 3)), np.ones((10, 10, 1))).astype(np.uint8)
    mark = np.zeros((478, 3))
    mark[:, :2] = [100, 100]
    mark[33, :2], mark[263, :2] = [64, 90], [136, 90]
    first, mirrored = appearance(picture, mark)
    moved, _ = appearance(np.roll(picture, 7, 1), mark + np.array([7, 0, 0]))
    lit, _ = appearance(picture * 2, mark)
    assert first.shape == (COUNT,)
    assert np.abs(moved - first).mean() < 0.02 and np.abs(lit - first).mean() < 0.02
    assert np.abs(mirrored - first).mean() > 0.1


def test_what_was_measured_is_taken_up_again(tmp_path) -> None:
    made = []

    def make() -> learn_still.Sample:
        made.append(1)
        return sample(3, 0, 0.1)

    first, second = (learn_still.kept(tmp_path / "heads.npz", make) for _ in range(2))
    assert len(made) == 1 and np.array_equal(first.mouth, second.mouth)
    (tmp_path / "heads.npz").write_bytes(b"broken off")
    learn_still.kept(tmp_path / "heads.npz", make)
    assert len(made) == 2


def test_guesses_that_the_mouth_s_reader_learns_from_are_of_strangers(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    class Counted:
        def guess(self, target, *_) -> tuple[None, np.ndarray]:
            seen.append(len(target))
            return None, target[:, :1, 0] + np.zeros((1, len(learn_still.GUESSED)))

    def learned(heads: learn_still.Sample, people: learn_still.Sample, _) -> Counted:
        assert len(heads.angles) == 16 and len(people.angles) == 8 and len(set(heads.target[:, 0, 0])) == 4
        return Counted()

    monkeypatch.setattr(learn_still, "learn", learned)
    heads, people = sample(20, 0, 0.1), sample(10, 1, 0.1)
    heads.target[:, 0, 0] = np.repeat(np.arange(5), 4) * 10 + 1
    at_heads, at_people = learn_still.crossed(heads, people, rig(head()))
    assert at_heads.shape == (20, len(learn_still.GUESSED)) and len(at_people) == 10
    assert np.array_equal(at_heads[:, 0], heads.target[:, 0, 0]) and sum(seen) == 30
