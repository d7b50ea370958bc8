"""Bad input at the command line: one sentence, the exit code, nothing overwritten."""

from __future__ import annotations

import errno
import os
import wave
from pathlib import Path

import numpy as np
import pytest

from ml_backend import cli
from ml_backend.cli import main


def write_wav(path: Path, samples: np.ndarray, rate: int = 16000) -> Path:
    with wave.open(str(path), "wb") as stream:
        stream.setnchannels(1)
        stream.setsampwidth(2)
        stream.setframerate(rate)
        stream.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return path


def tone(seconds: float, rate: int = 16000) -> np.ndarray:
    return 0.3 * np.sin(2 * np.pi * 220 * np.arange(int(seconds * rate)) / rate)


def refused(capsys: pytest.CaptureFixture[str], *words: str, code: int = 2) -> str:
    assert main(["talk", *words]) == code
    lines = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert len(lines) == 1, lines
    assert lines[0].startswith("parley: ")
    return lines[0]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out" / "film.mp4"


def test_missing_speech(tmp_path: Path, out: Path, capsys) -> None:
    assert "no.wav does not exist" in refused(capsys, "--speech", str(tmp_path / "no.wav"), "--out", str(out))
    assert not out.parent.exists()


def test_speech_that_is_no_media(tmp_path: Path, out: Path, capsys) -> None:
    (tmp_path / "letter.wav").write_text("Dear Sir")
    assert "letter.wav" in refused(capsys, "--speech", str(tmp_path / "letter.wav"), "--out", str(out))


def test_silent_and_tiny_speech_with_an_awkward_path(tmp_path: Path, out: Path, capsys) -> None:
    folder = tmp_path / "Grüße an alle"
    folder.mkdir()
    silent = write_wav(folder / "stille äöü.wav", np.zeros(16000))
    assert "silen" in refused(capsys, "--speech", str(silent), "--out", str(out))
    tiny = write_wav(folder / "kurz.wav", tone(0.1))
    assert "0.1" in refused(capsys, "--speech", str(tiny), "--out", str(out))


def test_missing_target(tmp_path: Path, out: Path, capsys) -> None:
    assert "who.mp4 does not exist" in refused(capsys, "--target", str(tmp_path / "who.mp4"), "--out", str(out))


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--size", "5"), "--size"),
        (("--size", "99999"), "--size"),
        (("--target-seconds", "0"), "--target-seconds"),
        (("--refine-minutes", "-1"), "--refine-minutes"),
        (("--scene", "scene.txt"), ".blend"),
        (("--blender", "/nowhere/blender"), "Blender"),
    ],
)
def test_options_that_cannot_work(out: Path, capsys, words: tuple[str, ...], text: str) -> None:
    assert text in refused(capsys, "--out", str(out), *words)
    assert not out.parent.exists()


def test_output_that_is_no_film(tmp_path: Path, capsys) -> None:
    assert ".mp4" in refused(capsys, "--out", str(tmp_path / "film.txt"))


def test_output_over_the_input(tmp_path: Path, capsys) -> None:
    speech = write_wav(tmp_path / "speech.mp4", tone(1))
    before = speech.read_bytes()
    assert "one of the inputs" in refused(capsys, "--speech", str(speech), "--out", str(speech))
    assert speech.read_bytes() == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_output_folder_that_cannot_be_written(tmp_path: Path, capsys) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    assert "can't be written" in refused(capsys, "--out", str(folder / "film.mp4"))


def test_a_film_of_somebody_else_is_not_overwritten(tmp_path: Path, capsys) -> None:
    film = tmp_path / "film.mp4"
    film.write_text("holiday")
    speech = write_wav(tmp_path / "speech.wav", tone(1))
    assert "--overwrite" in refused(capsys, "--speech", str(speech), "--out", str(film))
    assert film.read_text() == "holiday"


def test_an_output_that_is_a_folder(tmp_path: Path, capsys) -> None:
    (tmp_path / "film.mp4").mkdir()
    speech = write_wav(tmp_path / "speech.wav", tone(1))
    assert "folder" in refused(capsys, "--speech", str(speech), "--out", str(tmp_path / "film.mp4"))


def test_empty_speech(tmp_path: Path, out: Path, capsys) -> None:
    (tmp_path / "empty.wav").touch()
    assert "is empty" in refused(capsys, "--speech", str(tmp_path / "empty.wav"), "--out", str(out))


@pytest.mark.parametrize("name", ["letter.mp4", "letter.png", "speech.wav"])
def test_a_target_that_is_no_picture_leaves_no_take_behind(tmp_path: Path, out: Path, capsys, name: str) -> None:
    (tmp_path / "letter.mp4").write_text("Dear Sir")
    (tmp_path / "letter.png").write_text("Dear Sir")
    speech = write_wav(tmp_path / "speech.wav", tone(1))
    assert name in refused(capsys, "--speech", str(speech), "--target", str(tmp_path / name), "--out", str(out))
    assert not out.parent.exists()


def test_a_path_behind_a_locked_door(tmp_path: Path, out: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "exists", denied)
    assert "can't be reached" in refused(capsys, "--speech", str(tmp_path / "s.wav"), "--out", str(out))


@pytest.mark.parametrize(("number", "text"), [(errno.ENOSPC, "disk is full"), (errno.EROFS, "can't be used")])
def test_a_file_system_that_refuses(out: Path, capsys, monkeypatch: pytest.MonkeyPatch, number: int, text: str) -> None:
    def refuse(options, terminal) -> None:
        raise OSError(number, os.strerror(number), "film.part")

    monkeypatch.setattr(cli, "_run", refuse)
    sentence = refused(capsys, "--out", str(out))
    assert text in sentence
    assert "film.part" in sentence


def test_a_name_that_is_too_long(tmp_path: Path, capsys) -> None:
    speech = write_wav(tmp_path / "speech.wav", tone(1))
    assert "too long" in refused(capsys, "--speech", str(speech), "--out", str(tmp_path / f"{'x' * 300}.mp4"))
