"""The pose network: its density is one, training lowers it and resumes to the byte, weights files are checked."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from ml_backend.audio.prosody import ACTIVE, LOUDNESS, PITCH, SIZE
from ml_backend.config import pose_weights
from ml_backend.errors import ArtefactError, Cancelled, UserInputError
from ml_backend.motion import shards
from ml_backend.motion.checkpoint import read_tensors, write_tensors
from ml_backend.motion.pose_checkpoint import SCHEMA, VERSION, PoseWeights, load_pose, save_pose
from ml_backend.motion.pose_data import SILENT, PoseWindows, general_manner, load_stretches, stretches_of
from ml_backend.motion.pose_manner import Manner, observe, personal
from ml_backend.motion.pose_match import matched, target_quantiles
from ml_backend.motion.pose_network import PoseConfig, build, mixture, negative_log_likelihood, unit_lower
from ml_backend.motion.pose_train import PoseSettings, train_pose
from tests.ml.motion_toys import shard, shard_folder

TINY = PoseConfig(name="tiny", channels=8, hidden=12, mixtures=2, dropout=0.0)
QUICK = PoseSettings(seconds=3.0, batch=4, every=5, warm_up=2)


def talk(frames: int, seed: int) -> np.ndarray:
    """(T, 10) prosody of phrases and pauses."""
    generator = np.random.default_rng([seed, 5])
    result = np.zeros((frames, SIZE), np.float32)
    beat = (np.arange(frames) + 30 * seed) % 100
    result[:, ACTIVE] = beat < 60
    result[:, LOUDNESS] = np.where(beat < 60, 0.3 + 0.5 * np.sin(np.arange(frames) / 2), -2.5)
    result[:, PITCH] = np.where(beat < 60, np.sin(np.arange(frames) / 9), 0)
    return result + 0.1 * generator.standard_normal(result.shape).astype(np.float32)


def general() -> Manner:
    return Manner(np.zeros(6), np.array([0.04, 0.05, 0.03, 0.006, 0.005, 0.006]), np.full(6, 0.25), np.eye(6))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = shard_folder(tmp_path_factory.mktemp("pose"))
    deaf = shard(5, 20, "train")
    (made / SILENT).mkdir()
    shards.save(replace(deaf, speech=np.zeros_like(deaf.speech)), made / SILENT / "deaf.npz")
    return made


def test_the_mixture_is_a_probability():
    torch.manual_seed(0)
    raw = torch.randn(1, 2 * 28)
    weight, mean, scale, lower = (part[0] for part in mixture(raw, 2))
    # By importance: draws of the mixture itself, against a wide Gaussian's density at the same points.
    count = 4000
    pick = torch.multinomial(weight.exp(), count, replacement=True)
    noise = torch.randn(count, 6)
    drawn = mean[pick] + torch.linalg.solve_triangular(
        unit_lower(lower)[pick], (scale[pick].exp() * noise)[..., None], upper=False)[..., 0]
    density = -negative_log_likelihood(raw.expand(count, -1), drawn, 2) - 3 * np.log(2 * np.pi)
    wide = torch.distributions.MultivariateNormal(drawn.mean(0), torch.cov(drawn.T) * 1.0)
    # E_p[q/p] = 1 for densities p and q with p wide enough.
    ratio = (wide.log_prob(drawn) - density).exp()
    assert float(ratio.median()) < 3
    assert float(ratio.mean()) == pytest.approx(1, abs=0.35)


def test_the_drawn_movement_is_that_of_the_mixture():
    from ml_backend.motion.pose_sample import _draw

    torch.manual_seed(1)
    raw = torch.randn(28)
    generator = np.random.default_rng(0)
    noise = generator.standard_normal((4000, 6)).astype(np.float32)
    drawn = _draw(np.repeat(raw.numpy()[None, None], 4000, 0), np.full(4000, 0.5), noise)
    _, mean, scale, lower = (part[0] for part in mixture(raw, 1))
    factor = torch.linalg.inv(unit_lower(lower)) * scale.exp()
    np.testing.assert_allclose(drawn.mean(0), mean.numpy(), atol=0.25)
    np.testing.assert_allclose(np.cov(drawn.T), (factor @ factor.T).numpy(), rtol=0.3, atol=0.35)


def test_stretches_end_at_cuts_and_lost_faces_and_know_their_sound(folder):
    one = shard(8, 1, "train")
    pose, confidence = one.pose.copy(), one.confidence.copy()
    pose[100:] += 0.5
    confidence[160:170] = 0
    found = stretches_of(replace(one, pose=pose, confidence=confidence))
    assert [len(stretch) for stretch in found] == pytest.approx([100, 60], abs=4)
    assert all(stretch.sound is not None and len(stretch.sound) == len(stretch) for stretch in found)
    everything = load_stretches(folder)
    assert sum(stretch.sound is None for stretch in everything) == 1
    assert {stretch.split for stretch in everything} == {"train", "validate"}


def test_windows_repeat_with_the_seed_and_are_normal(folder):
    stretches = [stretch for stretch in load_stretches(folder) if stretch.split == "train"]
    common = general_manner(stretches, 2)
    one, two = (PoseWindows(stretches, common, 2, 37, np.random.default_rng(3)).batch(16) for _ in range(2))
    for name in ("audio", "person", "position", "movement", "target", "mask"):
        torch.testing.assert_close(getattr(one, name), getattr(two, name))
    assert one.audio.shape == (16, 37, 2 * SIZE + 1)
    assert 0.5 < float(one.position.std()) < 1.5
    heard = one.audio[..., -1].amax(1)
    assert set(heard.tolist()) == {0.0, 1.0}
    assert not one.audio[heard == 0].any()


def test_training_lowers_the_likelihood_and_resumes_to_the_byte(folder, tmp_path):
    whole = train_pose(folder, tmp_path / "whole", config=TINY, settings=QUICK, steps=15)
    again = train_pose(folder, tmp_path / "again", config=TINY, settings=QUICK, steps=15)
    assert whole.weights.read_bytes() == again.weights.read_bytes()
    rows = (tmp_path / "whole" / "curve.csv").read_text().splitlines()
    assert len(rows) == 4
    assert float(rows[-1].split(",")[2]) < float(rows[1].split(",")[2])
    assert (tmp_path / "whole" / "curve.png").stat().st_size > 1000

    def stop(done: int, of: int) -> None:
        if done == 7:
            raise Cancelled

    with pytest.raises(Cancelled):
        train_pose(folder, tmp_path / "parts", config=TINY, settings=QUICK, steps=15, progress=stop)
    resumed = train_pose(folder, tmp_path / "parts", config=TINY, settings=QUICK, steps=15, resume=True)
    assert resumed.weights.read_bytes() == whole.weights.read_bytes()
    with pytest.raises(UserInputError, match="other settings"):
        train_pose(folder, tmp_path / "parts", config=TINY, settings=QUICK, steps=20, resume=True)


def test_a_folder_without_validation_is_refused(tmp_path):
    shards.save(shard(5, 1, "train"), tmp_path / "a.npz")
    with pytest.raises(UserInputError, match="both splits"):
        train_pose(tmp_path, tmp_path / "out", config=TINY, settings=QUICK, steps=2)


def test_weights_files_are_checked(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "pose.safetensors"
    save_pose(PoseWeights(build(TINY).eval(), general(), {"seed": 1}), path)
    back = load_pose(path)
    assert back.network.config == TINY
    assert back.identifier
    np.testing.assert_allclose(back.general.std, general().std)
    tensors, metadata = read_tensors(path, SCHEMA, VERSION)

    def spoiled(name: str, **changes: str):
        made = tmp_path / f"{name}.safetensors"
        write_tensors(tensors, {**metadata, **changes}, made)
        return made

    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ArtefactError, match="can't be read as safetensors"):
        load_pose(cut)
    with pytest.raises(ArtefactError, match="does not exist"):
        load_pose(tmp_path / "missing.safetensors")
    with pytest.raises(ArtefactError, match=r"needed is parley\.pose"):
        load_pose(spoiled("kind", schema="parley.motion"))
    with pytest.raises(ArtefactError, match="does not fit its own configuration"):
        load_pose(spoiled("size", config=replace(TINY, hidden=20).to_json()))
    with pytest.raises(ArtefactError, match="can't be built"):
        load_pose(spoiled("features", config=replace(TINY, audio=3).to_json()))
    with pytest.raises(ArtefactError, match="configuration can't be read"):
        load_pose(spoiled("none", config="[]"))
    with pytest.raises(ArtefactError, match="not those of six axes"):
        load_pose(spoiled("manner", manner=json.dumps({**json.loads(general().to_json()), "std": [1, 2]})))


def test_a_short_track_is_drawn_towards_people_in_general():
    generator = np.random.default_rng(0)
    path = np.cumsum(generator.standard_normal((1000, 6)), 0) * 0.001
    seen = observe(path, 2)
    long, short = personal(path, general(), 2), personal(path[:25], general(), 2)
    assert np.abs(np.log(long.std / seen.std)).max() < 0.15
    single = personal(path[:1], general(), 2)
    np.testing.assert_array_equal(single.std, general().std)
    closer = np.abs(np.log(short.std / general().std)) <= np.abs(np.log(observe(path[:25], 2).std / general().std))
    assert closer.all()
    assert np.abs(long.compared(general())).max() <= 2


def test_matching_gives_spread_speed_and_extremes_without_new_jerks():
    generator = np.random.default_rng(1)
    track = np.repeat(np.sin(np.arange(600) / 15)[:, None], 6, 1) * 0.05 + generator.standard_normal((600, 6)) * 1e-4
    manner = observe(track, 2)
    pose = np.cumsum(generator.standard_normal((1500, 6)), 0)
    pose = (pose - pose.mean(0)) / pose.std(0) * 0.02
    found = matched(pose, track, manner)
    np.testing.assert_allclose(found.std(0), track.std(0), rtol=0.3)
    assert np.corrcoef(found.T).min() > 0.5
    quantiles = target_quantiles(track[:, 0], 0.04)
    assert quantiles[0] < 0 < quantiles[-1]
    assert (np.diff(quantiles) >= 0).all()


def test_the_shipped_weights_load_and_are_small():
    weights = load_pose(pose_weights())
    assert pose_weights().stat().st_size < 1_000_000
    assert weights.provenance["validation"] < weights.provenance["without_sound"] < 0
    assert weights.provenance["validation"] < weights.provenance["wrong_sound"]
