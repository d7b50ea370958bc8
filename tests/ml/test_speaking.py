"""The stages between speech and performance, with stand-ins for the networks."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from ml_backend.config import motion_weights
from ml_backend.motion.personalise import PersonaliseReport
from ml_backend.take import Take
from ml_backend.talk import speaking
from ml_backend.talk.options import TalkOptions
from ml_backend.talk.session import Session
from ml_backend.terminal import Terminal


def test_another_clips_weights_are_never_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    take = Take.open(tmp_path / "film.take")
    take.state["stages"]["track"] = {"key": "of the new clip"}
    stale = take.path("motion.safetensors")
    stale.write_bytes(b"the old clip's weights")

    def no_better(speech, track, weights, out, **rest) -> PersonaliseReport:
        fields = {name: 0.0 for name in PersonaliseReport.__dataclass_fields__}
        return PersonaliseReport(**{**fields, "kept": False, "weights": weights, "reason": "no better"})

    monkeypatch.setattr(speaking, "personalise", no_better)
    monkeypatch.setattr(speaking, "load_speech", lambda path: None)
    options = TalkOptions(speech=tmp_path / "s.wav", target=tmp_path / "c.mp4", out=tmp_path / "film.mp4")
    session = Session(options, Terminal(quiet=True), take, None, tmp_path, None)  # type: ignore[arg-type]
    target = SimpleNamespace(is_photo=False, info=SimpleNamespace(has_sound=True), track=range(200))
    assert speaking.personal_weights(session, target) == motion_weights()  # type: ignore[arg-type]
    assert not stale.exists()
    take.close()
