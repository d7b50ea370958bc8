"""The scene's clock."""

from __future__ import annotations

import numpy as np
import pytest

from addon.core.errors import UserInputError
from addon.core.timing import FrameClock


@pytest.mark.parametrize(("fps", "base", "start"), [(24, 1, 1), (30, 1.001, 0), (60, 1, 101), (25, 1, -4.5)])
def test_frames_and_seconds_are_inverse(fps: float, base: float, start: float) -> None:
    clock = FrameClock(fps, base, start)
    seconds = np.linspace(0, 3600, 7)
    assert np.allclose(clock.seconds(clock.frame(seconds)), seconds, atol=1e-9)
    assert clock.frame(0.0) == start


def test_ntsc_counts_29_97_frames() -> None:
    assert FrameClock(30, 1.001, 1).frame(1001.0) == pytest.approx(30001)


def test_whole_frames_cover_the_performance() -> None:
    assert FrameClock(25).frames_until(float(np.float32(99 / 25))).tolist() == list(range(1, 101))
    assert FrameClock(24, 1, 1).frames_until(1.0)[-1] == 25
    assert FrameClock(25, 1, 0.5).frames_until(0.0).tolist() == [1]


def test_a_rate_of_zero_is_refused() -> None:
    with pytest.raises(UserInputError, match="frame rate"):
        FrameClock(0)
