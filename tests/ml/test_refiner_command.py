"""`parley refiner`: apply, its batches and cache, ONNX, previews, the memory's figures, and bad input."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from ml_backend.cli import main
from ml_backend.data.frames import FrameFolder, encode_png, frame_path, write_index
from ml_backend.errors import StageError
from ml_backend.refine import apply as apply_module
from ml_backend.refine import retrieval, shards
from ml_backend.refine.ablation import longest_run, variants
from ml_backend.refine.apply import Refiner, apply
from ml_backend.refine.config import FEATURE_SIZE, RefinerConfig
from ml_backend.refine.dataset import read_png
from ml_backend.refine.generator import Generator
from ml_backend.refine.identity import spatial_trunk
from ml_backend.refine.memory import Memory
from ml_backend.refine.weights import RefinerWeights, load_weights, save_weights
from tests.ml.test_refine_general import person

TINY = RefinerConfig(channels=8, disc_channels=4, style_hidden=8, multipliers=(1, 2, 2), memory_slots=8, image=64)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def composites(count: int = 7, side: int = 64) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    wide = cv2.GaussianBlur(random.integers(0, 255, (side, side + count, 3), np.uint8), (0, 0), 2)
    return [np.ascontiguousarray(wide[:, t:t + side]) for t in range(count)]


def make_weights(path: Path, *, filled: bool = True, through: bool = False, config: RefinerConfig = TINY) -> Path:
    torch.manual_seed(0)
    generator, memory = Generator(config), Memory(config)
    for parameter in generator.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    if filled:
        features = torch.nn.functional.normalize(torch.randn(3, FEATURE_SIZE), dim=1)
        memory.write(features, features)
    meta = {"identity": "embedded-2", "spatial": spatial_trunk()[0], "pass_through": through}
    save_weights(path, RefinerWeights(config, generator, memory, meta=meta))
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_weights(tmp_path_factory.mktemp("w") / "refiner.safetensors")


def folder_of(pictures: list[np.ndarray], folder: Path) -> Path:
    folder.mkdir(parents=True)
    for index, picture in enumerate(pictures):
        frame_path(folder, index).write_bytes(encode_png(picture))
    write_index(folder, complete=True, count=len(pictures), fps=25, notes=[])
    return folder


def run(*words: object) -> int:
    return main(["--quiet", "refiner", *map(str, words)])


def test_batches_give_the_same_as_single_frames(weights: Path, tmp_path: Path) -> None:
    frames = composites()
    reports = [apply(frames, weights, tmp_path / str(size), batch=size) for size in (1, 3, 50)]
    assert [report.made for report in reports] == [7, 7, 7]
    for t in range(7):
        one = read_png(tmp_path / "1" / f"{t:06d}.png")
        assert np.abs(one.astype(int) - frames[t]).mean() > 1, "the weights do something"
        for size in ("3", "50"):
            assert np.abs(read_png(tmp_path / size / f"{t:06d}.png").astype(int) - one).max() <= 2


def test_only_what_changed_is_made_again(weights: Path, tmp_path: Path) -> None:
    frames = composites()
    apply(frames, weights, tmp_path / "f")
    assert apply(frames, weights, tmp_path / "f").made == 0
    (tmp_path / "f" / "000002.png").unlink()
    assert apply(frames, weights, tmp_path / "f").made == 1
    assert apply(frames, weights, tmp_path / "f", strength=0.5).made == 7
    other = make_weights(tmp_path / "o.safetensors", config=RefinerConfig(**{**TINY.as_dict(), "channels": 4}))
    assert apply(frames, other, tmp_path / "f").made == 7
    (tmp_path / "f" / "refined.json").write_text("[broken")
    assert apply(frames, other, tmp_path / "f").made == 7


def test_strength_lies_between(weights: Path, tmp_path: Path) -> None:
    frames = composites()
    for strength in (0.0, 0.5, 1.0):
        apply(frames, weights, tmp_path / str(strength), strength=strength)
    none, half, full = (read_png(tmp_path / str(s) / "000004.png").astype(float) for s in (0.0, 0.5, 1.0))
    np.testing.assert_array_equal(none, frames[4])
    assert np.abs(half - (none + full) / 2).max() <= 1.5


def test_another_identity_is_another_frame(weights: Path, tmp_path: Path) -> None:
    loaded = load_weights(weights)
    refiner = Refiner(loaded)
    window = np.stack(composites()[:3])
    a, b = (refiner.refine(window, loaded.memory.values[k])[0].astype(int) for k in (0, 1))
    assert np.abs(a - b).max() > 3


def test_out_of_memory_halves_the_batch(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Refiner.refine_batch

    def short(self: Refiner, windows: list, identity: torch.Tensor, strength: float = 1.0) -> list:
        if len(windows) > 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        return real(self, windows, identity, strength)

    monkeypatch.setattr(Refiner, "refine_batch", short)
    said: list[str] = []
    report = apply(composites(), weights, tmp_path / "a", batch=8, say=said.append)
    assert (report.made, report.batch) == (7, 2)
    assert list(report.notes) == said
    assert "not enough memory for 8 frames" in said[0] and "goes on with 4" in said[0]

    def never(*_: object) -> list:
        raise MemoryError

    monkeypatch.setattr(Refiner, "refine_batch", never)
    with pytest.raises(StageError, match="not enough memory to refine a single frame"):
        apply(composites(), weights, tmp_path / "b")

    def broken(*_: object) -> list:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(Refiner, "refine_batch", broken)
    with pytest.raises(RuntimeError, match="shapes differ"):
        apply(composites(), weights, tmp_path / "c")
    assert not apply_module.out_of_memory(ValueError("x"))


def test_apply_by_the_command(weights: Path, tmp_path: Path) -> None:
    folder = folder_of(composites(), tmp_path / "take" / "composites")
    (tmp_path / "take" / "refiner.safetensors").write_bytes(weights.read_bytes())
    out, sheet = tmp_path / "out", tmp_path / "sheet.png"
    assert run("apply", tmp_path / "take", "--out", out, "--preview", sheet, "--strength", 0.7) == 0
    assert len(FrameFolder.open(out)) == 7
    picture = read_png(sheet)
    assert picture.shape[1] == 6 * 260 and picture.shape[0] == 2 * 282
    top, bottom = picture[30:270, 5:250].astype(int), picture[312:552, 5:250].astype(int)
    assert np.abs(top - bottom).mean() > 1
    assert run("apply", folder, "--weights", weights, "--out", tmp_path / "again", "--batch", 2) == 0


def test_exported_network_is_the_same(weights: Path, tmp_path: Path) -> None:
    import onnxruntime

    loaded = load_weights(weights)
    frames = composites()
    for flag in (False, True):
        out = tmp_path / f"{flag}.onnx"
        assert run("export", weights, "--out", out, *(["--identity-input"] * flag)) == 0
        session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
        assert [entry.name for entry in session.get_inputs()] == ["window"] + ["identity"] * flag
        window = np.concatenate(frames[2:5], 2).transpose(2, 0, 1)[None].astype(np.float32) / 255
        mean = torch.nn.functional.normalize(loaded.memory.values[:3].mean(0, keepdim=True), dim=1)
        feeds = {"window": window} | ({"identity": mean.numpy()} if flag else {})
        refined, attention = session.run(None, feeds)
        with torch.no_grad():
            wanted, _, share = loaded.generator(2 * torch.from_numpy(window) - 1, mean)
        assert np.abs(refined - ((wanted + 1) / 2).clamp(0, 1).numpy()).max() < 1e-3
        assert np.abs(attention - share.numpy()).max() < 1e-3


def test_what_cannot_be_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = make_weights(tmp_path / "e.safetensors", filled=False)
    assert run("export", empty, "--out", tmp_path / "e.onnx") != 0
    assert "memory has no entries" in capsys.readouterr().err
    through = make_weights(tmp_path / "t.safetensors", through=True)
    assert run("export", through, "--out", tmp_path / "t.onnx") == 2
    assert "no use in exporting" in capsys.readouterr().err


def test_bad_input_says_what_to_do(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, large = folder_of(composites(), tmp_path / "in"), folder_of(composites(side=96), tmp_path / "large")
    cut, newer = tmp_path / "cut.safetensors", tmp_path / "newer.safetensors"
    cut.write_bytes(weights.read_bytes()[:9000])
    newer.write_bytes(weights.read_bytes().replace(b'"version":"1"', b'"version":"9"'))
    other = tmp_path / "other.safetensors"
    other.write_bytes(weights.read_bytes().replace(b'channels\\": 8', b'channels\\": 4', 1))
    empty = make_weights(tmp_path / "empty.safetensors", filled=False)
    for words, sentence in (
        ((tmp_path / "none", "--weights", weights), "is no folder"),
        ((folder,), "does not exist; --weights wants"),
        ((folder, "--weights", cut), "is damaged"),
        ((folder, "--weights", newer), "version 9, needed is"),
        ((folder, "--weights", other), "don't fit its config"),
        ((folder, "--weights", empty), "memory has no entries"),
        ((large, "--weights", weights), "trained on 64x64 RGB frames and frame 0 is 96x96"),
        ((folder, "--weights", weights, "--strength", 2), "strength of 2.0 is not possible"),
        ((folder, "--weights", weights, "--batch", 0), "batch of 0 frames"),
    ):
        assert run("apply", *words, "--out", tmp_path / "o") != 0
        said = capsys.readouterr().err
        assert sentence in " ".join(said.split()), said
        assert said.count("\n") <= 1 and "Traceback" not in said
    assert run("apply", folder, "--weights", weights, "--out", folder) == 2
    assert "another folder" in capsys.readouterr().err
    frame_path(folder, 3).unlink()
    assert run("apply", folder, "--weights", weights, "--out", tmp_path / "o") != 0
    said = capsys.readouterr().err
    assert "000003.png" in said and "Traceback" not in said
    (tmp_path / "bare").mkdir()
    assert run("apply", tmp_path / "bare", "--weights", weights, "--out", tmp_path / "o") != 0
    assert "Traceback" not in capsys.readouterr().err


def test_the_memory_finds_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(3):
        shards.save(person(number, "train"), tmp_path / f"p{number}.npz")
    assert run("memory", tmp_path, "--epochs", 2, "--identity", "embedded") == 0
    said = capsys.readouterr().out
    assert "of 3 people in 3 clips" in said and "p0: " in said
    (tmp_path / "people.csv").write_text("file,person\nclips/p0.mp4,ann\np2.mp4,ann\n")
    assert run("memory", tmp_path, "--epochs", 1, "--identity", "embedded", "--people", tmp_path / "people.csv") == 0
    said = capsys.readouterr().out
    assert "of 2 people in 3 clips" in said and "ann: " in said and "p1: " in said
    assert run("memory", tmp_path, "--epochs", 0) == 2
    (tmp_path / "people.csv").write_text("name\nann\n")
    assert run("memory", tmp_path, "--people", tmp_path / "people.csv") == 2
    assert "no columns file and person" in capsys.readouterr().err


def test_retrieval_of_known_features() -> None:
    """Spatial features that tell people apart are found, those that don't are not."""
    random = torch.Generator().manual_seed(0)
    people = torch.nn.functional.normalize(torch.randn(4, FEATURE_SIZE, generator=random), dim=1)
    who = np.repeat(np.arange(4), 10)
    held = np.tile(np.arange(10) >= 8, 4)
    clear = torch.nn.functional.normalize(
        people[who] + 0.02 * torch.randn(40, FEATURE_SIZE, generator=random), dim=1)
    names = tuple("abcd")
    good = retrieval.measure(retrieval.Questions(clear, people[who], who, who, held, names, names), TINY)
    assert (good.after, good.smoothed, good.asked, good.people) == (1, 1, 8, 4)
    assert good.slots == 4, "the same person moves a key instead of taking a slot"
    same = torch.nn.functional.normalize(torch.randn(1, FEATURE_SIZE, generator=random), dim=1).expand(40, -1)
    blind = retrieval.measure(retrieval.Questions(same, people[who], who, who, held, names, names), TINY)
    assert blind.after <= 0.5


