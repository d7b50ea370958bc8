"""Refiner: generator, discriminator, losses."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
import torch

from ml_backend.errors import UserInputError
from ml_backend.refine.config import RefinerConfig, yi2020
from ml_backend.refine.device import calm_threads
from ml_backend.refine.discriminator import PatchDiscriminator
from ml_backend.refine.generator import AdaIN, Generator, blur, count_parameters, displaced
from ml_backend.refine.losses import (
    LIPS,
    adversarial_loss,
    attention_loss,
    detail_loss,
    edge_loss,
    feature_weights,
    ssim_map,
    variation_loss,
    weighted_l1,
)

TINY = RefinerConfig(channels=4, disc_channels=4, style_hidden=8)


def test_published_sizes() -> None:
    with torch.device("meta"):
        generator, discriminator = Generator(yi2020()), PatchDiscriminator(yi2020())
    assert count_parameters(generator.style) == 204_502_272
    assert count_parameters(generator.trunk) == pytest.approx(54.6e6, rel=2e-3)
    assert count_parameters(discriminator) == pytest.approx(2.77e6, rel=2e-3)


def test_default_is_small() -> None:
    with torch.device("meta"):
        generator = Generator(RefinerConfig())
    assert count_parameters(generator) <= 6e6
    assert count_parameters(generator.style) <= 2e6


@pytest.mark.parametrize("size", [(64, 64), (96, 160)])
@pytest.mark.parametrize("warp", [0.0, 6.0])
def test_untrained_generator_passes_the_composite_through(size: tuple[int, int], warp: float) -> None:
    generator = Generator(replace(TINY, warp=warp))
    window = torch.rand(2, 9, *size) * 2 - 1
    identity = torch.nn.functional.normalize(torch.randn(2, 512), dim=1)
    refined, colour, attention = generator(window, identity)
    assert refined.shape == colour.shape == (2, 3, *size)
    assert attention.shape == (2, 1, *size)
    torch.testing.assert_close(refined, window[:, -3:], atol=1e-4, rtol=0)
    assert ((attention > 0) & (attention < 1)).all()


@pytest.mark.parametrize(("limit", "least"), [(2.0, 0.49), (0.0, 0.0)])
def test_attention_cannot_shut_the_colour_out(limit: float, least: float) -> None:
    """However far a bad step has moved the attention head, the colour is still half of the picture and learns."""
    generator = Generator(replace(TINY, attention_limit=limit, warp=0.0))
    torch.nn.init.constant_(generator.trunk.tidy.bias[3], 40.0)  # type: ignore[index, arg-type]
    refined, colour, attention = generator(torch.zeros(1, 9, 64, 64), torch.randn(1, 512))
    colour.retain_grad()
    refined.sum().backward()
    assert colour.grad is not None and float(colour.grad.min()) == pytest.approx(least, abs=0.02)
    assert float(attention.detach().max()) == pytest.approx(1 - least, abs=0.02)


def test_weights_from_before_the_limit_keep_their_attention() -> None:
    values = TINY.as_dict()
    assert RefinerConfig.from_dict(values).attention_limit == TINY.attention_limit > 0
    del values["attention_limit"]
    assert RefinerConfig.from_dict(values).attention_limit == 0


def test_a_colour_on_a_blurred_base_softens_the_composite() -> None:
    generator = Generator(replace(TINY, warp=0.0, colour_base="blurred", attention_bias=1.0))
    window = torch.rand(1, 9, 64, 64) * 2 - 1
    now = window[:, -3:]
    refined = generator(window, torch.randn(1, 512))[0]
    torch.testing.assert_close(refined, now + (1 - torch.sigmoid(torch.tensor(1.0))) * (blur(now) - now))


def test_displacement_moves_a_picture_by_whole_pixels() -> None:
    frame = torch.rand(1, 3, 16, 16)
    head = torch.zeros(1, 2, 16, 16)
    head[:, 0] = torch.atanh(torch.tensor(2 / 4.0))
    torch.testing.assert_close(displaced(frame, head, 4.0)[..., :13], frame[..., 2:15], atol=1e-4, rtol=0)


def test_batch_normalisation_refines_a_part_like_the_whole() -> None:
    torch.manual_seed(0)
    generator = Generator(replace(TINY, multipliers=(1, 2))).eval()
    torch.nn.init.normal_(generator.trunk.tidy.weight, std=0.1)
    window, identity = torch.rand(1, 9, 96, 96) * 2 - 1, torch.randn(1, 512)
    whole = generator(window, identity)[0][..., 40:56, 40:56]
    part = generator(window[..., 32:64, 32:64], identity)[0][..., 8:24, 8:24]
    assert (whole - part).abs().mean() < 0.1 * (whole - window[:, -3:, 40:56, 40:56]).abs().mean()


def test_published_generator_runs_small() -> None:
    config = replace(yi2020(), channels=2, style_hidden=8)
    refined, colour, attention = Generator(config)(torch.rand(1, 9, 256, 256), torch.randn(1, 512))
    assert refined.shape == (1, 3, 256, 256)
    assert float(colour.detach().abs().max()) <= 1
    assert 0 < float(attention.detach().min()) < float(attention.detach().max()) < 1


def test_identity_changes_a_trained_picture() -> None:
    generator = Generator(TINY)
    torch.nn.init.normal_(generator.trunk.tidy.weight, std=0.1)
    torch.nn.init.normal_(generator.style[-1].weight, std=1.0)
    window, people = torch.rand(1, 9, 64, 64), torch.nn.functional.normalize(torch.randn(2, 512), dim=1)
    first, second = (generator(window, person[None])[0] for person in people)
    assert (first - second).abs().mean() > 1e-3


def test_adain_sets_mean_and_spread() -> None:
    x = torch.randn(1, 2, 16, 16) * 5 + 3
    style = torch.tensor([[1.0, 0.0, 7.0, -2.0]])
    out = AdaIN(2, unit_scale=True)(x, style)
    torch.testing.assert_close(out.mean((2, 3)), torch.tensor([[7.0, -2.0]]), atol=1e-4, rtol=0)
    torch.testing.assert_close(out.std((2, 3), unbiased=False), torch.tensor([[2.0, 1.0]]), atol=1e-3, rtol=0)


def test_discriminator_sees_70_pixels() -> None:
    discriminator = PatchDiscriminator(replace(TINY, name="yi2020")).eval()
    assert discriminator(torch.zeros(1, 9, 256, 256), torch.zeros(1, 3, 256, 256)).shape == (1, 1, 30, 30)
    frame = torch.zeros(1, 3, 256, 256, requires_grad=True)
    discriminator(torch.zeros(1, 9, 256, 256), frame)[0, 0, 15, 15].backward()
    assert frame.grad is not None
    rows = torch.nonzero(frame.grad.abs().sum((0, 1, 3))).flatten()
    assert int(rows.max() - rows.min()) + 1 == 70


def test_bad_config() -> None:
    with pytest.raises(UserInputError, match="multiple of 32"):
        RefinerConfig(image=250)
    with pytest.raises(UserInputError, match="multiple of 256"):
        replace(yi2020(), image=320)
    with pytest.raises(UserInputError, match="unknown"):
        RefinerConfig.from_dict({"colours": 3})
    assert RefinerConfig.from_dict(yi2020().as_dict()) == yi2020()


@pytest.mark.parametrize(("load", "threads"), [(99.0, 1), (0.1, 2)])
def test_a_busy_machine_gets_one_thread(monkeypatch: pytest.MonkeyPatch, load: float, threads: int) -> None:
    before = torch.get_num_threads()
    monkeypatch.setattr("ml_backend.refine.device._load", lambda: load * (os.cpu_count() or 1))
    torch.set_num_threads(2)
    with calm_threads():
        assert torch.get_num_threads() == threads
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def test_losses_have_known_values() -> None:
    zero, one = torch.zeros(1, 3, 16, 16), torch.ones(1, 3, 16, 16)
    assert float(weighted_l1(zero, one)) == 1.0
    weight = torch.ones(1, 1, 16, 16)
    weight[..., :8, :] = 3
    half = one.clone()
    half[..., 8:, :] = 0
    assert float(weighted_l1(zero, half, weight)) == pytest.approx(0.75)
    assert float(adversarial_loss(torch.zeros(4), True)) == pytest.approx(np.log(2), rel=1e-5)
    attention = torch.full((1, 1, 4, 4), 0.5)
    assert float(attention_loss(attention)) == pytest.approx(0.5, rel=1e-4)
    attention[..., 2:] = 1.0
    assert float(variation_loss(attention)) == pytest.approx(4 * 0.25)
    assert float(edge_loss(zero, one)) == 0.0


def test_detail_is_compared_by_its_amount_not_its_place() -> None:
    random = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    soft = blur(random)
    assert float(detail_loss(random, random)) == 0
    moved = float(detail_loss(random.roll(3, dims=3), random))
    assert moved < 0.3 * float(detail_loss(soft, random))
    assert float(detail_loss(2 * random, random)) == pytest.approx(float(detail_loss(0 * random, random)), rel=0.02)
    weight = torch.ones(1, 1, 64, 64)
    weight[..., :32] = 100
    half = random.clone()
    half[..., 32:] = soft[..., 32:]
    assert float(detail_loss(half, random, weight)) < 0.1 * float(detail_loss(half, random))


def test_ssim_agrees_with_skimage() -> None:
    skimage = pytest.importorskip("skimage.metrics")
    random = np.random.default_rng(0)
    a = random.random((40, 40)).astype(np.float32)
    b = (a + 0.2 * random.random((40, 40))).astype(np.float32)
    ours = ssim_map(torch.from_numpy(a)[None, None], torch.from_numpy(b)[None, None], span=1.0).mean()
    theirs = skimage.structural_similarity(
        a, b, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert float(ours) == pytest.approx(theirs, abs=2e-3)


def test_feature_weights_peak_at_the_mouth() -> None:
    points = np.full((478, 2), 20.0)
    angle = np.linspace(0, 2 * np.pi, len(LIPS), endpoint=False)
    points[list(LIPS)] = np.stack([64 + 15 * np.cos(angle), 90 + 6 * np.sin(angle)], 1)
    weights = feature_weights(points, (128, 128), mouth=4, eyes=0)
    assert weights[90, 64] == pytest.approx(5, abs=0.05)
    assert weights[30, 64] == 1.0
    points[0] = np.nan
    assert (feature_weights(points, (128, 128), mouth=4, eyes=0) == 1).all()
