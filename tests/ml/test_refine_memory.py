"""Refiner: memory rules, identity and spatial features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ml_backend.config import head_model
from ml_backend.errors import StageError, UserInputError
from ml_backend.face_model.model import load
from ml_backend.recognise.faces import five_points_goal
from ml_backend.recognise.heads import HeadPainter
from ml_backend.refine.config import RefinerConfig
from ml_backend.refine.encoder import EYE_CORNERS, MOUTH_CORNERS, NOSE_TIP
from ml_backend.refine.identity import FixedTrunk, NoIdentity, identity_encoder, resnet_weights, spatial_trunk
from ml_backend.refine.memory import Memory, anchors, interpolate_anchors
from ml_backend.refine.resnet import ResNet18, load_resnet18
from ml_backend.refine.weights import memory_state, restore_memory

KNOWN = [0.08312, 0.00386, 0.04541]
"""What the fixed filters say to a ramp of grey."""
CONFIG = RefinerConfig(memory_slots=4, memory_top_k=3, identity_threshold=0.9)


def unit(*numbers: int) -> torch.Tensor:
    """Rows that are unit vectors along the axes `numbers`."""
    return torch.eye(512)[list(numbers)]


def test_empty_memory_is_never_read() -> None:
    memory = Memory(CONFIG)
    assert float(memory.triplet_loss(unit(0), unit(1))) == 0
    with pytest.raises(StageError, match="no entries"):
        memory.read(unit(0))


def test_same_identity_moves_its_key() -> None:
    memory = Memory(CONFIG)
    memory.write(unit(0), unit(10))
    near = torch.nn.functional.normalize(unit(0) + 0.5 * unit(1), dim=1)
    memory.write(near, unit(10))
    assert int(memory.filled) == 1
    torch.testing.assert_close(memory.keys[0], torch.nn.functional.normalize(unit(0)[0] + near[0], dim=0))
    torch.testing.assert_close(memory.values[0], unit(10)[0])
    assert float(memory.ages[0]) == 1


def test_other_identity_takes_a_new_slot_then_the_oldest() -> None:
    memory = Memory(CONFIG)
    for person in range(4):
        memory.write(unit(person), unit(10 + person))
    assert int(memory.filled) == 4
    assert memory.ages.tolist() == [4, 3, 2, 1]
    memory.ages[2] = 50
    memory.write(unit(7), unit(20), torch.Generator().manual_seed(0))
    assert int(memory.filled) == 4
    torch.testing.assert_close(memory.keys[2], unit(7)[0])
    torch.testing.assert_close(memory.read(unit(7)), unit(20))
    assert memory.ages.tolist() == [5, 4, 1, 2]


def test_read_nearest_and_mean_of_several() -> None:
    memory = Memory(CONFIG)
    memory.write(unit(0, 1), unit(10, 11))
    torch.testing.assert_close(memory.read(unit(1)), unit(11))
    between = torch.nn.functional.normalize(unit(0) + unit(1), dim=1)
    mixed = memory.read(between, top_k=2)
    torch.testing.assert_close(mixed, torch.nn.functional.normalize(unit(10) + unit(11), dim=1))


def test_triplet_loss_values() -> None:
    memory = Memory(CONFIG)
    memory.write(unit(0, 1), unit(10, 11))
    query = torch.nn.functional.normalize(unit(0) * 0.6 + unit(1) * 0.8, dim=1)
    assert float(memory.triplet_loss(query, unit(10))) == pytest.approx(0.8 - 0.6 + 0.3, abs=1e-5)
    assert float(memory.triplet_loss(query, unit(11))) == pytest.approx(0.6 - 0.8 + 0.3, abs=1e-5)
    assert float(memory.triplet_loss(query, unit(99))) == 0


def test_triplet_steps_pull_the_query_over() -> None:
    memory = Memory(CONFIG)
    memory.write(unit(0, 1), unit(10, 11))
    spatial = unit(0) * 0.6 + unit(1) * 0.8
    optimiser = torch.optim.Adam(memory.query_layer.parameters(), 1e-2)
    for _ in range(20):
        optimiser.zero_grad()
        memory.triplet_loss(memory.query(spatial), unit(10)).backward()
        optimiser.step()
    torch.testing.assert_close(memory.read(memory.query(spatial)), unit(10))


def test_memory_state_round_trip() -> None:
    memory, other = Memory(CONFIG), Memory(CONFIG)
    memory.write(unit(0, 1), unit(10, 11))
    state = memory_state(memory)
    assert len(state["keys"]) == 2
    restore_memory(other, state)
    for name, tensor in memory.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], tensor)


def test_anchors_and_interpolation() -> None:
    assert anchors(60).tolist() == [0, 25, 50, 59]
    assert anchors(1).tolist() == [0]
    smooth = interpolate_anchors(unit(0, 1), np.array([0, 10]), 11)
    assert smooth.shape == (11, 512)
    torch.testing.assert_close(smooth[[0, 10]], unit(0, 1))
    torch.testing.assert_close(smooth[5], torch.nn.functional.normalize(unit(0) + unit(1), dim=1)[0])
    steps = (smooth[1:] - smooth[:-1]).norm(dim=1)
    assert float(steps.max()) < 0.25
    assert interpolate_anchors(unit(3), np.array([0]), 1).shape == (1, 512)


def painted(seed: int, count: int) -> list[np.ndarray]:
    """Aligned pictures of one random person of the built-in head."""
    painter = HeadPainter(load(head_model()))
    look, random = painter.person(seed), np.random.default_rng(seed)
    return [painter.draw(look, random) for _ in range(count)]


def mesh(points: np.ndarray) -> np.ndarray:
    """MediaPipe's points (478, 2) of which the five that matter are `points`."""
    out = np.zeros((478, 2), np.float32)
    for indices, point in zip((*EYE_CORNERS, (NOSE_TIP,), *((i,) for i in MOUTH_CORNERS)), points, strict=True):
        out[list(indices)] = point
    return out


