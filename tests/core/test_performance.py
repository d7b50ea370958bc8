"""Resampling and checks of the performance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from addon.core.errors import ArtefactError
from addon.core.performance import Performance, resample, validate


def ramp(frames: int = 5) -> Performance:
    times = np.arange(frames) / 25
    pose = np.zeros((frames, 6), np.float32)
    pose[:, 3] = times
    return Performance(times, np.linspace(0, 1, frames, dtype=np.float32)[:, None], ["jawOpen"], pose, {})


def test_a_straight_line_stays_one_at_any_rate() -> None:
    times = np.linspace(0, 4 / 25, 11)
    out = resample(ramp(), times)
    assert np.allclose(out.expression[:, 0], np.linspace(0, 1, 11), atol=1e-6)
    assert np.allclose(out.pose[:, 3], times, atol=1e-6)


def test_the_ends_are_held_and_samples_are_kept() -> None:
    act = ramp()
    assert resample(act, np.array([-1.0, 9.0])).expression[:, 0].tolist() == [0, 1]
    assert np.array_equal(resample(act, act.times).expression, act.expression)
    assert len(resample(replace(act, times=act.times[:1], expression=act.expression[:1], pose=act.pose[:1]),
                        np.array([0.0, 0.1]))) == 2


def test_a_turn_past_half_a_circle_goes_the_short_way() -> None:
    act = ramp(2)
    act.pose[:, 2] = [3.1, -3.1]
    middle = resample(act, np.array([0.02])).pose[0, 2]
    assert abs(abs(middle) - np.pi) < 0.05


def test_a_weight_above_one_is_refused() -> None:
    act = ramp()
    act.expression[2] = 1.5
    with pytest.raises(ArtefactError, match=r"outside \[0, 1\]"):
        validate(act)
