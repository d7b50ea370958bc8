"""`--pose-from`: what is no clip is refused before any work, what is tracked is kept in the take."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from ml_backend.errors import UserInputError
from ml_backend.take import Take
from ml_backend.talk import donor
from ml_backend.talk.options import TalkOptions
from ml_backend.talk.session import Session
from ml_backend.terminal import Terminal


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    clip = tmp_path / "other.mp4"
    clip.write_bytes(b"a clip")
    (tmp_path / "model").write_bytes(b"a model")
    calls: list[float] = []
    angles = np.sin(np.arange(100) / 10)[:, None] * np.ones(3) * 0.1

    def extract(path, folder, *, seconds, fps):
        calls.append(seconds)
        Path(folder).mkdir()
        return SimpleNamespace(size=(640, 360))

    fit = SimpleNamespace(rotation=angles, translation=np.ones((100, 3)))
    monkeypatch.setattr(donor, "extract_frames", extract)
    monkeypatch.setattr(donor, "detect", lambda frames, **rest: SimpleNamespace(landmarks=None, cuts=None))
    monkeypatch.setattr(donor, "fit_landmarks", lambda *given, **rest: fit)
    take = Take.open(tmp_path / "film.take")
    options = TalkOptions(speech=tmp_path / "s.wav", target=None, out=tmp_path / "film.mp4", pose_from=clip)
    made = Session(options, Terminal(quiet=True), take, None, tmp_path / "model", None)  # type: ignore[arg-type]
    yield made, fit, calls
    take.close()


def test_the_donors_head_is_tracked_once_and_frames_are_thrown_away(session) -> None:
    made, _, calls = session
    motion = donor.donor_motion(made, 30.0)
    assert motion is not None
    assert motion.shape == (100, 6)
    assert not made.take.path("donor").exists()
    np.testing.assert_array_equal(donor.donor_motion(made, 30.0), motion)
    assert calls == [30.0]
    donor.donor_motion(made, 4000.0)
    assert calls == [30.0, donor.LONGEST_SECONDS]


def test_a_clip_of_cuts_is_refused(session) -> None:
    made, fit, _ = session
    fit.rotation[::10] += np.arange(10)[:, None]
    with pytest.raises(UserInputError, match="cuts more often than once a second"):
        donor.donor_motion(made, 30.0)


def test_a_photo_has_no_motion(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "photo.png")
    with pytest.raises(UserInputError, match="shows no motion"):
        donor.check_donor(tmp_path / "photo.png")
