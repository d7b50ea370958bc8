"""The add-on's reader of Live Link Face CSVs gives what the backend's gives, and refuses what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from addon.core import livelink as reader
from addon.core.channels import ARKIT
from addon.core.errors import ArtefactError, UserInputError
from ml_backend.artefacts import livelink
from ml_backend.artefacts.performance import Performance
from ml_backend.errors import ArtefactError as BackendError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    act = Performance(np.arange(75) / 30, rng.random((75, 52), np.float32), list(ARKIT),
                      rng.uniform(-0.5, 0.5, (75, 6)).astype(np.float32), {})
    livelink.save(act, tmp_path / "take.csv", fps=60.0)
    return tmp_path / "take.csv"


@pytest.mark.parametrize("fps", [60.0, 59.94])
def test_both_readers_agree(path: Path, fps: float) -> None:
    ours, theirs = reader.load(path, fps), livelink.load(path, fps=fps)
    order = [theirs.names.index(name) for name in ours.names]
    assert ours.names == list(ARKIT) and len(ours) == len(theirs) == 75
    assert np.array_equal(ours.expression, theirs.expression[:, order])
    assert np.array_equal(ours.times, theirs.times) and np.array_equal(ours.pose, theirs.pose)


@pytest.mark.parametrize("fps", [60.0, 29.97, 24.0])
def test_both_write_the_same_bytes(path: Path, tmp_path: Path, fps: float) -> None:
    act = reader.load(path)
    reader.save(act, tmp_path / "ours.csv", fps)
    livelink.save(Performance(act.times, act.expression, act.names, act.pose, {}), tmp_path / "theirs.csv", fps=fps)
    assert (tmp_path / "ours.csv").read_bytes() == (tmp_path / "theirs.csv").read_bytes()
    with pytest.raises(UserInputError, match="Choose another folder"):
        reader.save(act, tmp_path / "nowhere" / "ours.csv")


@pytest.mark.parametrize("damage", [
    lambda text: text.replace("JawOpen", "JawOpne", 1), lambda text: text.split("\n")[0],
    lambda text: text.replace("00:00:01", "nonsense", 1), lambda text: text.replace("0.", "x.", 1),
    lambda text: text.replace("00:00:00:02.000,61,", "00:00:00:02.000,61,nan,", 1), lambda text: "",
    lambda text: "\n".join(line[:80] if index == 3 else line for index, line in enumerate(text.split("\n"))),
], ids=["column", "no frame", "timecode", "number", "shifted", "empty", "short row"])
def test_both_refuse_what_is_damaged(path: Path, damage: object) -> None:
    path.write_text(damage(path.read_text(encoding="utf-8")), encoding="utf-8")  # type: ignore[operator]
    with pytest.raises(BackendError):
        livelink.load(path)
    with pytest.raises(ArtefactError, match=r"take\.csv"):
        reader.load(path)


def test_a_file_that_is_missing_or_binary_is_refused(tmp_path: Path) -> None:
    (tmp_path / "noise.csv").write_bytes(bytes(range(256)) * 4)
    for name in ("noise.csv", "none.csv"):
        with pytest.raises(ArtefactError, match=name):
            reader.load(tmp_path / name)
