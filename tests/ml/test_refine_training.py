"""Refiner: pairs, fine-tuning, weights file, apply."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from ml_backend.errors import ArtefactError, Cancelled, UserInputError
from ml_backend.metrics.image import Quality, measure
from ml_backend.refine.apply import apply
from ml_backend.refine.config import RefinerConfig, TrainOptions
from ml_backend.refine.dataset import PairFolder, PairSequence, from_network, read_png, to_network, window_indices
from ml_backend.refine.identity import identity_encoder
from ml_backend.refine.judging import judged
from ml_backend.refine.train import RefineReport, fine_tune
from ml_backend.refine.trainer import Trainer, pick_frames, ramp
from ml_backend.refine.weights import RefinerWeights, load_weights, save_weights

TINY = RefinerConfig(channels=8, disc_channels=4, style_hidden=8, multipliers=(1, 2, 2), memory_slots=8, image=64)
QUICK = TrainOptions(learning_rate=5e-3, disc_crop=64, shift=2, coarse_share=0.2, structure_weight=0.0, ema=0.8)


def clip(frames: int = 16, size: int = 64, seed: int = 0) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Composites that are a moving blurred pattern, and real frames of another tint."""
    random = np.random.default_rng(seed)
    wide = cv2.GaussianBlur(random.integers(0, 255, (size, size + frames, 3), np.uint8), (0, 0), 3).astype(np.float32)
    real = [np.ascontiguousarray(wide[:, t : t + size]) for t in range(frames)]
    tinted = [np.clip(f * [0.7, 0.9, 1.1] + [20, 0, -10], 0, 255).astype(np.uint8) for f in real]
    return tinted, [f.astype(np.uint8) for f in real]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for each other on a busy machine cost more than they bring on pictures this small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RefineReport]:
    out = tmp_path_factory.mktemp("refiner") / "w.safetensors"
    composites, real = clip()
    return out, fine_tune(composites, real, None, out, minutes=5, config=TINY, options=QUICK, max_steps=60)


def test_training_corrects_a_tint_on_unseen_frames(trained: tuple[Path, RefineReport]) -> None:
    out, report = trained
    assert not report.pass_through
    assert report.steps == 60
    assert (report.after["psnr"] or 0) > (report.before["psnr"] or 0) + 3
    assert report.curve[0][1] > report.curve[-1][1]
    assert [look[3] for look in (report.curve[0], report.curve[-1])] == [0, 60]
    assert report.curve[-1][2] > report.curve[0][2], "the log says dB as well"
    assert "improves" in report.message
    assert sorted(p.name for p in out.parent.glob("w*")) == ["w.safetensors"]


def test_finished_run_is_not_repeated(trained: tuple[Path, RefineReport]) -> None:
    out, report = trained
    stamp = out.stat().st_mtime_ns

    def never(done: int, total: int) -> None:
        raise Cancelled("must not train")

    composites, real = clip()
    again = fine_tune(composites, real, None, out, minutes=5, config=TINY, options=QUICK, progress=never, max_steps=60)
    assert again.message == report.message
    assert out.stat().st_mtime_ns == stamp


def test_cancelled_run_resumes(tmp_path: Path) -> None:
    composites, real = clip()
    out = tmp_path / "w.safetensors"
    calls = []

    def stop(done: int, total: int) -> None:
        calls.append(done)
        if len(calls) == 5:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        fine_tune(composites, real, None, out, minutes=5, config=TINY, options=QUICK, progress=stop, max_steps=9)
    assert not out.exists()
    assert (tmp_path / "w.state.safetensors").is_file()
    steps: list[int] = []
    report = fine_tune(
        composites,
        real,
        None,
        out,
        minutes=5,
        config=TINY,
        options=QUICK,
        progress=lambda done, total: steps.append(done),
        max_steps=9,
    )
    assert report.steps == 9
    assert len(steps) == 4


def test_never_worse_than_the_composite(tmp_path: Path) -> None:
    _, real = clip()
    out = tmp_path / "w.safetensors"
    report = fine_tune(real, real, None, out, minutes=5, config=TINY, options=QUICK, max_steps=3)
    assert report.pass_through
    assert "stay as they are" in report.message
    done = apply(real, out, tmp_path / "frames")
    assert done.pass_through
    np.testing.assert_array_equal(read_png(tmp_path / "frames" / "000003.png"), real[3])


def test_general_weights_are_a_head_start(trained: tuple[Path, RefineReport], tmp_path: Path) -> None:
    out, report = trained
    composites, real = clip()
    second = fine_tune(
        composites, real, None, tmp_path / "p.safetensors", minutes=5, options=QUICK, general=out, max_steps=1
    )
    assert second.curve[0][1] < report.curve[0][1] * 0.8
    with pytest.raises(UserInputError, match="other sizes"):
        fine_tune(
            composites, real, None, tmp_path / "q.safetensors", minutes=5, config=replace(TINY, channels=4), general=out
        )


