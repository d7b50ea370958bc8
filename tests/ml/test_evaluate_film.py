"""A film against its clip: pictures, identity, flicker and the refiner's attention, on made-up frames."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from ml_backend.cli import main
from ml_backend.data.frames import FrameFolder, encode_png, frame_path, write_index
from ml_backend.evaluation import clips as clips_module
from ml_backend.evaluation import film as film_module
from ml_backend.metrics.report import load
from ml_backend.reconstruct.landmarks import LandmarkTrack
from ml_backend.refine.config import RefinerConfig
from ml_backend.refine.generator import Generator
from ml_backend.refine.memory import Memory
from ml_backend.refine.weights import RefinerWeights, save_weights
from tests.ml.motion_toys import babble
from tests.ml.reconstruct_toys import SIZE, head, landmarks, weights
from tests.ml.test_evaluate_command import write_sound

FRAMES = 26
TINY = RefinerConfig(channels=4, disc_channels=4, style_hidden=8, multipliers=(1, 2, 2), memory_slots=8, image=64)


def write_frames(folder: Path, pictures: list[np.ndarray]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index, picture in enumerate(pictures):
        frame_path(folder, index).write_bytes(encode_png(picture))
    write_index(folder, complete=True, count=len(pictures), fps=25, notes=[])


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path, dict[str, list[np.ndarray]]]:
    """A clip of a patterned picture and a film that is the same, blurred; landmarks of the head in both."""
    noise = np.random.default_rng(0).uniform(0, 255, (SIZE[1] // 4, SIZE[0] // 4, 3)).astype(np.float32)
    sharp = np.clip(cv2.resize(noise, tuple(int(side) for side in SIZE), interpolation=cv2.INTER_CUBIC), 0, 255)
    sharp = sharp.astype(np.uint8)
    shown = {"clip": [sharp] * FRAMES, "film": [cv2.GaussianBlur(sharp, (0, 0), 1.5)] * FRAMES}
    pose = np.tile([0, 0, 0, 0, 0.01, 0.5], (FRAMES, 1))
    opening = weights(FRAMES, jawOpen=0.3 + 0.3 * np.sin(np.arange(FRAMES) / 2))
    seen = landmarks(opening, pose, np.zeros(len(head().identity_basis)))

    def extract(path: Path, folder: Path, **_: object) -> FrameFolder:
        write_frames(folder, shown[path.stem])
        return FrameFolder.open(folder)

    def detect(frames: FrameFolder, **_: object) -> LandmarkTrack:
        return LandmarkTrack(seen[:len(frames)], np.ones(len(frames), np.float32), np.zeros(len(frames), bool))

    monkeypatch.setattr(clips_module, "extract_frames", extract)
    monkeypatch.setattr(clips_module, "detect", detect)
    monkeypatch.setattr(film_module, "probe", lambda path: SimpleNamespace(seconds=FRAMES / 25))
    film, clip = (write_sound(tmp_path / name, babble(FRAMES / 25, 0)[0]) for name in ("film.mp4", "clip.mp4"))
    return film, clip, shown


def run(*words: object) -> int:
    return main(["--quiet", "evaluate", *map(str, words)])


def test_a_blurred_film_is_close_but_not_sharp(pair, tmp_path: Path) -> None:
    film, clip, shown = pair
    take = film.with_suffix(".take")
    write_frames(take / "composites", [picture[:64, :64] for picture in shown["film"][:4]])
    torch.manual_seed(0)
    meta = {"identity": "embedded-1", "spatial": "embedded-1", "pass_through": False}
    memory, features = Memory(TINY), torch.nn.functional.normalize(torch.rand(2, 512), dim=1)
    memory.write(features, features)
    save_weights(take / "refiner.safetensors", RefinerWeights(TINY, Generator(TINY), memory, meta=meta))
    out = tmp_path / "out"
    assert run("--film", film, "--clip", clip, "--out", out, "--identity", "embedded") == 0
    report = load(out / "metrics.json")
    figures = report["figures"]
    assert report["frames"] == FRAMES
    assert 15 < figures["psnr"] < 40
    assert 0.5 < figures["ssim"] < figures["ms_ssim"] < 1
    assert figures["mouth_sharpness"] < 0.5
    assert figures["identity"] > 0.9
    assert figures["flicker"] == 1, "neither moves"
    assert figures["opening_r"] == pytest.approx(1)
    assert figures["lmd_px"] == pytest.approx(0, abs=1e-3)
    assert "lpips" not in figures
    assert 0 < figures["attention"] < 1
    assert 0 <= figures["attention_saturated"] <= 1
    assert "PSNR" in (out / "table.md").read_text()


def test_other_sizes_and_missing_things(pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    film, clip, shown = pair
    shown["film"] = [picture[:-2] for picture in shown["film"]]
    out = tmp_path / "out"
    words = ("--film", film, "--clip", clip, "--out", out, "--identity", "embedded")
    assert run(*words) == 0
    report = load(out / "metrics.json")
    assert "psnr" not in report["figures"]
    assert report["figures"]["mouth_sharpness"] < 0.6
    assert "PSNR, SSIM and LPIPS are left out" in report["notes"][0]
    capsys.readouterr()
    assert run(*words, "--take", tmp_path / "none") == 2
    assert "holds no refiner.safetensors" in capsys.readouterr().err
    assert run(*words, "--lpips", tmp_path) == 2
    assert "alexnet.safetensors does not exist; LPIPS needs" in capsys.readouterr().err
    shown["film"] = shown["film"][:10]
    shutil.rmtree(out)
    assert run(*words) == 2
    assert "only 10 frames in common" in capsys.readouterr().err
