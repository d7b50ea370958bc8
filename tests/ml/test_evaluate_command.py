"""`parley evaluate` on tiny clips: rows, files, resuming, and what it refuses."""

from __future__ import annotations

import json
import wave
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from ml_backend.cli import main
from ml_backend.errors import ArtefactError, UserInputError
from ml_backend.evaluation import clips as clips_module
from ml_backend.evaluation.bars import bars
from ml_backend.evaluation.clips import find_sources
from ml_backend.evaluation.phones import labials
from ml_backend.metrics.landmarks import lip_operator
from ml_backend.metrics.report import load, mean_figures, plot_opening, save, tables
from ml_backend.motion.checkpoint import MotionWeights, save_weights
from ml_backend.motion.network import build
from ml_backend.reconstruct.landmarks import LandmarkTrack
from tests.ml.motion_toys import TINY, babble, statistics
from tests.ml.reconstruct_toys import SIZE, head, landmarks, weights


def write_sound(path: Path, samples: np.ndarray) -> Path:
    with wave.open(str(path), "wb") as stream:
        stream.setnchannels(1)
        stream.setsampwidth(2)
        stream.setframerate(16000)
        stream.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return path


def motion_weights(path: Path, seed: int, names: list[str] | None = None) -> Path:
    """Tiny untrained weights for the built-in head, or for other expressions."""
    names = names or head().names
    count = len(names)
    half = np.full(count, 0.1, np.float32)
    known = replace(statistics(), names=names, mean=half, rest=half * 0, std=half,
                    lip_motion=np.ones((count, 2), np.float32))
    torch.manual_seed(seed)
    network = build(replace(TINY, expressions=count)).eval()
    for parameter in network.members[0].head.parameters():
        parameter.data *= 20
    operator = lip_operator(head()) if count == len(head().names) else np.ones((count, 5), np.float32)
    save_weights(MotionWeights(network, known, np.ones(count, np.float32), operator), path)
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two "clips": sound under a clip's name, and landmarks of the built-in head that stand in for the detector's."""
    clips = tmp_path / "clips"
    clips.mkdir()
    for seed, (name, seconds) in enumerate({"a": 8.4, "b": 3.0}.items()):
        samples, level = babble(seconds, seed)
        samples[-16000:] *= 0.001
        write_sound(clips / f"{name}.mp4", samples)
        frames = len(level)
        pose = np.tile([0, 0, 0, 0, 0.01, 0.5], (frames, 1))
        pose[:, 1] = 0.1 * np.sin(np.arange(frames) / 9)
        shown = weights(frames, jawOpen=0.5 * np.random.default_rng(seed).random(frames))
        seen = landmarks(shown, pose, np.zeros(len(head().identity_basis)), noise=0.3)
        seen[3] = np.nan
        np.save(clips / f"{name}.npy", seen)
    (clips / "index.csv").write_text("file,audio_late_ms,split\nclips/a.mp4,40,validate\nb.mp4,,train\n")

    def extract(path: Path, folder: Path, **_: object) -> SimpleNamespace:
        return SimpleNamespace(size=tuple(SIZE), path=path)

    def detect(frames: SimpleNamespace, **_: object) -> LandmarkTrack:
        calls.append(frames.path.stem)
        points = np.load(frames.path.with_suffix(".npy"))
        seen = np.isfinite(points[:, 0, 0])
        return LandmarkTrack(points, seen.astype(np.float32), np.zeros(len(points), bool))

    calls: list[str] = []
    monkeypatch.setattr(clips_module, "extract_frames", extract)
    monkeypatch.setattr(clips_module, "detect", detect)
    monkeypatch.setattr(clips_module, "calls", calls, raising=False)
    return clips


def run(*words: object) -> int:
    return main(["--quiet", "evaluate", *map(str, words)])


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert run(*words) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("parley: ")]
    assert len(lines) == 1
    return lines[0]


def test_rows_files_and_resuming(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = (motion_weights(tmp_path / f"{seed}.safetensors", seed) for seed in (1, 2))
    out = tmp_path / "out"
    words = (folder, "--out", out, "--weights", f"mine={one}", "--weights", two, "--personalise-seconds", 4)
    assert run(*words) == 0
    report = load(out / "metrics.json")
    general, personal = (report["modes"][mode]["rows"] for mode in ("general", "personalised"))
    baselines = ["still face", "mean face", "log-energy jaw", "shuffled speech"]
    assert list(general) == ["mine", "2", *baselines, "tracked motion"]
    assert [name for name in personal if name.startswith("mine, ")] == [
        f"mine, {what}" for what in ("personalised", "without pose prediction", "without adapting",
                                     "without personalising")]
    assert list(personal["own beginning"]["clips"]) == ["a"], "b is too short for that"
    assert "too short" in report["notes"][0]
    assert report["clips"]["a"]["audio_late_ms"]["used"] == report["clips"]["a"]["audio_late_ms"]["index"] == 40
    late = report["clips"]["b"]["audio_late_ms"]
    assert late["index"] is None
    assert late["used"] == late["estimated"]
    # The fitted face is the truth up to the noise of the landmarks; a still face is nothing like it.
    ceiling, still = general["tracked motion"]["clips"]["a"], general["still face"]["clips"]["a"]
    assert ceiling["opening_r"] > 0.9
    assert ceiling["lmd_percent"] < 0.5 * still["lmd_percent"]
    assert still["opening_r"] == still["speed"] == 0
    assert general["mine"]["clips"]["a"]["silent_closed"] == 1
    assert personal["mine, personalised"]["clips"]["a"]["spread_own"] > 0
    assert personal["mine, without pose prediction"]["clips"]["a"]["speed"] == 0
    assert personal["own beginning"]["clips"]["a"].keys().isdisjoint({"opening_r", "lmd_px", "silent_closed"})
    assert {bar["mode"] for bar in report["bars"]} == {"general", "personalised"}
    assert "log-energy jaw" in (out / "table.md").read_text()
    assert "log-energy jaw" in capsys.readouterr().out
    assert Image.open(out / "plots" / "a_personalised.png").width > 1000

    assert clips_module.calls == ["a", "b"]  # type: ignore[attr-defined]
    assert run(*words) == 0
    assert clips_module.calls == ["a", "b"]  # type: ignore[attr-defined]
    assert load(out / "metrics.json") == report


def test_what_it_refuses(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, good = tmp_path / "out", motion_weights(tmp_path / "good.safetensors", 0)
    other = motion_weights(tmp_path / "other.safetensors", 0, ["smile", "frown"])
    empty = tmp_path / "empty"
    empty.mkdir()
    say = tmp_path / "holiday"
    say.mkdir()
    (say / "photo.txt").write_text("mine")
    base = (folder, "--out", out)
    assert "nothing to evaluate" in refused(capsys, "--out", out)
    assert "There is no clip in" in refused(capsys, empty, "--out", out)
    assert "does not exist" in refused(capsys, tmp_path / "none.mp4", "--out", out)
    assert "other.safetensors does not know the expressions" in refused(capsys, *base, "--weights", other)
    assert "give 4 or more" in refused(capsys, *base, "--personalise-seconds", 2)
    assert "not.safetensors does not exist" in refused(capsys, *base, "--weights", tmp_path / "not.safetensors")
    assert "Two --weights are called x" in refused(capsys, *base, "--weights", f"x={good}", "--weights", f"x={good}")
    assert "No clip in" in refused(capsys, *base, "--split", "nowhere", "--weights", good)
    assert "no folder of an earlier evaluation" in refused(capsys, folder, "--out", say, "--weights", good)
    assert "both" in refused(capsys, "--film", good, "--out", out)
    assert "no second of a clip" in refused(capsys, "--film", good, "--clip", good, "--from", -1, "--out", out)
    silent = write_sound(tmp_path / "silent.mp4", np.zeros(32000))
    assert "silent.mp4" in refused(capsys, silent, "--out", out, "--weights", good)
    assert (say / "photo.txt").read_text() == "mine"


def test_sources_by_split_and_with_equal_names(folder: Path, tmp_path: Path) -> None:
    assert [source.name for source in find_sources([folder], split="validate")] == ["a"]
    twin = tmp_path / "twin"
    twin.mkdir()
    (twin / "a.mp4").write_bytes(b"")
    found = find_sources([folder, twin, folder])
    assert [source.name for source in found] == ["a", "b", "a_2"]
    assert [source.late_ms for source in found] == [40.0, None, None]
    bad = tmp_path / "bad.csv"
    bad.write_text("file,audio_late_ms\na.mp4,late\n")
    with pytest.raises(UserInputError, match="number of milliseconds"):
        find_sources([folder], index=bad)
    bad.write_text("name\na.mp4\n")
    with pytest.raises(UserInputError, match="no column named file"):
        find_sources([folder], index=bad)
    with pytest.raises(UserInputError, match="--index wants a CSV"):
        find_sources([folder], index=tmp_path / "gone.csv")


def test_bars_tables_plot_and_file(tmp_path: Path) -> None:
    row = {"opening_r": 0.6, "width_r": 0.3, "strict": 0.5, "amplitude": 1.3}
    kinds = {"p": "system", "p, personalised": "system", "still face": "baseline", "own beginning": "reference"}
    rows = {name: {"kind": kind, "mean": row, "clips": {"a": row, "b": row}} for name, kind in kinds.items()}
    rows["still face"] = {"kind": "baseline", "mean": {}, "clips": {"a": {"opening_r": 0.0}, "b": {"opening_r": 0.7}}}
    found = {(bar["mode"], bar["figure"]): bar["met"]
             for bar in bars({"general": {"rows": rows}, "personalised": {"rows": rows}}, "p")}
    assert found == {("general", "opening_r"): True, ("general", "width_r"): False,
                     ("personalised", "opening_r"): False, ("personalised", "amplitude"): False,
                     ("personalised", "strict"): True,
                     ("general", "clips on which the opening beats every baseline"): False}
    assert mean_figures([{"hs": 1.0, "lmd_px": None}, {"hs": 0.5}]) == {"hs": 0.75}
    shown = tables({"x": {"opening_r": 0.1234, "lmd_px": None}, "y": {"hs": 0.9}})
    assert shown == [("Lips", ["", "opening r"], [["x", "0.123"]]), ("Head", ["", "HS"], [["y", "0.900"]])]

    curve = np.full(50, 0.1)
    curve[5] = np.nan
    drawn = np.asarray(plot_opening(curve, np.zeros(50), np.arange(50) < 25, "t"))
    assert (drawn == (214, 92, 20)).all(-1).any()
    assert (drawn == (232, 236, 242)).all(-1).sum() > 5000

    save({"notes": []}, tmp_path / "m.json")
    assert load(tmp_path / "m.json")["version"] == 1
    (tmp_path / "m.json").write_text(json.dumps({"schema": "x"}))
    with pytest.raises(ArtefactError, match=r"is no parley\.evaluation"):
        load(tmp_path / "m.json")


def test_closures_of_known_phones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sound = write_sound(tmp_path / "reader_07.wav", babble(4.0, 1)[0])
    words = [{"t": "map", "b": 0.5, "d": 0.5, "w": [{"t": "M", "b": 0.5, "d": 0.1}, {"t": "AE1", "b": 0.6, "d": 0.2},
                                                      {"t": "p", "b": 0.8, "d": 0.2}]}]
    (tmp_path / "austen-07.phone.json").write_text(json.dumps({"t": "map", "b": 0, "d": 4, "w": words}))
    assert labials(tmp_path / "austen-07.phone.json") == [slice(12, 15), slice(20, 25)]
    good, out = motion_weights(tmp_path / "good.safetensors", 0), tmp_path / "out"
    assert run(sound, "--phones", tmp_path, "--weights", good, "--out", out) == 0
    found = load(out / "metrics.json")["speech"]["good"]["files"]["reader_07"]
    assert 0 <= found["labials_hit"] <= 1
    assert 0 <= found["labials_by_chance"] <= 1
    base = ("--phones", tmp_path, "--weights", good, "--out", out)
    other = write_sound(tmp_path / "reader_08.wav", babble(1.0, 1)[0])
    assert "no alignment of reader_08.wav" in refused(capsys, other, *base)
    (tmp_path / "reader_08.phone.json").write_text("[]")
    assert "can't be read as an alignment" in refused(capsys, other, *base)