def test_ablation_rows_and_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [row.name for row in variants(tmp_path / "g", "auto")]
    assert len(names) == 5 and names[2].endswith("from general weights") and names[4] == "general weights alone"
    assert [row.identity for row in variants(None, "embedded")] == ["none", "embedded"]
    shard = person(0, "validate", count=64)
    assert len(longest_run(shard)) == 32
    shards.save(person(0, "validate", count=40), tmp_path / "short.npz")
    assert run("ablate", tmp_path / "short.npz", "--out", tmp_path / "o") == 2
    assert "has 20 frames, needed are 30" in capsys.readouterr().err
    assert run("ablate", tmp_path, "--out", tmp_path / "o") == 2
    assert "neither a face shard nor a take" in capsys.readouterr().err
    assert run("ablate", tmp_path / "short.npz", "--out", tmp_path / "o", "--minutes", 0) == 2
    assert run("ablate", tmp_path / "short.npz", "--out", tmp_path / "o", "--steps", 0) == 2


def test_ablation_by_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                 monkeypatch: pytest.MonkeyPatch) -> None:
    """Composites of a take are paired with the crops of its source; the table has a line for each variant."""
    from ml_backend.refine import ablation

    pictures = composites(32)
    folder_of(pictures, tmp_path / "t.take" / "fit_composites")
    folder_of([np.pad(picture, ((20, 0), (10, 0), (0, 0))) for picture in pictures], tmp_path / "t.take" / "source")
    (tmp_path / "t.take" / "track.npz").touch()
    track = SimpleNamespace(crop=np.array([10, 20, 64], np.float32), landmarks=np.full((40, 478, 3), 30, np.float32))
    monkeypatch.setattr(ablation.face_track, "load", lambda path: track)
    seen = []

    def fit(clip: ablation.Pairs, row: ablation.Variant, out: Path, **how: object) -> SimpleNamespace:
        assert how["steps"] == 9
        seen.append(row.identity)
        np.testing.assert_array_equal(clip.real[5], pictures[5])
        np.testing.assert_allclose(clip.landmarks[0, 0], [20, 10])
        return SimpleNamespace(before={"psnr": 20.0}, after={"psnr": 25.0 + len(seen)}, steps=9)

    monkeypatch.setattr(ablation, "fit", fit)
    assert run("ablate", tmp_path / "t.take", "--out", tmp_path / "o", "--minutes", 1, "--steps", 9) == 0
    said = capsys.readouterr().out
    assert seen == ["none", "auto"]
    assert "| rendered | 0 | 20 |" in said and "| with identity and memory | 9 | 27 |" in said


def test_talk_refuses_an_impossible_strength(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quiet", "talk", "--out", str(tmp_path / "a.mp4"), "--refine-strength", "1.5"]) == 2
    assert "--refine-strength 1.5 must lie between 0 and 1" in capsys.readouterr().err


def test_known_files_only(tmp_path: Path) -> None:
    """The notes of a refined folder name each frame once."""
    weights = make_weights(tmp_path / "w.safetensors")
    apply(composites(3), weights, tmp_path / "f")
    notes = json.loads((tmp_path / "f" / "refined.json").read_text())
    assert sorted(notes) == ["000000.png", "000001.png", "000002.png"]
