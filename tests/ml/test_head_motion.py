"""Head motion: the person's spread and speed for as long as it lasts, sources, amounts, no jump, no drift."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ml_backend.config import pose_weights
from ml_backend.errors import UserInputError
from ml_backend.motion.head_controls import HeadControls, PoseAmount, parse_amount
from ml_backend.motion.head_pose import POSE_SOURCES, head_pose
from ml_backend.motion.pose_checkpoint import load_pose
from ml_backend.motion.pose_manner import observe
from ml_backend.motion.pose_match import most_like
from ml_backend.motion.pose_replay import follow, to_and_fro
from ml_backend.motion.style import MotionStyle, default_style, smooth, style_from_track
from tests.ml.motion_toys import shard, statistics
from tests.ml.test_motion_train import track_of
from tests.ml.test_pose_network import talk


@pytest.fixture(scope="module")
def weights():
    return load_pose(pose_weights())


def person(seconds: float = 30, seed: int = 4) -> MotionStyle:
    """Somebody whose head wanders and nods."""
    generator = np.random.default_rng(seed)
    frames = round(seconds * 25)
    path = np.cumsum(generator.standard_normal((frames + 100, 6)), 0)
    path -= smooth(np.stack([np.convolve(axis, np.ones(75) / 75, "same") for axis in path.T], 1))
    path = smooth(smooth(path[50:-50]))
    path = path / path.std(0) * np.array([0.04, 0.06, 0.03, 0.004, 0.004, 0.005])
    return style_from_track(replace(track_of(shard(seconds, seed, "train")), rotation=path[:, :3].astype(np.float32),
                                    translation=path[:, 3:].astype(np.float32) + 0.5), statistics())


def speed(pose: np.ndarray) -> float:
    return float(np.abs(np.diff(pose[:, :3], axis=0)).mean())


@pytest.mark.parametrize("source", ["predicted", "clip", "woven"])
def test_head_motion_has_the_persons_spread_and_speed(weights, source):
    style, seconds = person(), 20
    network, name = (None, "predicted") if source == "woven" else (weights, source)
    for seed in range(3):
        pose = head_pose(style, seconds * 25, seed=seed, weights=network, sound=talk(seconds * 25, seed), source=name)
        assert pose.shape == (seconds * 25, 6)
        ratio = pose.std(0) / style.pose_std
        assert ratio.min() > 0.6
        assert ratio.max() < 1.4
        assert 0.7 < speed(pose) / speed(style.pose_track) < 1.4
        assert (np.abs(pose.mean(0) - style.pose_mean) < style.pose_std).all()


def test_ten_minutes_neither_drift_nor_die_nor_repeat(weights):
    style, frames = person(12), 25 * 600
    pose = head_pose(style, frames, seed=1, weights=weights, sound=talk(frames, 1))
    minutes = pose.reshape(10, -1, 6)
    assert (np.abs(minutes.mean(1) - style.pose_mean) < 0.6 * style.pose_std).all()
    assert (minutes.std(1) > 0.5 * style.pose_std).all()
    assert (minutes.std(1) < 1.5 * style.pose_std).all()
    assert (np.abs(pose - style.pose_mean) < 5 * style.pose_std).all()
    first = np.array([speed(minute) for minute in minutes])
    assert first.min() > 0.6 * first.mean()
    # No stretch of 4 s comes again: not even its best match elsewhere goes along with it.
    turns = (pose[::5, :3] - pose.mean(0)[:3]) / pose.std(0)[:3]
    piece = turns[1000:1020]
    others = [np.abs(turns[k:k + 20] - piece).mean() for k in range(len(turns) - 20) if abs(k - 1000) > 20]
    assert min(others) > 0.1


def test_the_network_alone_comes_back_to_the_mean(weights):
    from ml_backend.motion.pose_manner import personal
    from ml_backend.motion.pose_sample import sample_pose

    manner = personal(person().pose_track, weights.general, weights.network.config.stride)
    pose = sample_pose(weights, manner, 25 * 200, 3, talk(25 * 200, 3)) / manner.std
    halves = pose.reshape(2, -1, 6)
    assert np.abs(halves.mean(1)).max() < 0.8
    assert pose.std(0).min() > 0.4
    assert pose.std(0).max() < 1.8


def test_seeds_repeat_and_differ(weights):
    style, sound = person(), talk(250, 0)
    one, two, other = (head_pose(style, 250, seed=seed, weights=weights, sound=sound) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert np.abs(one - other).max() > 0.01


def test_heads_are_livelier_in_speech_than_in_pauses(weights):
    style, sound = person(), talk(25 * 100, 0)
    active = sound[1:, 5] > 0
    gains = []
    for seed in range(2):
        moving = np.abs(np.diff(head_pose(style, len(sound), seed=seed, weights=weights, sound=sound)[:, :3], axis=0))
        gains.append(moving[active].mean() / moving[~active].mean())
    assert np.mean(gains) > 1.05


def test_motion_is_as_smooth_as_the_persons(weights):
    style = person()

    def trembling(pose: np.ndarray) -> np.ndarray:
        return np.abs(np.diff(pose, n=3, axis=0)).mean(0)

    for seed in range(2):
        pose = head_pose(style, 500, seed=seed, weights=weights, sound=talk(500, seed))
        assert (trembling(pose) < 1.25 * trembling(style.pose_track)).all()


def test_still_and_frontal_heads():
    style = person(10)
    assert np.ptp(head_pose(style, 50, seed=0, source="still"), axis=0).max() == 0
    frontal = head_pose(style, 50, seed=0, source="frontal")
    assert not frontal[:, :3].any()
    np.testing.assert_allclose(frontal[0, 3:], style.pose_mean[3:])
    with pytest.raises(UserInputError, match="predicted, clip, still, frontal"):
        head_pose(style, 50, seed=0, source="dancing")  # type: ignore[arg-type]
    assert set(POSE_SOURCES) == {"predicted", "clip", "still", "frontal"}


def test_another_clips_motion_is_played_about_this_persons_mean():
    style, donor = person(), person(8, seed=9).pose_track + 0.3
    pose = head_pose(style, len(donor), seed=0, donor=donor)
    np.testing.assert_allclose(pose - style.pose_mean, donor - donor.mean(0), atol=1e-5)
    np.testing.assert_array_equal(pose, head_pose(style, len(donor), seed=7, donor=donor, source="frontal"))


@pytest.mark.parametrize("frames", [150, 230, 1000])
def test_played_motion_never_jumps(frames):
    donor = person(8, seed=9).pose_track.astype(np.float64)
    played = follow(donor, frames)
    assert played.shape == (frames, 6)
    fastest, hardest = (np.abs(np.diff(donor, n=order, axis=0)).max(0) for order in (1, 2))
    assert (np.abs(np.diff(played, axis=0)).max(0) <= 1.3 * fastest).all()
    assert (np.abs(np.diff(played, n=2, axis=0)).max(0) <= 1.7 * hardest).all()
    np.testing.assert_allclose(played[:3], donor[:3], atol=0.01)


def test_to_and_fro_turns_gently_and_covers_everything():
    line = np.arange(100.0)[:, None]
    played = to_and_fro(line, 500, 0.0)[:, 0]
    assert played.min() < 8
    assert played.max() > 91
    assert np.abs(np.diff(played)).max() <= 1 + 1e-9
    assert np.abs(np.diff(played, n=2)).max() < 0.2
    np.testing.assert_array_equal(to_and_fro(line[:1], 5, 0.0), np.zeros((5, 1)))


def test_amounts_scale_each_axis_about_the_mean(weights):
    style, sound = person(), talk(300, 0)
    whole = head_pose(style, 300, seed=0, weights=weights, sound=sound)
    half = head_pose(style, 300, seed=0, weights=weights, sound=sound, amount=parse_amount("yaw=.5, roll=0"))
    expected = (whole - style.pose_mean) * np.array([1, 0.5, 0, 1, 1, 1]) + style.pose_mean
    np.testing.assert_allclose(half, expected, atol=1e-6)
    assert parse_amount("0.5") == PoseAmount(0.5, 0.5, 0.5, 0.5, 0.5, 0.5)


@pytest.mark.parametrize(("text", "sentence"), [
    ("nod=1", "'nod=1' is not understood"), ("yaw=fast", "'fast' is no number"), ("", "is empty"),
    ("yaw=1,yaw=2", "gives yaw twice"), ("4", "must lie between 0 and 3"), ("yaw=nan", "nan for yaw must lie")])
def test_amounts_that_make_no_sense_are_explained(text, sentence):
    with pytest.raises(UserInputError, match=sentence):
        parse_amount(text)


def test_controls_out_of_range_are_explained():
    with pytest.raises(UserInputError, match=r"--gaze 1\.5 must lie between 0 and 1"):
        HeadControls(gaze=1.5)
    with pytest.raises(UserInputError, match="--blink-asymmetry -1 must"):
        HeadControls(blink_asymmetry=-1)


def test_short_takes_and_default_people_move_too(weights):
    style = default_style(statistics())
    for frames in (1, 2, 20):
        pose = head_pose(style, frames, seed=0, weights=weights, sound=talk(frames, 0))
        assert pose.shape == (frames, 6)
        assert np.isfinite(pose).all()


def test_who_was_never_watched_moves_like_people_in_general(weights):
    still_reader = default_style(statistics())
    calm = replace(still_reader, pose_track=(still_reader.pose_track * 0.2).astype(np.float32))
    pose = head_pose(calm, 500, seed=3, weights=weights, sound=talk(500, 3))
    ratio = pose.std(0) / weights.general.std
    assert ratio.min() > 0.7
    assert ratio.max() < 1.3
    stride = weights.network.config.stride
    moved = np.sqrt(np.mean((pose[stride:] - pose[:-stride]) ** 2, axis=0)) / pose.std(0)
    assert (moved < 2 * weights.general.step).all()
    photo = replace(calm, watched=True)
    assert (head_pose(photo, 500, seed=3, weights=weights).std(0) < 0.5 * weights.general.std).any()


def test_of_several_takes_the_one_most_like_the_person_is_kept(weights):
    style, frames = person(12), 100
    track, manner = style.pose_track, observe(style.pose_track, 2)
    like = track[:frames] - track.mean(0)
    apart = like + 0.9 * manner.std
    for poses in ([apart, like], [like, apart]):
        chosen = most_like(np.stack(poses), track, manner)
        assert (np.abs(chosen.mean(0)) < 0.3 * manner.std).all()
    sound = talk(frames, 3)
    poses = np.stack([head_pose(style, frames, seed=seed, weights=weights, sound=sound) for seed in range(6)])
    off = np.abs(poses[..., :3].mean(1) - style.pose_mean[:3]) / style.pose_std[:3]
    assert off.mean() < 0.3


def test_takes_of_one_seed_differ_and_the_first_does_not_depend_on_their_number(weights):
    from ml_backend.motion.pose_sample import sample_pose, sample_poses
    sound, manner = talk(200, 1), weights.general
    poses = sample_poses(weights, manner, 200, 5, sound, count=3)
    np.testing.assert_allclose(poses[0], sample_pose(weights, manner, 200, 5, sound), atol=1e-4)
    assert np.abs(poses[1] - poses[2]).max() > 0.2 * manner.std.max()
    np.testing.assert_array_equal(poses, sample_poses(weights, manner, 200, 5, sound, count=3))
