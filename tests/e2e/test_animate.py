"""`parley animate` and `parley personalise` as a user runs them: files appear, controls act, nonsense is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ml_backend.artefacts import livelink
from ml_backend.artefacts import performance as performance_file
from ml_backend.audio.load import load_speech
from ml_backend.cli import main
from ml_backend.config import sample_speech
from tests.ml.test_cli import write_wav


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    samples = load_speech(sample_speech()).samples[: 2 * 16000]
    return write_wav(tmp_path_factory.mktemp("animate") / "speech.wav", np.concatenate([np.zeros(8000), samples]))


def animate(speech: Path, out: Path, *more: str) -> Path:
    assert main(["--quiet", "animate", "--speech", str(speech), "--out", str(out), *more]) == 0
    return out


def test_both_formats_hold_the_same_performance(tmp_path: Path, speech: Path) -> None:
    whole = performance_file.load(animate(speech, tmp_path / "a.npz"))
    assert whole.provenance["settings"]["quiet_lips"], "`--quiet` is about the terminal, not about lips"
    table = livelink.load(animate(speech, tmp_path / "b.csv"))
    assert len(whole) == len(table) == 62
    order = [table.names.index(name) for name in whole.names]
    assert np.abs(table.expression[:, order] - whole.expression).max() < 1e-5
    assert np.abs(table.pose[:, :3] - whole.pose[:, :3]).max() < 1e-5


def test_controls_reach_the_performance(tmp_path: Path, speech: Path) -> None:
    plain = performance_file.load(animate(speech, tmp_path / "plain.npz"))
    turned = performance_file.load(animate(speech, tmp_path / "t.npz", "--emotion", "happy", "--mouth", "0",
                                           "--blink-rate", "0", "--no-contact"))
    smile, jaw, lid = (plain.names.index(name) for name in ("mouthSmileLeft", "jawOpen", "eyeBlinkLeft"))
    assert turned.expression[:, smile].mean() > plain.expression[:, smile].mean() + 0.2
    assert turned.expression[:, lid].max() < 0.6
    assert turned.expression[:, jaw].std() < plain.expression[:, jaw].std()
    assert turned.provenance["settings"]["emotion"] == "happy"


def test_an_edited_performance_is_not_replaced(tmp_path: Path, speech: Path, capsys: pytest.CaptureFixture) -> None:
    out = animate(speech, tmp_path / "a.csv")
    out.write_text(out.read_text().replace("0.0", "0.1"))
    kept = out.read_text()
    assert main(["animate", "--speech", str(speech), "--out", str(out)]) == 2
    assert "was changed since Parley wrote it" in capsys.readouterr().err
    assert out.read_text() == kept
    animate(speech, out, "--overwrite")
    assert out.read_text() != kept


@pytest.mark.parametrize(("more", "sentence"), [
    (["--out", "a.mov"], "must end in .npz"),
    (["--out", "a.npz", "--emotion", "bored"], "no emotion 'bored'"),
    (["--out", "a.npz", "--weights", "none.safetensors"], "no motion weights none.safetensors"),
])
def test_nonsense_is_one_sentence(tmp_path: Path, speech: Path, capsys: pytest.CaptureFixture, more: list[str],
                                  sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["animate", "--speech", str(speech), *more]) == 2
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.glob("a.*"))

