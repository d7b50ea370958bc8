"""The person's filter: it finds what a person does otherwise, leaves the width alone, and knows its limits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ml_backend.audio.features import step_count
from ml_backend.metrics.landmarks import lip_operator, pearson
from ml_backend.motion import adapter
from ml_backend.motion.checkpoint import MotionWeights, load_weights, save_weights
from tests.ml.motion_toys import NAMES, face, statistics, tiny

FRAMES, COUNT = 240, len(NAMES)
LIPS = np.zeros((COUNT, 2))
LIPS[0], LIPS[1] = (4.0, 0.5), (0.3, 2.0)
SHARE = np.array([1.0, 1.0, *[0.0] * (COUNT - 2)])


def heard(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Smooth network output (T, K + 6) and feature steps (4T + 24, 26)."""
    noise = np.random.default_rng(seed).standard_normal((FRAMES + 6, COUNT + 6))
    raw = np.stack([np.convolve(column, np.hanning(9)[1:-1], "valid") for column in noise.T], 1)
    steps = np.random.default_rng(seed + 1).standard_normal((step_count(FRAMES), 26))
    return raw.astype(np.float32), steps.astype(np.float32)


def person(raw: np.ndarray) -> np.ndarray:
    """Somebody whose lips open 80 ms after the network's, and for what it takes for width, too."""
    lips = raw[:, :COUNT] @ LIPS
    return np.roll(lips[:, 0], 2) + 1.5 * lips[:, 1]


def learned(seed: int = 0) -> adapter.Adapter:
    raw, steps = heard(seed)
    return adapter.fit(raw, steps, person(raw) * 0.01, np.arange(4, FRAMES - 4), LIPS, SHARE)


def test_it_finds_the_persons_way_in_other_speech() -> None:
    raw, steps = heard(5)
    own = learned().apply(raw, steps)
    before, after = raw[:, :COUNT] @ LIPS, own[:, :COUNT] @ LIPS
    assert pearson(after[4:-4, 0], person(raw)[4:-4]) > pearson(before[4:-4, 0], person(raw)[4:-4]) + 0.2
    assert np.allclose(after[:, 1], before[:, 1], atol=1e-4), "the width stays"
    assert np.array_equal(own[:, COUNT:], raw[:, COUNT:]), "the pose stays"
    assert np.array_equal(own[:, 2:COUNT], raw[:, 2:COUNT]), "what is no mouth stays"


def test_nothing_is_added_for_somebody_like_everybody() -> None:
    raw, steps = heard(0)
    found = adapter.fit(raw, steps, raw[:, :COUNT] @ LIPS[:, 0] * 0.01, np.arange(FRAMES), LIPS, SHARE)
    assert np.abs(found.apply(raw, steps) - raw).max() < 0.02 * raw.std()


def test_a_share_is_a_share_and_limits_hold() -> None:
    raw, steps = heard(3)
    whole, half = learned(), learned().scaled(0.5)
    assert np.allclose(half.apply(raw, steps) - raw, 0.5 * (whole.apply(raw, steps) - raw), atol=1e-4)
    loud = whole.apply(20 * raw, steps) - 20 * raw
    assert (loud[:, :COUNT] @ LIPS[:, 0]).max() <= whole.limits[1] + 1e-3


def test_a_direction_opens_by_one_and_widens_by_none() -> None:
    assert learned().direction @ LIPS == pytest.approx([1.0, 0.0], abs=1e-5)


def test_weights_keep_it(tmp_path: Path) -> None:
    made = MotionWeights(tiny().eval(), statistics(), np.ones(COUNT, np.float32), lip_operator(face()))
    save_weights(made, tmp_path / "general.safetensors")
    assert load_weights(tmp_path / "general.safetensors").adapter is None
    save_weights(replace(made, adapter=learned()), tmp_path / "own.safetensors")
    back, own = load_weights(tmp_path / "own.safetensors").adapter, learned()
    assert back is not None
    raw, steps = heard(2)
    assert np.array_equal(back.apply(raw, steps), own.apply(raw, steps))
