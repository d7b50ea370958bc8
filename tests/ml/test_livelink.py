"""Live Link Face CSV: what is written is read again; damage is one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ml_backend.artefacts import livelink
from ml_backend.artefacts.performance import Performance
from ml_backend.errors import ArtefactError


def performance(frames: int = 40) -> Performance:
    random = np.random.default_rng(0)
    names = [name[0].lower() + name[1:] for name in reversed(livelink.SHAPES)]
    pose = random.normal(0, 0.1, (frames, 6)).astype(np.float32)
    return Performance(np.arange(frames) / 25, random.random((frames, 52)).astype(np.float32), names, pose, {})


def test_columns_are_the_52_and_nine_rotations() -> None:
    assert len(set(livelink.SHAPES)) == 52
    assert livelink.SHAPES[:8] == ("EyeBlinkLeft", "EyeLookDownLeft", "EyeLookInLeft", "EyeLookOutLeft",
                                   "EyeLookUpLeft", "EyeSquintLeft", "EyeWideLeft", "EyeBlinkRight")
    assert livelink.SHAPES[14:18] == ("JawForward", "JawRight", "JawLeft", "JawOpen")
    assert livelink.SHAPES[-1] == "TongueOut"
    assert len(livelink.COLUMNS) == 63


@pytest.mark.parametrize("fps", [60.0, 30.0, 24.0])
def test_round_trip(tmp_path: Path, fps: float) -> None:
    written = performance()
    livelink.save(written, tmp_path / "a.csv", fps=fps)
    read = livelink.load(tmp_path / "a.csv", fps=fps)
    order = [read.names.index(name) for name in written.names]
    assert np.abs(read.expression[:, order] - written.expression).max() < 1e-5
    assert np.abs(read.pose[:, :3] - written.pose[:, :3]).max() < 1e-5
    assert np.abs(read.times - written.times).max() < 1e-4


def test_a_long_recording_counts_minutes_and_hours(tmp_path: Path) -> None:
    part = performance(2)
    late = Performance(np.array([0.0, 3725.5]), part.expression, part.names, part.pose, {})
    livelink.save(late, tmp_path / "a.csv")
    assert "01:02:05:30.000" in (tmp_path / "a.csv").read_text()


@pytest.mark.parametrize(("damage", "sentence"), [
    (lambda text: text.replace("JawOpen", "Jaw"), "header lacks JawOpen"),
    (lambda text: text.splitlines()[0] + "\n", "no frame"),
    (lambda text: text.replace("00:00:00:00.000", "noon"), "no timecode"),
    (lambda text: text[:-200], "missing or unreadable"),
    (lambda text: "", "header lacks Timecode"),
])
def test_damage_is_named(tmp_path: Path, damage, sentence: str) -> None:
    path = tmp_path / "a.csv"
    livelink.save(performance(3), path)
    path.write_text(damage(path.read_text()))
    with pytest.raises(ArtefactError, match=sentence):
        livelink.load(path)
