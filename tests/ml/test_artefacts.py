"""Parley's own files: whole or refused with a sentence, never pickled, private to nobody."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ml_backend.artefacts import character, face_track, performance, plates
from ml_backend.artefacts.schema import load_npz, save_npz
from ml_backend.errors import ArtefactError, UserInputError
from ml_backend.face_model import model as face_model
from tests import fixtures


def track(frames: int = 3) -> face_track.FaceTrack:
    zeros = np.zeros
    return face_track.FaceTrack(
        np.array(25.0), np.array([64, 48], np.int32), np.array(80.0), zeros((frames, 478, 3), np.float32),
        np.ones(frames, np.float32), zeros((frames, 2), np.float32), np.array(["jawOpen", "eyeBlinkLeft"]),
        zeros((frames, 3), np.float32), zeros((frames, 3), np.float32), zeros(4, np.float32),
        zeros((5, 3), np.float32), zeros(2, np.float32), zeros((9, 3), np.float32), np.array([0, 0, 40], np.float32),
    )  # fmt: skip


def test_a_track_survives_the_file(tmp_path: Path) -> None:
    face_track.save(track(), tmp_path / "track.npz")
    assert len(face_track.load(tmp_path / "track.npz")) == 3


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"rotation": np.full((3, 3), np.nan, np.float32)}, "no numbers"),
        ({"landmarks": np.zeros((3, 468, 3), np.float32)}, "478"),
        ({"crop": np.zeros(3, np.float32)}, "crop"),
        ({"confidence": np.ones(2, np.float32)}, "confidence"),
    ],
)
def test_a_track_that_cannot_be_is_refused(tmp_path: Path, change: dict, text: str) -> None:
    with pytest.raises(ArtefactError, match=text):
        face_track.save(replace(track(), **change), tmp_path / "track.npz")
    assert not list(tmp_path.iterdir())


def test_models_characters_performances_and_plates_survive_their_files(tmp_path: Path) -> None:
    files = fixtures.write(tmp_path)
    model = face_model.load(files.face_model)
    assert character.load(files.character).neutral_shape.shape == model.mean_shape.shape
    assert len(performance.load(files.performance)) == len(plates.load(files.plates).source)


def test_weights_outside_their_range_and_times_that_stand_still_are_refused(tmp_path: Path) -> None:
    good = performance.Performance(np.arange(2) / 25, np.zeros((2, 1)), ["jawOpen"], np.zeros((2, 6)), {})
    performance.validate(good)
    with pytest.raises(ArtefactError, match="outside"):
        performance.validate(replace(good, expression=np.full((2, 1), 1.5)))
    with pytest.raises(ArtefactError, match="increase"):
        performance.validate(replace(good, times=np.zeros(2)))


def test_another_schema_version_or_a_truncated_file_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    save_npz(path, "parley.other", 1, {"x": np.zeros(3)})
    for schema, version in (("parley.face_track", 1), ("parley.other", 2)):
        with pytest.raises(ArtefactError, match="make it again"):
            load_npz(path, schema, version)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ArtefactError, match="make it again"):
        load_npz(path, "parley.other", 1)
    with pytest.raises(ArtefactError, match="does not exist"):
        load_npz(tmp_path / "none.npz", "parley.other", 1)


def test_pickled_arrays_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", schema=np.array("parley.other"), version=np.array(1), x=np.array([{}], object))
    with pytest.raises(ArtefactError):
        load_npz(tmp_path / "a.npz", "parley.other", 1)


def test_a_folder_that_is_a_file_is_one_sentence_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserInputError, match="Can't write"):
        save_npz(tmp_path / "file" / "a.npz", "parley.other", 1, {})
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_others_may_read_what_is_written(tmp_path: Path) -> None:
    save_npz(tmp_path / "a.npz", "parley.other", 1, {})
    assert stat.S_IMODE((tmp_path / "a.npz").stat().st_mode) & stat.S_IRGRP == stat.S_IRGRP


def test_a_flipped_byte_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    save_npz(path, "parley.other", 1, {"x": np.random.default_rng(0).random(4000)})
    data = bytearray(path.read_bytes())
    for middle in range(len(data) // 2, len(data) // 2 + 64):
        data[middle] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(ArtefactError, match="make it again"):
        load_npz(path, "parley.other", 1)


@pytest.mark.parametrize("text", ["", "[1]", '{"schema": "parley.plates", "version": 1, "source": ["a"]}'])
def test_damaged_plates_are_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "plates.json").write_text(text)
    with pytest.raises(ArtefactError, match="make"):
        plates.load(tmp_path / "plates.json")
