"""Interruptions and damage in the middle of a run: how it ends, what is left, and that resuming makes the same film."""

from __future__ import annotations

import functools
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ml_backend.audio.load import load_speech
from ml_backend.config import sample_speech
from tests.ml.test_cli import write_wav

SECONDS = 1.2
CHILD = "jobs"
LONGEST_WAIT = 60.0


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    samples = load_speech(sample_speech()).samples[: int(SECONDS * 16000)]
    return write_wav(tmp_path_factory.mktemp("speech") / "Rede ß.wav", np.asarray(samples))


def command(speech: Path, out: Path) -> list[str]:
    words = ["talk", "--speech", str(speech), "--out", str(out), "--size", "128", "--engine", "workbench"]
    return [sys.executable, "-m", "ml_backend.cli", *words]


def finish(speech: Path, out: Path) -> str:
    done = subprocess.run(command(speech, out), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def uninterrupted(speech: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("film 100 %d") / "Fülm.mp4"
    finish(speech, out)
    return out


def interrupt(speech: Path, out: Path, number: signal.Signals, moment) -> tuple[int, str, float]:
    """Start a run, send `number` once `moment()` is true; the exit code, what was said, and how long it took to end."""
    # A shell's background jobs, and what they start, ignore Ctrl-C; somebody at a terminal does not.
    heeding = functools.partial(signal.signal, signal.SIGINT, signal.default_int_handler)
    run = subprocess.Popen(command(speech, out), stderr=subprocess.PIPE, text=True, preexec_fn=heeding)
    limit = time.monotonic() + LONGEST_WAIT
    while not moment() and run.poll() is None and time.monotonic() < limit:
        time.sleep(0.01)
    run.send_signal(number)
    start = time.monotonic()
    said = run.communicate(timeout=30)[1]
    return run.returncode, said, time.monotonic() - start


def processes_with(text: str) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if text in words and entry.parent.name != str(os.getpid()):
            found.append(words)
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_while_rendering(speech: Path, uninterrupted: Path, tmp_path: Path, number: signal.Signals) -> None:
    out = tmp_path / "film.mp4"
    rendered = out.with_suffix(".take") / "frames_rgba"
    code, said, seconds = interrupt(speech, out, number, lambda: any(rendered.glob("*.png")))
    assert code == 130
    assert said.splitlines()[-1].startswith("parley: stopped")
    assert "Traceback" not in said
    assert seconds < 30, "it hangs"
    assert not processes_with(str(out.with_suffix(".take") / CHILD))
    assert not out.exists()
    if number == signal.SIGINT:  # one resumption is enough, the folder left behind is the same
        finish(speech, out)
        assert out.read_bytes() == uninterrupted.read_bytes()


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_killed_at_any_frame_the_film_is_the_same(speech: Path, uninterrupted: Path, tmp_path: Path) -> None:
    out = tmp_path / "film.mp4"
    rendered = out.with_suffix(".take") / "frames_rgba"
    at = random.Random().randrange(1, 20)
    code, _, _ = interrupt(speech, out, signal.SIGKILL, lambda: len(list(rendered.glob("*.png"))) >= at)
    assert code == -signal.SIGKILL and not out.exists()
    finish(speech, out)
    assert out.read_bytes() == uninterrupted.read_bytes(), f"killed at frame {at}"
    assert not [path for path in rendered.iterdir() if path.suffix != ".png"]
    limit = time.monotonic() + 10
    while processes_with(str(out.with_suffix(".take") / CHILD)) and time.monotonic() < limit:
        time.sleep(0.1)
    assert not processes_with(str(out.with_suffix(".take") / CHILD)), "an orphan of the killed run"


def test_damaged_frames_are_made_again(speech: Path, uninterrupted: Path) -> None:
    take, film = uninterrupted.with_suffix(".take"), uninterrupted.read_bytes()
    frames = sorted((take / "frames_rgba").glob("*.png"))
    kept = frames[3].stat().st_mtime_ns
    frames[10].unlink()
    frames[11].write_bytes(frames[11].read_bytes()[:200])
    (take / "take.mp4").unlink()
    said = finish(speech, uninterrupted)
    assert "Rendering" in said
    assert "Speech to motion" not in said
    assert frames[3].stat().st_mtime_ns == kept
    assert uninterrupted.read_bytes() == film


def test_a_moved_film_and_take_need_no_work(speech: Path, uninterrupted: Path) -> None:
    folder = uninterrupted.parent
    moved = folder.rename(folder.with_name("moved"))
    try:
        assert finish(speech, moved / uninterrupted.name).startswith("Film:")
    finally:
        moved.rename(folder)