def test_apply_writes_resumes_and_notices_changes(trained: tuple[Path, RefineReport], tmp_path: Path) -> None:
    out, _ = trained
    composites, real = clip()
    folder = tmp_path / "refined frames ü"

    def stop(done: int, total: int) -> None:
        if done == 4:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        apply(composites, out, folder, progress=stop)
    assert apply(composites, out, folder).made == len(composites) - 4
    assert apply(composites, out, folder).made == 0
    frames = [read_png(folder / f"{t:06d}.png") for t in range(len(composites))]
    ones = np.ones((len(real), 64, 64), np.float32)
    assert measure(frames, real, ones).psnr > measure(composites, real, ones).psnr + 3
    (folder / "000002.png").unlink()
    assert apply(composites, out, folder).made == 1
    changed = [255 - f if t == 8 else f for t, f in enumerate(composites)]
    assert apply(changed, out, folder).made == 3
    assert apply(composites, out, tmp_path / "none", strength=0.0).pass_through


def test_apply_refuses_what_does_not_fit(trained: tuple[Path, RefineReport], tmp_path: Path) -> None:
    out, _ = trained
    with pytest.raises(UserInputError, match="64x64"):
        apply([np.zeros((96, 96, 3), np.uint8)], out, tmp_path / "a")
    with pytest.raises(UserInputError, match="strength"):
        apply(clip()[0], out, tmp_path / "a", strength=2.0)
    with pytest.raises(ArtefactError, match="does not exist"):
        apply(clip()[0], tmp_path / "absent.safetensors", tmp_path / "a")


def test_weights_round_trip_and_damage(trained: tuple[Path, RefineReport], tmp_path: Path) -> None:
    out, _ = trained
    weights = load_weights(out)
    assert weights.config == TINY
    assert weights.meta["identity"] == identity_encoder().name
    assert int(weights.memory.filled) >= 1
    half = tmp_path / "half.safetensors"
    save_weights(half, weights, half=True, with_discriminator=False)
    assert half.stat().st_size < out.stat().st_size / 2
    again = load_weights(half)
    torch.testing.assert_close(
        again.generator.trunk.stem.weight, weights.generator.trunk.stem.weight, atol=1e-3, rtol=1e-2
    )
    data = out.read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(ArtefactError, match="damaged"):
        load_weights(tmp_path / "cut.safetensors")
    (tmp_path / "other.safetensors").write_bytes(data.replace(b"parley.refiner", b"parley.swimmer"))
    with pytest.raises(ArtefactError, match=r"parley\.swimmer"):
        load_weights(tmp_path / "other.safetensors")
    wrong = RefinerWeights(replace(TINY, channels=4), weights.generator, weights.memory, None, {})
    save_weights(tmp_path / "wrong.safetensors", wrong)
    with pytest.raises(ArtefactError, match="don't fit"):
        load_weights(tmp_path / "wrong.safetensors")


def features(count: int) -> torch.Tensor:
    """Unit features (count, 512)."""
    return torch.nn.functional.normalize(torch.randn(count, 512, generator=torch.Generator().manual_seed(0)), dim=1)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_every_phase_takes_a_step(share: float) -> None:
    options = replace(QUICK, crop=32, disc_crop=64, coarse_share=0.3, gan_start=0.4, gan_full=0.5)
    composites, real = clip(size=96)
    config = RefinerConfig(channels=4, disc_channels=4, style_hidden=8, image=96, memory_slots=4)
    trainer = Trainer(config, options, torch.device("cpu"), 0, None)
    before = {name: p.detach().clone() for name, p in trainer.generator.named_parameters()}
    losses = trainer.step(PairSequence(composites, real, None, options).batch([3], 3), features(1), features(1), share)
    assert ("gan" in losses) == ("discriminator" in losses) == (share > 0.4)
    assert any((p.detach() != before[name]).any() for name, p in trainer.generator.named_parameters())
    assert int(trainer.memory.filled) == 1


def test_a_broken_step_leaves_the_weights_alone() -> None:
    composites, real = clip()
    trainer = Trainer(TINY, QUICK, torch.device("cpu"), 0, None)
    before = [p.detach().clone() for p in trainer.generator.parameters()]
    batch = PairSequence(composites, real, None, QUICK).batch([3], 3)
    batch.target[0, 0, 0, 0] = float("nan")
    trainer.step(batch, features(1), features(1), 0.9)
    for old, new in zip(before, trainer.generator.parameters(), strict=True):
        torch.testing.assert_close(old, new.detach(), rtol=0, atol=0)


