"""Pose, identity and expression from landmarks of known origin."""

from __future__ import annotations

import numpy as np
import pytest

from ml_backend.reconstruct import boxsolve, pose, priors
from ml_backend.reconstruct.fit import fill_gaps, fit_landmarks
from ml_backend.reconstruct.offset import spread_offset
from ml_backend.reconstruct.points import rig
from tests.ml.reconstruct_toys import FOCAL, SIZE, head, landmarks, weights

FRAMES = 60


def talking() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Expression, pose and identity of a person who talks, nods, turns and blinks twice."""
    t = np.arange(FRAMES)
    blink = np.clip(1 - np.abs(t - 20) / 3, 0, 1) + np.clip(1 - np.abs(t - 45) / 3, 0, 1)
    jaw = 0.25 * (1 + np.sin(t / 2.3)) * (np.sin(t / 9) > -0.6)
    expression = weights(FRAMES, jawOpen=jaw, mouthSmileLeft=0.2 * (1 + np.sin(t / 11)),
                         mouthSmileRight=0.2 * (1 + np.sin(t / 11)), eyeBlinkLeft=blink, eyeBlinkRight=blink)
    motion = np.stack([0.08 * np.sin(t / 7), 0.2 * np.sin(t / 15), 0.05 * np.cos(t / 10), 0.01 * np.sin(t / 20),
                       0.01 * np.cos(t / 20), 0.7 + 0.01 * np.sin(t / 25)], 1)
    identity = np.random.default_rng(3).normal(0, 0.7, len(head().identity_basis))
    return expression, motion, identity


def channel(values: np.ndarray, name: str) -> np.ndarray:
    return values[:, head().names.index(name)]


@pytest.fixture(scope="module")
def fitted():
    expression, motion, identity = talking()
    points = landmarks(expression, motion, identity, noise=0.25)
    return fit_landmarks(points, SIZE, head(), 25.0, focal=FOCAL), points


def test_fit_explains_its_landmarks(fitted) -> None:
    result, _ = fitted
    assert result.residual_px.mean() < 0.8
    assert result.expression.min() >= 0 and result.expression.max() <= 1


def test_fit_recovers_pose(fitted) -> None:
    _, motion, _ = talking()
    result, _ = fitted
    for axis in range(3):
        error = result.rotation[:, axis] - motion[:, axis]
        assert np.degrees(error.std()) < 0.6
    assert np.abs(result.translation[:, 2] - motion[:, 5]).max() < 0.05


def test_fit_recovers_expression(fitted) -> None:
    expression, _, _ = talking()
    result, _ = fitted
    for name in ("jawOpen", "eyeBlinkLeft", "eyeBlinkRight", "mouthSmileLeft"):
        assert np.corrcoef(channel(result.expression, name), channel(expression, name))[0, 1] > 0.9, name
    blinks = channel(result.expression, "eyeBlinkLeft")
    assert blinks[[20, 45]].min() > 0.8 and np.median(blinks) < 0.1
    assert channel(result.expression, "cheekPuff").max() < 0.1


@pytest.mark.parametrize(("first", "second"), [(13, 14), (78, 308)])
def test_fitted_mouth_follows_the_landmarks(fitted, first: int, second: int) -> None:
    result, points = fitted
    model, cut = head(), rig(head())
    shape = model.mean_shape + np.tensordot(result.identity, model.identity_basis, 1) + result.shape_offset
    shape = shape[cut.vertex] + np.tensordot(result.expression, cut.expression, 1)
    ends = [shape[:, np.flatnonzero(cut.index == point)[0]] for point in (first, second)]
    fitted_distance = np.linalg.norm(ends[0] - ends[1], axis=1) * FOCAL / result.translation[:, 2]
    seen = np.linalg.norm(points[:, first, :2] - points[:, second, :2], axis=1)
    assert np.corrcoef(fitted_distance, seen)[0, 1] > 0.95
    assert 0.85 < fitted_distance.std() / seen.std() < 1.15


def test_neutral_mouth_is_shut(fitted) -> None:
    result, _ = fitted
    model, cut = head(), rig(head())
    shape = model.mean_shape + np.tensordot(result.identity, model.identity_basis, 1) + result.shape_offset
    rows = cut.pair_rows(((13, 14), (82, 87), (312, 317)))
    gap = np.linalg.norm(shape[cut.vertex[rows[:, 0]]] - shape[cut.vertex[rows[:, 1]]], axis=1)
    rest = np.linalg.norm(cut.mean[rows[:, 0]] - cut.mean[rows[:, 1]], axis=1)
    assert np.abs(gap - rest).max() < 0.0006


def test_turned_head_and_single_frame() -> None:
    motion = np.array([[0.05, 0.75, -0.1, 0.02, 0.0, 0.7]])
    points = landmarks(weights(1, jawOpen=0.5), motion, np.zeros(len(head().identity_basis)))
    result = fit_landmarks(points, SIZE, head(), 25.0, focal=FOCAL)
    assert np.degrees(np.abs(result.rotation - motion[:, :3])).max() < 3
    assert 0.3 < channel(result.expression, "jawOpen")[0] < 0.7


def test_gaps_are_bridged_and_cuts_kept() -> None:
    expression, motion, identity = talking()
    motion[30:, 3] += 0.15
    points = landmarks(expression, motion, identity)
    points[10:15] = np.nan
    points[:2] = np.nan
    result = fit_landmarks(points, SIZE, head(), 25.0, focal=FOCAL)
    assert np.isfinite(result.expression).all() and np.isfinite(result.translation).all()
    assert not result.found[[0, 1, 10, 14]].any() and result.found[[2, 9, 15]].all()
    assert result.translation[30, 0] - result.translation[29, 0] > 0.12


def test_fill_gaps_is_linear() -> None:
    points = np.full((5, 478, 3), np.nan, np.float32)
    points[1], points[3] = 1, 3
    filled, found = fill_gaps(points)
    assert filled[:, 0, 0].tolist() == [1, 1, 2, 3, 3] and found.tolist() == [False, True, False, True, False]


def test_fit_does_not_depend_on_the_run() -> None:
    expression, motion, identity = talking()
    points = landmarks(expression[:12], motion[:12], identity, noise=0.3)
    one, two = (fit_landmarks(points, SIZE, head(), 25.0) for _ in range(2))
    assert np.array_equal(one.expression, two.expression) and np.array_equal(one.shape_offset, two.shape_offset)


def test_focal_keeps_a_plausible_distance() -> None:
    close = landmarks(weights(1), np.array([[0, 0, 0, 0, 0, 0.3]]), np.zeros(len(head().identity_basis)))
    result = fit_landmarks(close, SIZE, head(), 25.0)
    # Half a metre, not 0.6: the shape then takes up part of what a face really seen from 0.3 m is distorted by.
    assert result.translation[0, 2] > 0.5 and result.focal > pose.default_focal(SIZE)


def test_box_solver_finds_the_constrained_minimum() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(4, 12, 5))
    target = rng.normal(size=(4, 12))
    gram = rows.transpose(0, 2, 1) @ rows + 0.1 * np.eye(5)
    right = (rows.transpose(0, 2, 1) @ target[..., None])[..., 0]
    mu = np.full(5, 0.7)
    x = boxsolve.solve(gram, right, boxsolve.Chain(mu, np.ones(3, bool)), sweeps=500, tolerance=1e-9)
    gradient = np.einsum("tij,tj->ti", gram, x) - right
    gradient[1:] += mu * np.diff(x, axis=0)
    gradient[:-1] -= mu * np.diff(x, axis=0)
    free = (x > 1e-9) & (x < 1 - 1e-9)
    assert free.any() and (~free).any()
    assert np.abs(gradient[free]).max() < 1e-6
    assert (gradient[x <= 1e-9] > -1e-6).all() and (gradient[x >= 1 - 1e-9] < 1e-6).all()


def test_time_ties_frames_but_not_across_a_cut() -> None:
    gram, right = np.ones((4, 1, 1)), np.array([[0.0], [0.0], [1.0], [1.0]])
    tied = boxsolve.solve(gram, right, boxsolve.Chain(np.array([5.0]), np.ones(3, bool)), sweeps=500, tolerance=1e-9)
    cut = boxsolve.solve(gram, right, boxsolve.Chain(np.array([5.0]), np.array([True, False, True])))
    assert tied[2, 0] - tied[1, 0] < 0.3
    assert cut[:, 0] == pytest.approx([0, 0, 1, 1], abs=1e-3)


def test_mouth_close_never_exceeds_jaw_open() -> None:
    names = ["jawOpen", "mouthClose"]
    x = boxsolve.solve(np.eye(2)[None], np.array([[0.2, 0.9]]), boxsolve.Chain(np.zeros(2), np.zeros(0, bool)),
                       below=priors.caps(names))
    assert x[0, 1] == pytest.approx(0.2)


def test_pose_smoothing_removes_jitter_and_keeps_motion() -> None:
    rng = np.random.default_rng(1)
    t = np.arange(150) / 25
    still, nod = np.zeros(150), 0.15 * np.sin(2 * np.pi * 1.5 * t)
    rotation = np.stack([nod, still, still], 1) + rng.normal(0, 0.004, (150, 3))
    smooth, _ = pose.smooth_pose(rotation, np.zeros((150, 3)), [slice(0, 150)], 25.0)
    assert smooth[:, 1].std() < 0.6 * rotation[:, 1].std()
    assert np.dot(smooth[:, 0], nod) / np.dot(nod, nod) > 0.95


def test_spread_offset_meets_landmarks_and_fades() -> None:
    model, cut = head(), rig(head())
    offset = np.zeros((len(cut.index), 3))
    offset[cut.index < 468] = [0.003, 0, 0]
    spread = spread_offset(model, cut, offset)
    skin = cut.vertex[cut.index < 468]
    assert np.abs(spread[skin] - [0.003, 0, 0]).max() < 0.0006
    assert np.linalg.norm(spread[model.part("eye_left")] - spread[model.part("eye_left")][0], axis=1).max() < 1e-9
    assert np.linalg.norm(spread, axis=1).max() < 0.006
