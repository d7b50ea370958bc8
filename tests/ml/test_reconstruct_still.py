"""One picture: what belongs to the person and what to the expression."""

from __future__ import annotations

import numpy as np
import pytest

from ml_backend.reconstruct import boxsolve, priors, still
from ml_backend.reconstruct.fit import fit_landmarks
from ml_backend.reconstruct.points import noise, rig
from tests.ml.reconstruct_toys import FOCAL, SIZE, head, landmarks, weights


def test_elimination_finds_the_joint_minimum() -> None:
    rows = np.random.default_rng(0).normal(size=(20, 7))
    gram, right = rows.T @ rows, rows.T @ np.random.default_rng(1).normal(size=20)
    chain = boxsolve.Chain(np.zeros(3), np.zeros(0, bool))
    bounded, free = still.eliminate(gram, right, 3, chain, ["a", "b", "c"])
    slope = gram @ np.concatenate([bounded[0], free]) - right
    assert np.abs(slope[3:]).max() < 1e-9
    assert (slope[:3][bounded[0] <= 0] > -1e-6).all() and (slope[:3][bounded[0] >= 1] < 1e-6).all()
    inside = (bounded[0] > 0) & (bounded[0] < 1)
    assert np.abs(slope[:3][inside]).max(initial=0) < 2e-2


def test_a_half_shut_eye_of_one_side_is_a_wink() -> None:
    pose = np.array([[0.0, 0.2, 0, 0, 0.01, 0.7]])
    points = landmarks(weights(1, eyeBlinkLeft=0.6), pose, np.zeros(len(head().identity_basis)))
    found = fit_landmarks(points, SIZE, head(), 25.0, focal=FOCAL).expression[0]
    left, right = (found[head().names.index(f"eyeBlink{side}")] for side in ("Left", "Right"))
    assert left > 0.4 and right < 0.15


def test_a_turned_face_is_no_lopsided_one() -> None:
    points = rig(head())
    precision = priors.identity_precision(points.mean, points.identity)
    assert set(np.round(precision, 6)) == {1.0, round(1 / priors.LOPSIDED**2, 6)}
    motion = np.array([[0.0, 0.35, 0, 0, 0.01, 0.7]])
    marks = landmarks(weights(1), motion, np.zeros(len(points.identity)))
    result = fit_landmarks(marks, SIZE, head(), 25.0, focal=FOCAL)
    assert np.degrees(result.rotation[0, 1]) == pytest.approx(np.degrees(0.35), abs=1)
    assert np.abs(result.identity).max() < 0.6


def test_smooth_skin_counts_less_in_a_picture_than_in_a_clip() -> None:
    points = rig(head())
    ridge, corner = points.rows((5,))[0], points.rows((33,))[0]
    assert noise(points, still=True)[ridge] > 2 * noise(points)[ridge]
    assert noise(points, still=True)[corner] <= noise(points)[corner]
