"""Figures of pictures against known values and against scikit-image; LPIPS by its definition."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ml_backend.errors import UserInputError
from ml_backend.metrics import flicker, image, perceptual
from ml_backend.metrics.landmarks import LIPS

torch.set_num_threads(1)


def texture(seed: int, side: int = 128) -> np.ndarray:
    noise = np.random.default_rng(seed).uniform(0, 255, (side // 4, side // 4, 3)).astype(np.float32)
    return np.clip(cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC), 0, 255).astype(np.uint8)


def test_pair_figures_agree_with_scikit_image() -> None:
    skimage = pytest.importorskip("skimage.metrics")
    real = texture(1)
    made = np.clip(real.astype(int) + np.random.default_rng(2).integers(-25, 26, real.shape), 0, 255).astype(np.uint8)
    figures = image.pair_figures(made, real)
    assert figures["psnr"] == pytest.approx(skimage.peak_signal_noise_ratio(real, made), abs=1e-3)
    theirs = skimage.structural_similarity(real, made, channel_axis=2, gaussian_weights=True, sigma=1.5,
                                           use_sample_covariance=False)
    assert figures["ssim"] == pytest.approx(theirs, abs=2e-3)
    same = image.pair_figures(real, real)
    assert (same["psnr"], same["ssim"], same["ms_ssim"]) == pytest.approx((100, 1, 1), abs=1e-5)


def test_ms_ssim_forgives_fine_noise_more_than_a_wrong_picture() -> None:
    real = texture(3, 256)
    noisy = np.clip(real.astype(int) + np.random.default_rng(4).integers(-40, 41, real.shape), 0, 255).astype(np.uint8)
    fine, wrong = image.pair_figures(noisy, real), image.pair_figures(texture(5, 256), real)
    assert fine["ms_ssim"] > fine["ssim"] + 0.05
    assert wrong["ms_ssim"] < 0.5 < fine["ms_ssim"]
    small = texture(1, 16)
    assert image.pair_figures(small, small)["ms_ssim"] == pytest.approx(1)


def test_ms_ssim_by_its_definition() -> None:
    """Contrast and structure on every scale, luminance on the last alone, written out with OpenCV's blur."""
    a, b = (texture(seed, 192).astype(np.float64) / 255 for seed in (10, 11))
    b = 0.7 * a + 0.3 * b

    def blurred(picture: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(picture, (11, 11), 1.5)[5:-5, 5:-5]

    x, y, parts = a, b, []
    for _ in range(5):
        mx, my = blurred(x), blurred(y)
        vx, vy, cov = blurred(x * x) - mx * mx, blurred(y * y) - my * my, blurred(x * y) - mx * my
        structure = (2 * cov + 0.03**2) / (vx + vy + 0.03**2)
        parts.append((structure.mean(), (structure * (2 * mx * my + 1e-4) / (mx * mx + my * my + 1e-4)).mean()))
        x, y = (p.reshape(p.shape[0] // 2, 2, p.shape[1] // 2, 2, 3).mean((1, 3)) for p in (x, y))
    wanted = np.prod([parts[k][k == 4] ** image.MS_SSIM_WEIGHTS[k] for k in range(5)])
    found = image.ms_ssim(*(torch.from_numpy(p).permute(2, 0, 1)[None] for p in (a, b)))
    assert float(found) == pytest.approx(wanted, abs=2e-3)


def test_flicker_is_what_motion_does_not_explain() -> None:
    wide = texture(6, 192)
    moving = [np.ascontiguousarray(wide[20:148, 10 + 2 * t:138 + 2 * t]) for t in range(6)]
    flashing = [np.clip(f.astype(int) + 12 * (t % 2), 0, 255).astype(np.uint8) for t, f in enumerate(moving)]
    plain = float(np.mean([np.abs(a.astype(int) - b).mean() for a, b in pairwise(moving)]))
    assert flicker.warped_change(moving) < 0.4 * plain
    assert flicker.flicker_ratio(flashing, moving) > 1.5
    assert flicker.flicker_ratio(moving, moving) == 1
    still = [moving[0]] * 3
    assert flicker.flicker_ratio(still, still) == 1


def test_sharpness_of_the_mouth_alone() -> None:
    real = texture(7)
    points = np.zeros((1, 478, 2))
    points[0, list(LIPS)] = np.random.default_rng(8).uniform((40, 60), (90, 90), (len(LIPS), 2))
    blurred = cv2.GaussianBlur(real, (0, 0), 2)
    elsewhere = real.copy()
    elsewhere[:40] = blurred[:40]
    assert image.sharpness_ratio([blurred], points, [real], points) < 0.5
    assert image.sharpness_ratio([elsewhere], points, [real], points) == 1
    assert np.isnan(image.sharpness_ratio([real], np.full((1, 478, 2), np.nan), [real], points))


def test_likeness_and_saturation() -> None:
    one, other = np.array([[1.0, 0], [1, 0]]), np.array([[0.0, 2]])
    assert image.likeness(one, one) == pytest.approx(1)
    assert image.likeness(one, other) == pytest.approx(0)
    assert image.saturation(np.array([0, 0.04, 0.5, 0.96])) == 0.75


def lpips_folder(folder: Path) -> Path:
    torch.manual_seed(0)
    model = perceptual.Lpips()
    trunk = {f"features.{number}.{kind}": value.clone() for number, layer in model.features.items()
             for kind, value in layer.state_dict().items()}
    heads = {f"lin{i}.model.1.weight": torch.rand_like(head) for i, head in enumerate(model.heads)}
    folder.mkdir()
    save_file({**trunk, "classifier.1.weight": torch.zeros(2)}, str(folder / perceptual.TRUNK))
    save_file(heads, str(folder / perceptual.HEADS))
    return folder


def test_lpips_by_its_definition(tmp_path: Path) -> None:
    model = perceptual.load_lpips(lpips_folder(tmp_path / "w"))
    a, b = (image.to_tensor(texture(seed, 64)) for seed in (1, 2))
    assert float(model(a, a)[0]) == 0
    # The first layer by hand.
    shift, scale = (torch.tensor(v).view(1, 3, 1, 1) for v in ((-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)))
    units = []
    for x in (a, b):
        h = torch.relu(model.features["0"]((x * 2 - 1 - shift) / scale))
        units.append(h / h.norm(dim=1, keepdim=True))
    first = (model.heads[0] * (units[0] - units[1]) ** 2).sum(1).mean().detach()
    for head in list(model.heads)[1:]:
        head.data.zero_()
    assert float(model(a, b)[0]) == pytest.approx(float(first), rel=1e-3)


def test_lpips_without_or_with_wrong_weights(tmp_path: Path) -> None:
    with pytest.raises(UserInputError, match=r"alexnet.safetensors does not exist; LPIPS needs"):
        perceptual.load_lpips(tmp_path)
    folder = lpips_folder(tmp_path / "w")
    save_file({"a": torch.zeros(1)}, str(folder / perceptual.HEADS))
    with pytest.raises(UserInputError, match="does not hold torchvision's AlexNet"):
        perceptual.load_lpips(folder)
    (folder / perceptual.HEADS).write_bytes(b"no weights")
    with pytest.raises(UserInputError, match="can't be read as weights"):
        perceptual.load_lpips(folder)
