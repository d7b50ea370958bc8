"""Motion networks: published shapes and size, alignment of the default encoder, losses, files."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ml_backend.audio.features import plain_steps, rich_steps, step_count
from ml_backend.errors import ArtefactError
from ml_backend.metrics.landmarks import lip_operator
from ml_backend.motion import checkpoint, losses
from ml_backend.motion.network import CONFIGS, DEFAULT, STREAMING, YI2020, MotionConfig, build, parameter_count
from tests.ml.motion_toys import NAMES, face, statistics, tiny


def test_the_published_network_has_the_published_size_and_shapes():
    network = build(YI2020).eval()
    assert round(parameter_count(network) / 1e6, 1) == 29.4
    with torch.inference_mode():
        steps = torch.from_numpy(plain_steps(np.random.default_rng(0).standard_normal(16000).astype(np.float32)))
        assert network(steps[None]).shape == (1, 25, 58)
        assert network.members[0].encoder(steps[None]).shape == (1, 25, 256)
    assert network.members[0].recurrent.num_layers == 3
    assert not network.members[0].recurrent.bidirectional


def test_the_default_network_is_small_and_gives_one_row_per_frame():
    assert parameter_count(build(replace(DEFAULT, members=3))) <= 3_000_000
    network = build(replace(DEFAULT, members=2)).eval()
    for seconds in (0.3, 1.0, 2.52):
        steps = rich_steps(np.random.default_rng(0).standard_normal(int(16000 * seconds)).astype(np.float32))
        with torch.inference_mode():
            assert network(torch.from_numpy(steps)[None]).shape == (1, round(seconds * 25), 58)


def test_the_encoder_sees_the_28_steps_of_its_frame_and_nothing_else():
    encoder = tiny().members[0].encoder.eval()
    steps = torch.zeros(1, 4 * 10 + 24, 26)
    plain = encoder(steps)
    steps[0, 4 * 5] = 1
    changed = (encoder(steps) - plain).abs().sum(-1)[0] > 1e-7
    assert changed.nonzero().flatten().tolist() == [0, 1, 2, 3, 4, 5]


def test_eq_2_by_hand():
    predicted, target = torch.zeros(1, 3, 8), torch.zeros(1, 3, 8)
    predicted[0, 1, 0] = 3.0
    predicted[0, 2, 2] = 2.0
    expected = 9 / 6 + 0.2 * 4 / 18 + 0.01 * 4
    assert float(losses.published_loss(predicted, target)) == pytest.approx(expected)


def test_the_lip_loss_ignores_masked_frames_and_falls_with_the_error():
    operator = losses.scaled_operator(torch.eye(4)[:, [0, 1, 2, 0, 1]], torch.full((4,), 0.1))
    loss = losses.LipLoss(operator, torch.ones(4))
    generator = torch.Generator().manual_seed(0)
    target, mask = torch.randn(2, 20, 10, generator=generator), torch.ones(2, 20)
    mask[:, 15:] = 0
    other = target.clone()
    other[:, 15:] += 100
    assert float(loss(other, target, mask)) == pytest.approx(float(loss(target, target, mask)), abs=1e-5)
    assert float(loss(target * 0.8, target, mask)) < float(loss(target * 0.2, target, mask))


def test_correlation_of_the_loss_is_pearsons():
    generator = torch.Generator().manual_seed(1)
    a, b = torch.randn(1, 200, 1, generator=generator) * 10, torch.randn(1, 200, 1, generator=generator) * 10
    expected = np.corrcoef((a + b)[0, :, 0], b[0, :, 0])[0, 1]
    assert float(losses.correlation(a + b, b, torch.ones(1, 200))) == pytest.approx(expected, abs=1e-3)


def test_weights_survive_the_file(tmp_path):
    network = tiny().eval()
    gain = np.linspace(1, 2, len(NAMES)).astype(np.float32)
    path = tmp_path / "motion.safetensors"
    weights = checkpoint.MotionWeights(network, statistics(), gain, lip_operator(face()), {"seed": 3})
    checkpoint.save_weights(weights, path, half=False)
    loaded = checkpoint.load_weights(path)
    steps = torch.randn(1, 64, 26)
    with torch.inference_mode():
        torch.testing.assert_close(loaded.network(steps), network(steps))
    assert loaded.provenance == {"seed": 3}
    assert len(loaded.identifier) == 16
    np.testing.assert_allclose(loaded.gain, gain, atol=1e-4)
    np.testing.assert_array_equal(loaded.operator, lip_operator(face()))
    np.testing.assert_allclose(loaded.statistics.pose_spectrum, statistics().pose_spectrum, atol=1e-5)


def test_damaged_or_foreign_weights_are_refused(tmp_path):
    path = tmp_path / "motion.safetensors"
    with pytest.raises(ArtefactError, match="does not exist"):
        checkpoint.load_weights(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ArtefactError, match="can't be read"):
        checkpoint.load_weights(path)
    checkpoint.write_tensors({"a": torch.zeros(1)}, {"schema": "other", "version": "1"}, path)
    with pytest.raises(ArtefactError, match=r"needed is parley\.motion"):
        checkpoint.load_weights(path)


def test_configurations_travel_as_json_and_impossible_ones_are_refused():
    for config in CONFIGS.values():
        assert MotionConfig.from_json(config.to_json()) == config
    with pytest.raises(ArtefactError):
        MotionConfig.from_json("{")
    with pytest.raises(ArtefactError, match="unknown"):
        build(replace(DEFAULT, encoder="magic"))
    with pytest.raises(ArtefactError, match="12 features"):
        build(replace(YI2020, features=26))


def test_the_streaming_configuration_hears_120_ms_ahead_and_no_more() -> None:
    torch.manual_seed(0)
    network = build(STREAMING).eval()
    steps = torch.randn(1, step_count(30), STREAMING.features)
    changed = steps.clone()
    changed[:, 4 * 10 + 28:] += 1
    with torch.inference_mode():
        before, after = network(steps), network(changed)
    assert torch.equal(before[:, :11], after[:, :11])
    assert not torch.allclose(before[:, 11:], after[:, 11:])
    assert parameter_count(network) < 8e6
