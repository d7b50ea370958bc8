"""The solver, and heads that share no name with ours: turned, scaled, resampled copies, and ICT's where it is held."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from addon.core import face_model, mapping
from addon.core.channels import ARKIT
from addon.core.errors import UserInputError
from addon.core.mapping_align import Shapes, align
from addon.core.mapping_geometry import Solution, head_shapes, solve
from addon.core.mapping_pose import PoseSettings, character_axes, head_motion
from addon.core.mapping_solve import Terms, box_least_squares

ROOT = Path(__file__).parents[2]
ICT = Path(os.environ.get("PARLEY_SHARED", ROOT.parent / "shared")) / "data" / "face_models" / "ict_facekit.npz"


def blender(points: np.ndarray) -> np.ndarray:
    return np.stack([points[..., 0], points[..., 2], -points[..., 1]], -1).astype(np.float64)


@pytest.fixture(scope="module")
def ours() -> Shapes:
    model = face_model.load(ROOT / "blender_assets" / "head" / "parley_head.npz")
    return head_shapes(blender(model.mean_shape), blender(model.expression_basis), model.names)


def test_the_solver_finds_the_truth_within_the_box() -> None:
    rng = np.random.default_rng(0)
    basis = rng.normal(size=(8, 40))
    truth = np.clip(rng.uniform(-0.5, 1.5, (30, 8)), 0, 1)
    got = box_least_squares(basis @ basis.T, truth @ basis @ basis.T, Terms(l2=0))
    assert np.abs(got - truth).max() < 1e-4
    outside = box_least_squares(basis @ basis.T, (3 * truth - 1) @ basis @ basis.T, Terms())
    assert outside.min() >= 0 and outside.max() <= 1


def test_each_term_does_what_it_says() -> None:
    rng = np.random.default_rng(1)
    gram = np.array([[1, 0.95, 0], [0.95, 1, 0], [0, 0, 1.0]])
    cross = np.tile([[0.5, 0.48, 0.3]], (20, 1)) + rng.normal(0, 0.05, (20, 3))
    plain = box_least_squares(gram, cross, Terms())
    smooth = box_least_squares(gram, cross, Terms(temporal=5.0))
    sparse = box_least_squares(gram, cross, Terms(l1=0.4))
    assert np.abs(np.diff(smooth, axis=0)).mean() < 0.2 * np.abs(np.diff(plain, axis=0)).mean()
    assert (sparse > 1e-6).sum() < (plain > 1e-6).sum()
    pair = Terms(mirror=50.0, rows=np.array([1, 0]), columns=np.array([1, 0, 2]))
    even = box_least_squares(np.eye(3), np.array([[0.8, 0, 0.1], [0, 0.4, 0.1]]), pair)
    assert abs(even[0, 0] - even[1, 1]) < 0.02
    pulled = box_least_squares(np.eye(2), np.zeros((1, 2)), Terms(pull=np.ones((1, 2)), towards=np.array([[1.0, 0]])))
    assert np.allclose(pulled, [[0.5, 0]], atol=1e-3)


def turned(x: float, y: float, z: float) -> np.ndarray:
    (a, b, c), (d, e, f) = np.cos((x, y, z)), np.sin((x, y, z))
    return np.array([[c, -f, 0], [f, c, 0], [0, 0, 1]]) @ np.array([[b, 0, e], [0, 1, 0], [-e, 0, b]]) @ np.array(
        [[1, 0, 0], [0, a, -d], [0, d, a]])


def matrix(found: Solution, keys: list[str]) -> np.ndarray:
    """(52, K)."""
    weights = np.zeros((len(ARKIT), len(keys)))
    for pair in found.pairs:
        for shape, weight in pair.sources.items():
            weights[ARKIT.index(shape), keys.index(pair.target)] = weight
    return weights


@pytest.mark.parametrize(("turn", "scale", "step"), [((0.2, -0.1, 2.9), 17.0, 3), ((-np.pi / 2, 0, 0), 100.0, 4)],
                         ids=["turned", "y-up centimetres"])
def test_nonsense_names_are_solved_to_two_hundredths(ours: Shapes, turn: tuple[float, float, float], scale: float,
                                                     step: int) -> None:
    rng, rotation = np.random.default_rng(3), turned(*turn)
    order = rng.permutation(len(ARKIT))
    points = scale * ours.points[::step] @ rotation.T + (5, -3, 9)
    target = Shapes(points, scale * ours.moves[order][:, ::step] @ rotation.T, [f"Key {i}" for i in range(52)])
    found = solve(target, [("m", name) for name in target.names], ours)
    truth = np.zeros((52, 52))
    truth[order, np.arange(52)] = 1
    got = matrix(found, target.names)
    act = rng.beta(0.6, 2, (200, 52))
    assert np.abs(np.clip(act @ got, 0, 1) - act @ truth).mean() <= 0.02
    assert (got.argmax(1) == order.argsort()).mean() > 0.97 and found.mean < 0.2


def test_split_keys_are_used_together(ours: Shapes) -> None:
    """A rig whose jaw takes two keys, and whose smiles are one: both halves are used, one smile for both sides."""
    at = {name: index for index, name in enumerate(ours.names)}
    jaw, smiles = ours.moves[at["jawOpen"]], ours.moves[[at["mouthSmileLeft"], at["mouthSmileRight"]]].sum(0)
    front = (ours.points[:, 1] < np.median(ours.points[:, 1]))[:, None]
    others = [ours.moves[at[name]] for name in ("eyeBlinkLeft", "browInnerUp", "mouthPucker")]
    target = Shapes(ours.points, np.stack([jaw * front, jaw * ~front, smiles, *others]), list("abcdef"))
    found = {pair.target: pair for pair in solve(target, [("m", name) for name in target.names], ours).pairs}
    assert found["a"].sources["jawOpen"] > 0.9 and found["b"].sources["jawOpen"] > 0.9
    assert {"mouthSmileLeft", "mouthSmileRight"} <= set(found["c"].sources)
    assert found["d"].sources["eyeBlinkLeft"] > 0.95


def test_alignment_finds_place_size_and_turn(ours: Shapes) -> None:
    rotation = turned(0.1, 0.3, -2.0)
    target = Shapes(0.5 * ours.points[1::2] @ rotation.T + 7, 0.5 * ours.moves[:, 1::2] @ rotation.T, ours.names)
    found = align(target, ours)
    assert found.scale == pytest.approx(2, rel=0.01) and np.allclose(found.rotation, rotation.T, atol=0.02)


def test_nothing_that_moves_is_said() -> None:
    still = Shapes(np.zeros((4, 3)), np.zeros((1, 4, 3)), ["a"])
    with pytest.raises(UserInputError, match="nothing to solve for"):
        solve(still, [("m", "a")], still)
    with pytest.raises(UserInputError, match="none of ARKit's shapes"):
        head_shapes(np.zeros((4, 3)), np.zeros((1, 4, 3)), ["a"])


@pytest.mark.skipif(not ICT.is_file(), reason="ICT's face model is not here")
def test_icts_head_by_its_names_and_by_its_geometry(ours: Shapes) -> None:
    with np.load(ICT) as data:
        points, moves = data["V"].astype(np.float64), data["EX"].astype(np.float64)
        names = [str(name) for name in data["exn"]]
    pairs = mapping.auto_map({"ICT": names})
    act = np.random.default_rng(4).beta(0.6, 2, (100, 52))
    done = mapping.evaluate(pairs, act, list(ARKIT), 25)
    sides = {"_L": "Left", "_R": "Right"}
    errors = []
    for name in names:
        plain = name[:-2] + sides[name[-2:]] if name[-2:] in sides else name
        shape = plain if plain in ARKIT else name[:-2]
        if shape in ARKIT:
            errors.append(np.abs(done["ICT", name] - act[:, ARKIT.index(shape)]).mean())
    assert len(errors) == 53 and max(errors) < 1e-6
    by_name = {pair.target: set(pair.sources) for pair in pairs if pair.confidence == 1}
    got = matrix(solve(Shapes(points, moves, names), [("ICT", name) for name in names], ours), names)
    right = [shape in by_name.get(names[int(row.argmax())], ()) for shape, row in zip(ARKIT, got, strict=True)]
    # Two artists' heads: of the 51 shapes that both have, most find the same-named key by its movement alone.
    assert sum(right) >= 34


def test_the_heads_motion_is_centred_scaled_and_limited() -> None:
    pose = np.zeros((5, 6))
    pose[:, 1] = [0.1, 0.1, 0.1, 0.5, 0.1]
    turns, shifts = head_motion(pose, PoseSettings(limit=(1, 0.3, 1), shift=1.0))
    assert np.allclose(turns[0], np.eye(3)) and np.allclose(shifts, 0)
    assert np.arccos((np.trace(turns[3]) - 1) / 2) == pytest.approx(0.3)
    assert np.allclose(character_axes("-Y", "Z"), np.eye(3))
    assert np.allclose(character_axes("Z", "Y") @ (0, -1, 0), (0, 0, 1))
    with pytest.raises(UserInputError, match="lie on one line"):
        character_axes("Z", "-Z")
