"""A face model that the user holds speaks like the built-in head: alone, and as the person in a picture."""

from __future__ import annotations

import json
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from ml_backend.artefacts import performance
from ml_backend.audio.load import load_speech
from ml_backend.cli import main
from ml_backend.config import sample_speech
from tests.ml import loader_toys as toys
from tests.ml.reconstruct_toys import picture, weights
from tests.ml.test_cli import write_wav

pytest.importorskip("bpy")


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a second of the bundled sample."""
    samples = load_speech(sample_speech()).samples
    return write_wav(tmp_path_factory.mktemp("speech") / "speech.wav", samples[8000:16000])


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Deng's model with FaceWarehouse's expressions beside it."""
    monkeypatch.setenv("PARLEY_DATA", str(tmp_path / "data"))
    folder = tmp_path / "model"
    folder.mkdir()
    toys.write_front(folder, toys.toy(), expressions=False)
    toys.write_expressions(folder, toys.toy())
    assert main(["--quiet", "face", "add", "mine", str(folder)]) == 0
    return "mine"


def frames(path: Path) -> np.ndarray:
    with av.open(str(path)) as film:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)])


@pytest.mark.parametrize("whose", ["its own", "a photo's"])
def test_it_speaks(whose: str, added: str, speech: Path, tmp_path: Path) -> None:
    out = tmp_path / "film.mp4"
    words = ["talk", "--face-model", added, "--speech", str(speech), "--out", str(out), "--size", "128"]
    if whose != "its own":
        photo = tmp_path / "photo.png"
        cv2.imwrite(str(photo), picture(weights(1)[0], np.array([0, 0.05, 0, 0, 0.01, 0.5]))[..., ::-1])
        words += ["--target", str(photo)]
    assert main(["--quiet", *words, "--engine", "workbench"]) == 0
    film, take = frames(out), out.with_suffix(".take")
    assert len(film) == 12 and np.abs(np.diff(film.astype(int), axis=0)).max() > 20
    act = performance.load(take / "performance.npz")
    assert len(act.names) == 52 and act.expression[:, act.names.index("jawOpen")].max() > 0.05
    assert json.loads((take / "report.json").read_text())["film"]["frames"] == 12