def test_embedded_features_tell_people_apart() -> None:
    encoder = identity_encoder("embedded")
    people = [painted(seed, 4) for seed in (90001, 90002, 90003)]
    features = [encoder.encode(pictures, np.stack([mesh(five_points_goal())] * 4)) for pictures in people]
    np.testing.assert_allclose(np.linalg.norm(np.concatenate(features), axis=1), 1, atol=1e-4)
    same = np.mean([f @ f.T for f in features])
    other = np.mean([features[a] @ features[b].T for a, b in ((0, 1), (0, 2), (1, 2))])
    assert same > other + 0.2


def test_embedded_features_do_not_depend_on_the_place() -> None:
    """A face somewhere in a large frame is the same face, and frames without landmarks get a feature as well."""
    encoder = identity_encoder("embedded")
    face, goal = painted(90001, 1)[0], five_points_goal()
    frame = np.full((400, 500, 3), 90, np.uint8)
    frame[200:344, 300:444] = face
    away, there = (encoder.encode([picture], mesh(points)[None])[0]
                   for picture, points in ((frame, goal + np.array([300, 200])), (face, goal)))
    assert away @ there > 0.99
    landmarks = np.stack([mesh(goal), np.full((478, 2), np.nan)])
    both = encoder.encode([face, face], landmarks)
    np.testing.assert_allclose(both[0], there, atol=1e-4)
    assert np.linalg.norm(both[1]) == pytest.approx(1, abs=1e-4)
    assert encoder.encode([face], None).shape == (1, 512)


def test_fixed_filters_stay_as_they_were() -> None:
    """Refiners that were trained with them need the same numbers for ever."""
    first, second = FixedTrunk(), FixedTrunk()
    torch.testing.assert_close(first.project, second.project, rtol=0, atol=0)
    ramp = torch.linspace(0, 1, 3 * 64 * 64).reshape(1, 3, 64, 64)
    np.testing.assert_allclose(first(ramp)[0, :3].numpy(), KNOWN, atol=1e-4)
    name, trunk = spatial_trunk(name="embedded-1")
    assert name == "embedded-1" and isinstance(trunk, FixedTrunk)


def test_which_trunk_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PARLEY_RESNET18", raising=False)
    assert resnet_weights() is None
    assert spatial_trunk()[0] == "embedded-2"
    with pytest.raises(UserInputError, match="PARLEY_RESNET18 name torchvision's"):
        spatial_trunk(name="resnet18")
    save_file(ResNet18().state_dict(), tmp_path / "net.safetensors")
    monkeypatch.setenv("PARLEY_RESNET18", str(tmp_path / "net.safetensors"))
    assert spatial_trunk()[0] == "resnet18"
    assert spatial_trunk(name="resnet18")[0] == "resnet18"
    assert spatial_trunk(name="embedded-2")[0] == "embedded-2", "a refiner keeps what it was trained with"
    monkeypatch.setenv("PARLEY_RESNET18", str(tmp_path / "absent.safetensors"))
    with pytest.raises(UserInputError, match="can't be read"):
        spatial_trunk()


def test_no_identity_is_the_same_for_all() -> None:
    features = NoIdentity().encode([np.zeros((8, 8, 3), np.uint8)] * 2)
    assert features.shape == (2, 512) and (features[0] == features[1]).all() and np.linalg.norm(features[0]) == 1


def test_resnet18_reads_torchvision_names(tmp_path: Path) -> None:
    model = ResNet18()
    state = model.state_dict()
    assert {"conv1.weight", "bn1.running_mean", "layer2.0.downsample.1.bias", "layer4.1.conv2.weight"} <= set(state)
    assert sum(p.numel() for p in model.parameters()) == 11_176_512
    save_file(
        {**state, "fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}, tmp_path / "net.safetensors"
    )
    name, trunk = spatial_trunk(tmp_path / "net.safetensors")
    picture = torch.rand(1, 3, 64, 64)
    assert name == "resnet18"
    torch.testing.assert_close(trunk(picture), model.eval()(picture))
    state.pop("layer3.0.conv1.weight")
    save_file(state, tmp_path / "part.safetensors")
    with pytest.raises(UserInputError, match=r"layer3\.0\.conv1\.weight"):
        load_resnet18(tmp_path / "part.safetensors")
    with pytest.raises(UserInputError, match="can't be read"):
        load_resnet18(tmp_path / "absent.safetensors")
