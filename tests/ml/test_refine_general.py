"""Refiner: face shards, general training, general weights under a fine-tuning."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from ml_backend.errors import ArtefactError, UserInputError
from ml_backend.refine import shards
from ml_backend.refine.config import RefinerConfig
from ml_backend.refine.faces import FaceSet, place_square
from ml_backend.refine.general import GENERAL, STATE, WEIGHTS, GeneralPlan, GeneralReport, train_general
from ml_backend.refine.identity import EmbeddedIdentity
from ml_backend.refine.judging import GENERAL as GENERAL_USED
from ml_backend.refine.losses import LEFT_EYE, LIPS, RIGHT_EYE
from ml_backend.refine.shards import FaceShard
from ml_backend.refine.train import fine_tune, fit_features
from ml_backend.refine.weights import load_weights

TINY = RefinerConfig(channels=8, disc_channels=4, style_hidden=8, multipliers=(1, 2, 2), memory_slots=8, warp=2.0)
QUICK = replace(GENERAL, learning_rate=5e-3, batch=2, ema=0.8, structure_weight=0.0, gan_start=0.8, gan_full=0.9)
SIDE = 96


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def person(seed: int, split: str, count: int = 12) -> FaceShard:
    """A moving pattern, its render of another tint in a disc, and landmarks."""
    random = np.random.default_rng(seed)
    wide = cv2.GaussianBlur(random.integers(0, 255, (SIDE, SIDE + count, 3), np.uint8), (0, 0), 3)
    real = np.stack([wide[:, t : t + SIDE] for t in range(count)])
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    alpha = np.broadcast_to(np.where(np.hypot(x, y) < 0.4 * SIDE, 255, 0).astype(np.uint8), (count, SIDE, SIDE))
    tinted = np.clip(real * np.array([0.7, 0.9, 1.1]) + [20, 0, -10], 0, 255).astype(np.uint8)
    points = np.full((478, 2), SIDE / 2, np.float32) + random.normal(size=(478, 2)).astype(np.float32)
    for ring, (cx, cy), (rx, ry) in ((LIPS, (48, 66), (12, 5)), (LEFT_EYE, (60, 34), (6, 3)),
                                     (RIGHT_EYE, (36, 34), (6, 3))):
        angle = np.linspace(0, 2 * np.pi, len(ring), endpoint=False)
        points[list(ring)] = np.stack([cx + rx * np.cos(angle), cy + ry * np.sin(angle)], 1)
    half = count // 2
    run = np.repeat([0, 1], [half, count - half]).astype(np.int32)
    return FaceShard(np.concatenate([tinted, alpha[..., None]], 3), real, np.repeat(points[None], count, 0), run,
                     np.arange(count, dtype=np.int32), np.array(split), np.array(f"p{seed}"), np.array("made"),
                     np.array("open"))


def paste(rgba: np.ndarray, plate: np.ndarray) -> np.ndarray:
    return np.where(rgba[..., 3:] > 127, rgba[..., :3], plate)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faces")
    for seed, split in enumerate(("train", "train", "train", "validate")):
        shards.save(person(seed, split), folder / f"p{seed}.npz")
    return folder


def plan(dataset: Path, out: Path, **changes) -> GeneralPlan:
    return replace(GeneralPlan(dataset, out, paste, TINY, QUICK, side=64, steps=40, identity="embedded"), **changes)


@pytest.fixture(scope="module")
def trained(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, GeneralReport]:
    out = tmp_path_factory.mktemp("general")
    return out, train_general(plan(dataset, out))


def test_shards_round_trip(dataset: Path, tmp_path: Path) -> None:
    shard = shards.load(dataset / "p0.npz")
    np.testing.assert_array_equal(shard.real, person(0, "train").real)
    assert shard.side == SIDE and len(shard) == 12
    with pytest.raises(ArtefactError, match="rgba"):
        shards.save(replace(shard, rgba=shard.rgba[:3]), tmp_path / "x.npz")
    with pytest.raises(UserInputError, match="no face shards"):
        shards.find(tmp_path)


def test_clips_are_chosen_and_windows_stay_in_their_run(dataset: Path) -> None:
    found = FaceSet(dataset, "train", paste, EmbeddedIdentity(), without=("p1", "p2"))
    assert [clip.name for clip in found.clips] == ["p0"]
    clip = found.clips[0]
    assert clip.window(7, 3) == [6, 6, 7] and clip.window(5, 3) == [3, 4, 5]
    with pytest.raises(UserInputError, match="no face shards of the split"):
        FaceSet(dataset, "validate", paste, EmbeddedIdentity(), without=("p3",))


def test_squares_lie_around_features() -> None:
    random, points = np.random.default_rng(0), person(0, "train").landmarks[0]
    hits = 0
    for _ in range(60):
        rows, columns = place_square(points, SIDE, 48, random)
        assert rows.start >= 0 and rows.stop <= SIDE and columns.stop - columns.start == 48
        hits += rows.start <= 66 <= rows.stop and columns.start <= 48 <= columns.stop
    assert hits > 30


def test_general_training_helps_a_person_never_seen(trained: tuple[Path, GeneralReport]) -> None:
    out, report = trained
    assert report.steps == 40
    assert report.after.psnr > report.before.psnr + 1
    for name in (WEIGHTS, STATE, "curve.csv", "curve_psnr.png", "card.md"):
        assert (out / name).is_file()
    assert list(out.glob("samples_*.png"))
    assert "| made | open | 3 | 36 |" in (out / "card.md").read_text()
    weights = load_weights(out / WEIGHTS)
    assert weights.meta["clips"] == ["p0", "p1", "p2"] and weights.config == TINY
    assert 1 <= int(weights.memory.filled) <= 8


def test_training_goes_on_where_it_stopped(dataset: Path, trained: tuple[Path, GeneralReport], tmp_path: Path) -> None:
    train_general(plan(dataset, tmp_path, steps=2))
    assert train_general(plan(dataset, tmp_path, steps=3)).steps == 3
    with pytest.raises(ArtefactError, match="other settings"):
        train_general(plan(dataset, tmp_path, steps=3, seed=5))
    further = train_general(plan(dataset, tmp_path / "b", steps=1, start=trained[0] / WEIGHTS))
    assert further.after.psnr > further.before.psnr + 1


def test_general_weights_alone_refine_a_clip(trained: tuple[Path, GeneralReport], tmp_path: Path) -> None:
    shard = person(9, "train", 20)
    drawn = [paste(a, b) for a, b in zip(shard.rgba, shard.real, strict=True)]
    report = fine_tune(drawn, list(shard.real), None, tmp_path / "w.safetensors", minutes=0,
                       general=trained[0] / WEIGHTS, identity="embedded")
    assert report.used == GENERAL_USED and not report.pass_through and report.steps == 0
    assert (report.after["psnr"] or 0) > (report.before["psnr"] or 0)
    assert int(load_weights(tmp_path / "w.safetensors").memory.filled) >= 1
    with pytest.raises(UserInputError, match="no time"):
        fine_tune(drawn, list(shard.real), None, tmp_path / "v.safetensors", minutes=0)


def test_features_of_another_encoder_are_forgotten(trained: tuple[Path, GeneralReport]) -> None:
    weights = load_weights(trained[0] / WEIGHTS)
    first = dict(weights.generator.named_parameters())["style.0.weight"]
    before = first.detach().clone()
    fit_features(weights, weights.meta["identity"], weights.meta["spatial"])
    torch.testing.assert_close(first.detach(), before)
    fit_features(weights, "arcface", weights.meta["spatial"])
    people = torch.nn.functional.normalize(torch.randn(2, 512), dim=1)
    assert torch.equal(*weights.generator.style(people))
