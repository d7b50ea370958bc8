"""Names of other rigs: tables, spelling, likeness; visemes at their time; presets; without Blender."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from addon.core import mapping, mapping_names, mapping_tables, mapping_text
from addon.core.channels import ARKIT
from addon.core.errors import ArtefactError, UserInputError
from addon.core.mapping_reduce import reduce_to_poses
from addon.core.mapping_visemes import VISEME_SETS, detect


@pytest.mark.parametrize("spell", [
    lambda n: n, str.lower, str.upper, lambda n: n[:1].upper() + n[1:],
    lambda n: "".join(f"_{c}" if c.isupper() else c for c in n).lower(),
    lambda n: n.replace("Left", "_L").replace("Right", "_R"), lambda n: n.replace("Left", ".L").replace("Right", ".R"),
    lambda n: f"Head_{n}", lambda n: f"blendShape1.{n}", lambda n: f"Wolf3D-{n}.001",
    lambda n: f"facs_bs_{n[:1].upper()}{n[1:]}_div2",
], ids=range(11))
def test_every_arkit_shape_is_read_in_every_spelling(spell: object) -> None:
    if spell is str.upper:  # capitals alone say nothing about where words end
        return
    for name in ARKIT:
        assert mapping_names.exact(spell(name)) == (name,), spell(name)  # type: ignore[operator]


def test_snake_capitals_are_read() -> None:
    assert mapping_names.exact("EYE_BLINK_LEFT") == ("eyeBlinkLeft",)
    assert mapping_names.exact("browInnerUp_L") == ("browInnerUp",)
    assert mapping_names.exact("mouthSmile") == ("mouthSmileLeft", "mouthSmileRight")
    assert mapping_names.exact("sad_mouth_left") == () and mapping_names.exact("Key 1") == ()


def test_tables_name_only_arkit_shapes_with_weights_up_to_one() -> None:
    for convention, table in mapping_tables.CONVENTIONS.items():
        for name, weights in table.items():
            for side in ("Left", "Right"):
                assert {shape.replace("{s}", side) for shape in weights} <= set(ARKIT), (convention, name)
            assert 0 < sum(weights.values()) <= 1.0, (convention, name)
    for chosen in VISEME_SETS.values():
        assert set(chosen.aliases) == set(chosen.poses)
        for pose in chosen.poses.values():
            assert set(pose) <= set(ARKIT) and all(0 < weight <= 1 for weight in pose.values())
    assert [len(VISEME_SETS[key].poses) for key in ("oculus", "microsoft", "rhubarb", "vrm")] == [15, 22, 9, 5]


@pytest.mark.parametrize(("name", "shapes"), [
    ("CTRL_expressions_mouthCornerPullL", {"mouthSmileLeft"}), ("CTRL_expressions_eyeLookLeftR", {"eyeLookInRight"}),
    ("CTRL_expressions_mouthLipsTogetherDR", {"mouthClose"}), ("CTRL_expressions_jawFwd", {"jawForward"}),
    ("CTRL_expressions_jawOpen", {"jawOpen"}), ("Mouth_Roll_In_Upper_R", {"mouthRollUpper"}),
    ("Eye_L_Look_R", {"eyeLookInLeft"}), ("Brow_Raise_Outer_L", {"browOuterUpLeft"}),
    ("facs_bs_MouthFunnelLowerLeft", {"mouthFunnel"}), ("facs_jnt_JawOpen", {"jawOpen"}),
    ("facs_ctrl_EyeLookOutLeft", {"eyeLookOutLeft"}), ("facs_bs_MouthPressUpperRight", {"mouthPressRight"}),
    ("Fcl_EYE_Close_L", {"eyeBlinkLeft"}), ("blink", {"eyeBlinkLeft", "eyeBlinkRight"}),
    ("lookLeft", {"eyeLookOutLeft", "eyeLookInRight"}), ("eyesClosed", {"eyeBlinkLeft", "eyeBlinkRight"}),
])
def test_other_conventions_are_known(name: str, shapes: set[str]) -> None:
    (pair,) = mapping.auto_map({"Face": [name]})
    assert set(pair.sources) == shapes and pair.enabled and pair.confidence >= 0.9


@pytest.mark.parametrize(("name", "shape"), [
    ("Eyelid_Close_Left", "eyeBlinkLeft"), ("LipsPuckered", "mouthPucker"), ("Jaw Opening", "jawOpen"),
    ("nostrilWrinkle_R", "noseSneerRight"), ("Brows_Down_L", "browDownLeft"), ("cheeksPuffed", "cheekPuff"),
])
def test_names_that_are_merely_alike_are_suggested_with_doubt(name: str, shape: str) -> None:
    (pair,) = mapping.auto_map({"Face": [name]})
    assert set(pair.sources) == {shape} and pair.origin == "similar name" and 0.5 < pair.confidence <= 0.9


def test_sets_of_visemes_are_told_apart() -> None:
    assert detect([f"vrc.v_{name.lower()}" for name in VISEME_SETS["oculus"].poses])[0] == "oculus"
    assert detect(list("AIUEO"))[0] == "vrm" and detect(list("ABCDEFGHX"))[0] == "rhubarb"
    assert detect([f"viseme_{index}" for index in range(22)])[0] == "microsoft"
    assert detect(["aa_ah_ax_01", "p_b_m_21", "s_z_15"])[0] == "", "three of 22 are no set"
    assert detect([f"V_{name}" for name in VISEME_SETS["cc4"].poses])[0] == "cc4"
    assert detect([f"eCTRLv{name}" for name in VISEME_SETS["daz"].poses])[0] == "daz"


def test_what_is_covered_twice_is_switched_off_not_lost() -> None:
    names = [*ARKIT, "mouthSmile", "eyesClosed", *(f"viseme_{name}" for name in VISEME_SETS["oculus"].poses)]
    pairs = {pair.target: pair for pair in mapping.auto_map({"Face": names})}
    assert len(pairs) == len(names) and all(pairs[name].enabled for name in ARKIT)
    assert not any(pairs[name].enabled for name in names[52:])
    with pytest.raises(UserInputError, match="None of the 2 shape keys"):
        mapping.auto_map({"Face": ["Key 1", "bump"]})


@pytest.mark.parametrize("key", list(VISEME_SETS))
@pytest.mark.parametrize("rate", [25.0, 60.0])
def test_visemes_come_back_sparse_and_in_time(key: str, rate: float) -> None:
    poses = [dict(pose) for pose in VISEME_SETS[key].poses.values()]
    truth, weights, peaks = spoken(poses, 240)
    rest = [index for index, pose in enumerate(poses) if not pose]
    got = reduce_to_poses(weights, list(ARKIT), poses, rate)
    assert np.abs(got - truth).mean() < 0.005 and np.abs(got - truth)[truth > 0.3].mean() < 0.02
    noisy = np.clip(weights + np.random.default_rng(2).normal(0, 0.02, weights.shape), 0, 1)
    got = np.delete(reduce_to_poses(noisy, list(ARKIT), poses, rate), rest, axis=1)
    shown = np.delete(truth, rest, axis=1)
    assert np.abs(got - shown).mean() < 0.02
    assert (got > 0.1).sum(1).mean() < (shown > 0.1).sum(1).mean() + 0.5, "half-shown visemes smear"
    late = [abs(int(np.argmax(got[at - 3 : at + 4, column])) - 3) for at, column in peaks]
    assert np.mean(np.array(late) <= 1) > 0.85


def spoken(poses: list[dict[str, float]], frames: int) -> tuple[np.ndarray, np.ndarray, list[tuple[int, int]]]:
    """(T, J) visemes fading into each other, (T, 52) that show them, and (frame, live viseme) of each height."""
    rng = np.random.default_rng(5)
    live = [index for index, pose in enumerate(poses) if pose]
    truth, peaks = np.zeros((frames, len(poses))), []
    times = np.cumsum(rng.integers(4, 9, frames // 4))
    times = times[times < frames - 4]
    chosen = rng.permutation(np.resize(np.arange(len(live)), len(times)))
    for before, at, after, column in zip(times[:-2], times[1:-1], times[2:], chosen[1:], strict=False):
        rise = np.interp(np.arange(frames), [before, at, after], [0, rng.uniform(0.5, 1), 0])
        if truth[before : after + 1, live[column]].max() == 0:
            peaks.append((int(at), int(column)))
        truth[:, live[column]] = np.maximum(truth[:, live[column]], rise)
    for column, pose in enumerate(poses):
        if not pose:
            truth[:, column] = np.clip(1 - truth.sum(1), 0, 1)
    table = np.array([[pose.get(name, 0.0) for name in ARKIT] for pose in poses])
    return truth, np.clip(truth @ table, 0, 1), peaks


def test_sources_are_written_and_read_as_text() -> None:
    for pair in mapping.auto_map({"Face": ["jawOpen", "blink", *(f"viseme_{index}" for index in range(22))]}):
        read = mapping_text.read_sources(pair.text, pair.target)
        assert read == pytest.approx(dict(pair.sources))
    assert mapping_text.read_sources("JawOpen × 0.5+mouthclose", "x") == {"jawOpen": 0.5, "mouthClose": 1.0}
    for bad in ("jaw", "jawOpen*", "jawOpen*1e9", "jawOpen*.", "jawOpen mouthClose"):
        with pytest.raises(UserInputError, match="for the key x"):
            mapping_text.read_sources(bad, "x")


def test_presets_keep_everything_and_fit_other_meshes(tmp_path: Path) -> None:
    pairs = mapping.auto_map({"Face": ["jawOpen", "blink", "Joy", "A", "I", "U", "E", "O"], "Teeth": ["jawOpen"]})
    mapping_text.save_preset(tmp_path / "p.json", "Mine", pairs)
    name, loaded = mapping_text.load_preset(tmp_path / "p.json")
    assert name == "Mine" and loaded == pairs
    fitted = mapping_text.fit_preset(loaded, {"Other": ["A", "zzz", "jawOpen"]})
    assert [(pair.mesh, pair.target) for pair in fitted] == [("Other", "A"), ("Other", "jawOpen")]
    with pytest.raises(UserInputError, match="None of the preset's shape keys"):
        mapping_text.fit_preset(loaded, {"Other": ["zzz"]})
    with pytest.raises(ArtefactError, match="does not exist"):
        mapping_text.load_preset(tmp_path / "none.json")


@pytest.mark.parametrize("change", [
    {"schema": "other"}, {"version": 2}, {"pairs": []}, {"pairs": "x"}, {"pairs": [3]}, {"pairs": [{"target": "a"}]},
    {"pairs": [{"target": "a", "sources": {"jawOpen": "1"}}]}, {"pairs": [{"target": "a", "sources": {"jaw": 1}}]},
    {"pairs": [{"target": "a", "sources": {"jawOpen": 1}, "kind": "odd"}]},
])
def test_a_bad_preset_is_refused_in_one_sentence(tmp_path: Path, change: dict[str, object]) -> None:
    good = {"schema": "parley.mapping", "version": 1, "pairs": [{"target": "a", "sources": {"jawOpen": 1}}]}
    path = tmp_path / "p.json"
    path.write_text(json.dumps(good))
    assert mapping_text.load_preset(path)[1][0].target == "a"
    path.write_text(json.dumps(good | change))
    with pytest.raises(ArtefactError, match=r"p\.json") as caught:
        mapping_text.load_preset(path)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


def test_amounts_and_missing_shapes() -> None:
    pairs = mapping.auto_map({"Face": ["jawOpen", "tongueOut"]})
    weights = np.array([[0.4], [0.9]])
    done = mapping.evaluate(pairs, weights, ["jawOpen"], 25, mapping.Options(amount=2.0))
    assert np.allclose(done["Face", "jawOpen"], [0.8, 1.0]) and not done["Face", "tongueOut"].any()
    assert "jawLeft" in mapping.unmapped(pairs) and "jawOpen" not in mapping.unmapped(pairs)
    with pytest.raises(UserInputError, match="No pair of the mapping is switched on"):
        mapping.evaluate([], weights, ["jawOpen"], 25)
    with pytest.raises(UserInputError, match="none of ARKit's 52 shapes"):
        mapping.evaluate(pairs, weights, ["exp0"], 25)


def test_solved_keys_share_what_one_alone_cannot_show() -> None:
    """Two like keys: what the first can't do above 1 the second does; two that undo each other stay as wanted."""
    pairs = [mapping.Pair("m", "a", {"jawOpen": 1.5}), mapping.Pair("m", "b", {"mouthClose": 1.0}),
             mapping.Pair("m", "c", {"jawLeft": 1.0}), mapping.Pair("m", "d", {"jawRight": 1.0})]
    moves = np.array([[1.0, 0, 0], [0.9, 0.1, 0], [0, 0, 1.0], [0, 0, -1.0]])
    names = ["jawOpen", "mouthClose", "jawLeft", "jawRight"]
    act = np.tile([[1.0, 0.0, 0.75, 0.5]], (10, 1))
    options = mapping.Options(smooth=0.0, grams={"m": (list("abcd"), moves @ moves.T)})
    done = mapping.evaluate(pairs, act, names, 25, options)
    assert done["m", "a"].min() > 0.99 and done["m", "b"].min() > 0.3
    assert np.allclose(done["m", "c"], 0.75, atol=0.01) and np.allclose(done["m", "d"], 0.5, atol=0.01)
