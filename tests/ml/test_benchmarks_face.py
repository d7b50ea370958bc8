"""The pure parts of the face benchmark, on numbers whose answers are known."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from ml_backend.errors import UserInputError
from ml_backend.reconstruct.points import rig
from tests.benchmarks import __main__ as benchmarks
from tests.benchmarks import (
    face,
    face_clips,
    face_expressiveness,
    face_heads,
    face_photometric,
    face_roundtrip,
    report,
    timing,
)
from tests.benchmarks.report import Figure
from tests.ml.reconstruct_toys import FOCAL, SIZE, head, landmarks, weights


def test_a_figure_knows_its_bar() -> None:
    assert Figure("p", "n", 3.0, bar=2.0).passed is True
    assert Figure("p", "n", 3.0, bar=2.0, at_least=False).passed is False
    assert Figure("p", "n", 3.0).passed is None
    assert Figure("p", "n", float("nan"), bar=2.0).passed is False


def test_table_and_json_say_the_same(tmp_path: Path) -> None:
    figures = [Figure("speed", "ratio", 0.812, "×", 0.7), Figure("speed", "worst", float("nan"), "s", 1.0, False)]
    lines = report.table(figures).splitlines()
    assert "0.812 ×" in lines[2] and "≥ 0.7 ×" in lines[2] and "pass" in lines[2]
    assert "FAIL" in lines[3] and "≤ 1 s" in lines[3]
    report.write_json(figures, tmp_path / "new" / "figures.json")
    rows = json.loads((tmp_path / "new" / "figures.json").read_text(encoding="utf-8"))
    assert [row["passed"] for row in rows] == [True, False] and rows[1]["value"] is None
    assert report.failures(figures) == [figures[1]]


def test_psnr_counts_the_mask_alone() -> None:
    truth = np.full((4, 4, 3), 100, np.uint8)
    shown, mask = truth + 51, np.zeros((4, 4), bool)
    mask[1] = True
    shown[2] = 0
    assert face_photometric.psnr(shown, truth, mask) == pytest.approx(-20 * np.log10(0.2))
    assert np.isnan(face_photometric.psnr(shown, truth, ~mask & mask))


def test_tested_frames_are_of_the_second_half_and_seen() -> None:
    class Track:
        confidence = np.r_[np.ones(60), 0, 0, np.ones(38)]

    picks = face_photometric.tested_frames(Track(), 50)  # type: ignore[arg-type]
    assert len(picks) == face_photometric.TESTED and picks[0] == 50 and picks[-1] == 99
    assert not set(picks) & {60, 61}


def test_angles_between_rotations() -> None:
    truth = np.radians([[10.0, 20, -5], [0, 0, 0]])
    assert face_roundtrip.angle_between(truth, truth) == pytest.approx([0, 0], abs=1e-5)
    found = truth + np.radians([[0, 0, 0], [0, 4.0, 0]])
    assert face_roundtrip.angle_between(truth, found)[1] == pytest.approx(4)
    assert face_roundtrip.axis_errors(truth, found)[1] == pytest.approx([0, 4, 0], abs=1e-9)


def test_correlation_of_what_does_not_vary_is_none() -> None:
    values = np.arange(5.0)
    assert face_roundtrip.correlation(values, 3 * values + 1) == pytest.approx(1)
    assert face_roundtrip.correlation(values, np.ones(5)) == 0


def test_cosines_of_the_same_people_and_of_others() -> None:
    truth = np.random.default_rng(0).normal(size=(60, 40))
    same, chance = face_roundtrip.cosines(truth, 2 * truth)
    assert same == pytest.approx(1) and abs(chance) < 0.05
    assert face_roundtrip.recognised(truth, truth) == 1
    assert face_roundtrip.recognised(truth, truth[::-1]) == 0


def test_delta_e_of_black_and_white() -> None:
    assert face_roundtrip.delta_e(np.zeros((1, 3)), np.ones((1, 3))) == pytest.approx([100], abs=0.1)
    assert face_roundtrip.delta_e(np.full((2, 3), 0.4), np.full((2, 3), 0.4)) == pytest.approx([0, 0])


def test_over_a_background() -> None:
    picture = np.zeros((2, 1, 4), np.uint8)
    picture[0] = [10, 20, 30, 255]
    shown = face_roundtrip.over(picture, np.array([[0, 0, 0], [1.0, 0, 0]]))
    assert shown[0, 0].tolist() == [10, 20, 30] and shown[1, 0].tolist() == [255, 0, 0]


def test_heads_are_plausible_repeatable_and_kept(tmp_path: Path) -> None:
    model = head()
    heads = face_heads.draw(model, 12, 3, ["short", "long"])
    again = face_heads.draw(model, 12, 3, ["short", "long"])
    assert np.array_equal(heads.neutral, again.neutral) and np.array_equal(heads.pose, again.pose)
    assert (np.degrees(np.abs(heads.pose[:, 1])) <= face_heads.MOST_YAW).all()
    assert heads.expression.min() >= 0 and heads.expression.max() <= 1
    assert ((heads.expression > 0).sum(1) < 25).all() and len(set(heads.hair)) == 2
    column = {str(name): heads.expression[:, k] for k, name in enumerate(heads.names)}
    assert not (column["mouthPucker"] * column["mouthSmileLeft"]).any()
    assert (column["mouthClose"] <= column["jawOpen"]).all()
    face_heads.save(heads, tmp_path / "heads.npz")
    assert np.array_equal(face_heads.load(tmp_path / "heads.npz").light, heads.light)


def test_scores_of_a_perfect_tracker_pass() -> None:
    model = head()
    heads = face_heads.draw(model, 8, 5)

    class Track:
        def __init__(self, number: int) -> None:
            self.rotation, self.expression = heads.pose[number:number + 1, :3], heads.expression[number:number + 1]
            self.identity, self.texture = heads.identity[number], heads.texture[number]
            self.light = heads.light[number]

    returned = face_roundtrip.Returned(np.arange(8), [Track(n) for n in range(8)])  # type: ignore[misc]
    figures = {figure.name.strip(): figure for figure in face_roundtrip.score(heads, returned, model)}
    assert figures["pose error"].value < 1e-3 and figures["identity, cosine above chance"].value > 0.7
    assert figures["jawOpen"].passed and figures["identity, recognised"].value == 100
    assert figures["albedo ΔE"].value < 40
    nobody = face_roundtrip.Returned(np.zeros(0, int), [])
    assert face_roundtrip.score(heads, nobody, model)[0].value == 8


def test_expressiveness_of_a_model_on_its_own_faces() -> None:
    model, points = head(), rig(head())
    pose = np.tile([0.0, 0.1, 0, 0, 0.01, 0.6], (3, 1))
    identity = np.random.default_rng(1).normal(0, 0.7, len(model.identity_basis))
    marks = landmarks(weights(3, jawOpen=np.array([0, 0.3, 0.6])), pose, identity)
    shared = face_expressiveness.shared_landmarks(model, model)
    cut = face_expressiveness.common_rig(model, shared)
    assert (cut.index < 468).all() and len(cut.index) < len(points.index)
    fitted = face_expressiveness.explain(marks, SIZE, cut, FOCAL)
    groups = face_expressiveness.by_group([fitted])
    assert groups["all"] < 0.6 and set(groups) == {"all", "lips", "eyes", "outline", "rest"}
    marks[:, 61, 0] += 20
    worse = face_expressiveness.by_group([face_expressiveness.explain(marks, SIZE, cut, FOCAL)])
    assert worse["lips"] > 2 * groups["lips"]


def test_interocular_distance_does_not_shrink_with_a_turn() -> None:
    marks = np.zeros((2, 478, 3))
    marks[:, 263] = [[50, 0, 0], [30, 0, 40]]
    assert face_expressiveness.interocular(marks).tolist() == [50, 50]


def test_a_missing_data_folder_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserInputError, match=r"index\.csv is missing; name the folder"):
        face_clips.validation_clips(tmp_path, tmp_path)
    assert face.main(["--data", str(tmp_path), "--part", "expressiveness", "--cache", str(tmp_path)]) == 2
    assert "--data" in capsys.readouterr().err
    (tmp_path / "clips").mkdir()
    index = tmp_path / "clips" / "index.csv"
    index.write_text("file,split\nclips/a.mp4,train\n", encoding="utf-8")
    with pytest.raises(UserInputError, match="no clip of the split"):
        face_clips.validation_clips(tmp_path, tmp_path)
    index.write_text("file,split\nclips/b.mp4,validate\n", encoding="utf-8")
    with pytest.raises(UserInputError, match=r"b\.mp4 is missing"):
        face_clips.validation_clips(tmp_path, tmp_path)


def test_compared_pictures_stand_side_by_side() -> None:
    shown = np.zeros((8, 8, 4), np.uint8)
    shown[..., 3] = 255
    row = face_photometric._compared(shown, np.full((8, 8, 3), 10, np.uint8))
    assert row.shape == (300, 900, 3) and row[150, 150].tolist() == [10] * 3 and row[150, 450].tolist() == [0] * 3
    assert cv2.mean(row[:, 600:])[0] == pytest.approx(108)


def test_unknown_benchmarks_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmarks.main(["nothing"]) == 2
    assert "no benchmark nothing" in capsys.readouterr().err


def test_times_are_taken_in_turns() -> None:
    order: list[str] = []
    first, second = timing.in_turns(lambda: order.append("a"), lambda: order.append("b"), 2)
    assert order == ["a", "b", "a", "b"] and first >= 0 and second >= 0
