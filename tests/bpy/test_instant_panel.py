"""*Animate* by the instant engine: any sound that Blender plays, in a thread, without a backend."""

from __future__ import annotations

import importlib
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

import addon  # noqa: E402
from addon.bl import audio, compat, heads, instant, layers, scene, sound, speech, worker  # noqa: E402
from addon.core.errors import UserInputError  # noqa: E402
from addon.core.instant import engine  # noqa: E402
from addon.core.instant.sound import read_wav  # noqa: E402
from addon.core.jobs import State  # noqa: E402
from addon.core.performance import load  # noqa: E402
from addon.features.animate import operators as animate  # noqa: E402
from ml_backend.config import sample_speech  # noqa: E402


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("PARLEY_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("PARLEY_PYTHON", raising=False)
    scene.empty_file()
    addon.register()
    bpy.ops.parley.add_head()
    bpy.context.scene.parley_speech.source = "SAMPLE"
    yield bpy.context.scene
    addon.unregister()
    scene.empty_file()


def test_one_press_without_a_backend(opened: Any) -> None:
    assert animate.engine(opened) == "INSTANT" and bpy.ops.parley.animate() == {"FINISHED"}
    said = worker.outcome()
    assert said.text.startswith("Keyed 5.5 s of speech") and not said.error
    assert {action.name for action in bpy.data.actions} == {layers.SPEECH, layers.EYES, layers.HEAD}
    made = load(opened.parley_performance.last)
    assert made.provenance["engine"] == "instant" and len(made) == 137
    if sound.possible():
        (strip,) = compat.all_sound_strips(opened)
        assert Path(strip.sound.filepath.lstrip("/")).name == instant.sample().name
    opened.parley_performance.seed = 1
    assert bpy.ops.parley.animate() == {"FINISHED"}
    assert len(bpy.data.actions) == 3 and len(compat.all_sound_strips(opened)) <= 1
    assert np.abs(load(opened.parley_performance.last).pose - made.pose).max() > 0.005


def test_the_engine_is_the_users_choice(opened: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PARLEY_PYTHON", "/nowhere/python")
    assert animate.engine(opened) == "BACKEND"
    opened.parley_performance.engine = "INSTANT"
    assert animate.PARLEY_OT_animate.disabled_reason(bpy.context) is None
    (tmp_path / "clip.mp4").write_bytes(b"x")
    opened.parley_performance.person = str(tmp_path / "clip.mp4")
    assert "Only the backend learns" in (animate.PARLEY_OT_animate.disabled_reason(bpy.context) or "")
    opened.parley_performance.person, opened.parley_performance.pose = "", "other"
    opened.parley_performance.pose_clip = str(tmp_path / "clip.mp4")
    assert "Only the backend takes the head's motion" in (animate.PARLEY_OT_animate.disabled_reason(bpy.context) or "")


def test_a_text_is_said_to_be_left_out(opened: Any) -> None:
    opened.parley_speech.text = "Hello"
    assert bpy.ops.parley.animate() == {"FINISHED"} and instant.TEXT_NOTE in worker.outcome().notes


def test_a_cancel_changes_nothing_and_the_next_job_works(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def cancelled() -> None:
        time.sleep(0.05)
        assert bpy.ops.parley.cancel.poll() and bpy.ops.parley.cancel() == {"FINISHED"}
        begun = time.monotonic()
        wait()
        assert time.monotonic() - begun < 2

    wait = worker.wait
    monkeypatch.setattr(worker, "wait", cancelled)
    with pytest.raises(RuntimeError, match="Animate was stopped; nothing in the scene was changed"):
        bpy.ops.parley.animate()
    assert not bpy.data.actions and worker.runner().state is State.FAILED
    monkeypatch.undo()
    assert bpy.ops.parley.animate() == {"FINISHED"} and bpy.data.actions


def test_another_file_stops_the_job(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "perform", lambda *words: time.sleep(0.2))
    worker.job_folder()
    instant.start({"out": str(worker.job_folder() / "a.npz")}, "Animate", lambda job: "never")
    assert worker.runner().busy and "Animate is running" in (worker.disabled_reason() or "")
    with pytest.raises(UserInputError, match="Animate is running"):
        instant.start({"out": str(worker.job_folder() / "a.npz")}, "Animate", lambda job: "never")
    scene.empty_file()
    assert not worker.runner().busy and worker.outcome().error == "Animate was stopped: another file was opened."


def test_a_sound_that_can_not_be_read_is_named(opened: Any, tmp_path: Path) -> None:
    opened.parley_speech.source, path = "FILE", tmp_path / "noise.mp3"
    path.write_bytes(bytes(range(256)) * 40)
    opened.parley_speech.filepath = str(path)
    with pytest.raises(RuntimeError, match=r"(?s)noise\.mp3"):
        bpy.ops.parley.animate()
    assert not bpy.data.actions


needs_sound = pytest.mark.skipif(not sound.possible(), reason="this Blender has no sound")


@needs_sound
def test_every_way_of_reading_gives_the_same_sound(opened: Any, tmp_path: Path,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    truth, rate = read_wav(instant.sample())
    flac = tmp_path / "a.flac"
    shutil.copyfile(sample_speech(), flac)
    monkeypatch.setattr(audio, "PART_SECONDS", 2.0)
    values, found = audio.reader(flac, tmp_path)(lambda: None)
    assert found == rate and values.shape == truth.shape and np.abs(values - truth).max() < 1e-4
    real = importlib.import_module

    def without(name: str) -> Any:
        if name == "aud":
            raise ImportError(name)
        return real(name)

    monkeypatch.setattr(importlib, "import_module", without)
    scenes = len(bpy.data.scenes)
    values, found = audio.reader(flac, tmp_path)(lambda: None)
    assert len(bpy.data.scenes) == scenes and bpy.context.scene == opened and not bpy.data.sounds
    assert abs(len(values) / found - len(truth) / rate) < 0.05
    heard = np.interp(np.arange(len(truth)) / rate, np.arange(len(values)) / found, values.mean(1))
    assert np.corrcoef(heard, truth[:, 0])[0, 1] > 0.98


@needs_sound
def test_a_packed_strip_is_animated_at_its_place(opened: Any, tmp_path: Path) -> None:
    copy = tmp_path / "words.flac"
    shutil.copyfile(sample_speech(), copy)
    strip = compat.sound_strips(opened).new_sound("Line", str(copy), 1, 60)
    strip.sound.pack()
    copy.unlink()
    opened.parley_speech.source = "STRIP"
    assert speech.chosen(opened, tmp_path / "job").path == tmp_path / "job" / "packed.flac"
    assert bpy.ops.parley.animate() == {"FINISHED"}
    (track, *_) = heads.current(bpy.context).keys.animation_data.nla_tracks
    assert [round(one.frame_start) for one in track.strips] == [60]


def test_a_blender_without_sound_says_what_it_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Options:
        audaspace = False

    class App:
        build_options = Options

    class Bpy:
        app = App

    monkeypatch.setattr(audio, "bpy", Bpy)
    with pytest.raises(UserInputError, match="reads uncompressed WAV files only"):
        audio._mixed(tmp_path / "a.mp3", tmp_path)
