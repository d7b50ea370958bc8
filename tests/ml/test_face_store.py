"""`parley face add` and `list`: converted models in the user's data folder, by name, with their sources' hashes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from ml_backend import face_commands
from ml_backend.cli import main
from ml_backend.face_model import store
from ml_backend.face_model.loaders import KINDS
from ml_backend.face_model.model import load
from tests.ml import loader_toys as toys


def test_add_list_and_talk(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("PARLEY_DATA", str(tmp_path / "Daten äöü"))
    folder = tmp_path / "src"
    folder.mkdir()
    path = toys.write_front(folder, toys.toy())
    assert main(["face", "add", "mine", str(path)]) == 0
    said = capsys.readouterr().err
    assert "mm on average" in said and "--face-model mine" in said
    stored = store.model_path("mine")
    assert load(stored).name == "mine"
    facts = json.loads(stored.with_suffix(".json").read_text())
    assert facts["sources"][0]["file"] == path.name and len(facts["sources"][0]["sha256"]) == 64
    assert facts["residual_mm"]["jawOpen"] < 1 and facts["residual_mm_mean"] < 0.2
    assert main(["face", "list"]) == 0
    assert "mine  BFM front" in capsys.readouterr().out
    written = stored.stat().st_mtime_ns
    assert main(["face", "add", "mine", str(path)]) == 0 and stored.stat().st_mtime_ns == written
    toys.write_front(folder, replace(toys.toy(), mean=toys.toy().mean * 1.01))
    capsys.readouterr()
    for words, expected in (
        (["add", "mine", str(path)], "already"),
        (["add", "parley", str(path)], "built-in"),
        (["add", "../x", str(path)], "no name"),
        (["add", "new", str(tmp_path / "none.h5")], "does not exist"),
    ):
        assert main(["face", *words]) == 2
        assert expected in capsys.readouterr().err
    assert main(["talk", "--face-model", "nobody", "--out", str(tmp_path / "f.mp4")]) == 2
    assert "no face model nobody" in capsys.readouterr().err


def test_the_command_line_offers_every_kind() -> None:
    assert set(face_commands.KINDS) == set(KINDS)


def test_data_folder(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.delenv("PARLEY_DATA", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    assert store.models_folder() == tmp_path / "parley" / "face_models"
    monkeypatch.setenv("PARLEY_DATA", str(tmp_path / "own"))
    assert store.models_folder() == tmp_path / "own" / "face_models"
    assert store.model_path("parley").name == "parley_head.npz"