def test_attention_is_let_go_after_the_start() -> None:
    trainer = Trainer(TINY, replace(QUICK, attention_weight=1.0, attention_last=0.1), torch.device("cpu"), 0, None)
    assert trainer._attention_weight(0.0) == 1.0 and trainer._attention_weight(0.5) == pytest.approx(0.1)
    assert Trainer(TINY, QUICK, torch.device("cpu"), 0, None)._attention_weight(0.5) == QUICK.attention_weight


def test_blurred_mouths_count_against_weights() -> None:
    sharp = Quality(30.0, 0.9, 0.01, 0.02, 1.0, 1.0)
    assert judged(sharp) == sharp.error
    assert judged(replace(sharp, mouth_sharpness=1.2)) == sharp.error
    assert judged(replace(sharp, mouth_sharpness=float("nan"))) == sharp.error
    assert judged(replace(sharp, mouth_sharpness=4.0)) == pytest.approx(judged(replace(sharp, mouth_sharpness=0.25)))
    assert judged(replace(sharp, mouth_sharpness=0.25)) > sharp.error


def test_frames_are_picked_once_an_epoch() -> None:
    epoch = [t for step in range(5) for t in pick_frames(10, 2, step, seed=3)]
    assert sorted(epoch) == list(range(10))
    assert epoch == [t for step in range(5) for t in pick_frames(10, 2, step, seed=3)]
    assert ramp(0.2, 0.5, 0.8) == 0 and ramp(0.65, 0.5, 0.8) == pytest.approx(0.5) and ramp(1, 0.5, 0.8) == 1


def test_windows_and_pictures() -> None:
    assert window_indices(0, 3) == [0, 0, 0]
    assert window_indices(1, 3) == [0, 0, 1]
    assert window_indices(7, 3) == [5, 6, 7]
    composites, real = clip()
    np.testing.assert_array_equal(from_network(to_network(real[0][None])), real[0])
    batch = PairSequence(composites, real, None, QUICK).batch([5, 1], 3)
    assert batch.window.shape == (2, 9, 64, 64)
    np.testing.assert_array_equal(from_network(batch.window[0, :3]), composites[3])
    np.testing.assert_array_equal(from_network(batch.window[1, -3:]), composites[1])
    np.testing.assert_array_equal(from_network(batch.target[0]), real[5])


def test_augmentation_moves_input_and_target_together() -> None:
    _, real = clip()
    pairs = PairSequence(real, real, None, replace(QUICK, flip=True, shift=5, gain=0.1))
    random = np.random.default_rng(0)
    moved = 0
    for _ in range(8):
        batch = pairs.batch([6], 3, random)
        torch.testing.assert_close(batch.window[:, -3:], batch.target)
        moved += int((from_network(batch.target[0]) != real[6]).any())
    assert moved >= 6


def test_bad_pairs() -> None:
    composites, real = clip()
    cases = [
        ((composites[:-1], real, None), "as many"),
        ((composites[:5], real[:5], None), "at least"),
        (([f[:50] for f in composites], [f[:50] for f in real], None), "multiples of 32"),
        (([f.astype(np.float32) for f in composites], real, None), "uint8"),
        ((composites, real, np.zeros((3, 478, 2))), "landmarks"),
    ]
    for arguments, message in cases:
        with pytest.raises(UserInputError, match=message):
            PairSequence(*arguments, QUICK)


def test_pair_folder(tmp_path: Path) -> None:
    composites, real = clip(3)
    for part, frames in (("composites", composites), ("real", real)):
        (tmp_path / part).mkdir()
        for t, frame in enumerate(frames):
            cv2.imwrite(str(tmp_path / part / f"{t:06d}.png"), frame[..., ::-1])
    loaded, truth = PairFolder(tmp_path).load()
    np.testing.assert_array_equal(np.stack(loaded), np.stack(composites))
    np.testing.assert_array_equal(np.stack(truth), np.stack(real))
    (tmp_path / "real" / "000001.png").unlink()
    with pytest.raises(UserInputError, match=r"same \.png names in"):
        PairFolder(tmp_path)


def test_measure_known_values() -> None:
    _, real = clip(4)
    ones = np.ones((4, 64, 64), np.float32)
    same = measure(real, real, ones)
    assert same.ssim == pytest.approx(1, abs=1e-5)
    assert same.flicker == 1.0
    darker = measure([np.clip(f.astype(int) - 10, 0, 255).astype(np.uint8) for f in real], real, ones)
    assert darker.psnr == pytest.approx(20 * np.log10(255 / 10), abs=0.3)
    flashing = [np.clip(f.astype(int) + 20 * (t % 2), 0, 255).astype(np.uint8) for t, f in enumerate(real)]
    assert measure(flashing, real, ones).flicker > 1.5
    assert same.as_dict()["mouth_sharpness"] is None
