"""Random people and contact sheets: `parley face random`, `parley face sheet`, `parley talk --character`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ml_backend import face_random, face_sheet
from ml_backend.artefacts import character as character_file
from ml_backend.cli import main
from ml_backend.config import head_model
from ml_backend.errors import UserInputError
from ml_backend.face_model.look import hairstyles
from ml_backend.face_model.model import FaceModel, load
from ml_backend.talk.builtin import builtin_character, given_character
from ml_backend.talk.options import TalkOptions, check


@pytest.fixture(scope="module")
def head() -> FaceModel:
    return load(head_model())


def test_a_seed_is_a_person(head: FaceModel) -> None:
    first, again, other = (face_random.sample_person(head, seed) for seed in (4, 4, 5))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert np.abs(first[0] - other[0]).max() > 0.3
    assert np.abs(first[1] - other[1]).max() > 0.3
    drawn = np.concatenate([np.concatenate(face_random.sample_person(head, seed)) for seed in range(30)])
    assert np.abs(drawn).max() <= face_random.LIMIT
    assert abs(drawn.mean()) < 0.05


def test_antisymmetric_modes_are_told_apart(head: FaceModel) -> None:
    found = face_random.antisymmetric(head)
    points, nose = head.mean_shape, int(head.landmark_vertex[4])
    assert not found[0]
    assert 10 <= found.sum() <= len(found) // 2
    # On the middle line a symmetric mode can't move sideways, an antisymmetric one can't move up.
    assert abs(points[nose, 0]) < 1e-4
    assert np.abs(head.identity_basis[~found, nose, 0]).max() < 1e-4
    assert np.abs(head.identity_basis[found, nose, 1:]).max() < 1e-4


def test_random_skin_has_a_natural_tone(head: FaceModel) -> None:
    bare = face_random._bare_face(head)
    usual = head.texture_mean[bare].mean(0)
    tones = []
    for seed in range(25):
        colours = face_random.person_albedo(head, face_random.sample_person(head, seed)[1])
        assert colours.min() >= 0
        assert colours.max() <= 1
        tones.append(colours[bare].mean(0))
    light = np.mean(tones, 1)
    assert light.min() > face_random.DARKEST - 0.02
    assert light.max() < face_random.LIGHTEST + 0.02
    assert light.std() > 0.05
    hue = (np.array(tones) / light[:, None]) / (usual / usual.mean())
    assert np.abs(np.log(hue)).max() < 0.15
    eyes = head.part("eye_left")
    teeth = head.part("teeth_upper")
    brighter = face_random.person_albedo(head, np.eye(len(head.texture_basis))[-2])
    assert np.abs(brighter - head.texture_mean)[eyes].max() > 0.05
    assert np.allclose(colours[teeth], head.texture_mean[teeth], atol=1e-3)


def test_random_writes_a_character_that_talk_takes(head: FaceModel, tmp_path: Path) -> None:
    out = tmp_path / "person.npz"
    assert main(["--quiet", "face", "random", "--seed", "7", "--out", str(out)]) == 0
    person = character_file.load(out)
    assert np.abs(person.neutral_shape - head.mean_shape).max() > 1e-3
    assert main(["--quiet", "face", "random", "--seed", "7", "--out", str(out)]) == 2
    copied = given_character(head, out, tmp_path / "copy.npz")
    assert np.array_equal(copied.neutral_shape, person.neutral_shape)


def test_random_hair_is_drawn_chosen_or_left_off(head: FaceModel, tmp_path: Path) -> None:
    styles = hairstyles(head_model())
    assert len(styles) >= 3
    assert "lashes" not in styles
    drawn = {str(face_random.random_character(head, seed, tmp_path / "a.npz", styles=styles).hair) for seed in range(8)}
    assert len(drawn) >= 2
    assert drawn <= set(styles)
    for asked, wanted in (("bob", "bob"), ("none", "")):
        out = tmp_path / f"{asked}.npz"
        assert main(["--quiet", "face", "random", "--seed", "3", "--hair", asked, "--out", str(out)]) == 0
        assert str(character_file.load(out).hair) == wanted
    assert main(["--quiet", "face", "random", "--hair", "mohawk", "--out", str(tmp_path / "b.npz")]) == 2


def test_hair_goes_with_the_skin(head: FaceModel) -> None:
    scalp = head.region("scalp") > 0.95
    fair = np.eye(len(head.texture_basis))[-3] * 2
    for coefficients in (fair, -fair):
        hair = face_random.person_albedo(head, coefficients)[scalp]
        assert hair.min() > 0.02
        assert (hair[:, 2] <= hair[:, 1]).all()
        assert (hair[:, 1] <= hair[:, 0]).all()


def test_a_character_of_another_model_is_refused(head: FaceModel, tmp_path: Path) -> None:
    person = builtin_character(head, 64, tmp_path / "a.npz")
    character_file.save(replace(person, face_model=np.array("other")), tmp_path / "b.npz")
    with pytest.raises(UserInputError, match="made with the face model other"):
        given_character(head, tmp_path / "b.npz", tmp_path / "c.npz")
    character_file.save(replace(person, detailed_albedo=np.array("gone.png")), tmp_path / "d.npz")
    with pytest.raises(UserInputError, match=r"gone\.png is missing"):
        given_character(head, tmp_path / "d.npz", tmp_path / "c.npz")


def test_target_and_character_exclude_each_other(tmp_path: Path) -> None:
    some = tmp_path / "x"
    some.touch()
    with pytest.raises(UserInputError, match="give one of them"):
        check(TalkOptions(speech=some, target=some, character=some, out=tmp_path / "film.mp4"))
    with pytest.raises(UserInputError, match=r"none\.npz does not exist"):
        check(TalkOptions(speech=some, target=None, character=tmp_path / "none.npz", out=tmp_path / "film.mp4"))


@pytest.mark.parametrize(
    "words",
    [
        ["random", "--out", "person.png"],
        ["random", "--out", "person.npz", "--seed", "-1"],
        ["sheet", "--out", "sheet.jpg"],
        ["sheet", "--out", "sheet.png", "--blender", "/no/such/blender"],
    ],
)
def test_bad_words_are_one_sentence(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["face", *words]) != 0
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_shape_samples_show_each_expression_once(head: FaceModel) -> None:
    act, labels = face_sheet.shape_samples(head, np.array([0, 0, 1.0]))
    assert len(act) == len(labels) == 53
    assert labels[0] == "neutral"
    assert act.expression[0].sum() == 0
    close = 1 + head.names.index("mouthClose")
    assert labels[close] == "mouthClose + jawOpen"
    alone = np.delete(act.expression, [0, close], 0)
    assert (alone.sum(1) == 1).all()
    assert (alone.max(1) == 1).all()


def test_the_close_crop_holds_the_face(head: FaceModel, tmp_path: Path) -> None:
    person = builtin_character(head, 1000, tmp_path / "a.npz")
    x, y, side = face_sheet.close_crop(head, person)
    moved = head.mean_shape + head.expression_basis[head.names.index("jawOpen")] + person.pose_mean[3:]
    face = moved[head.region("face") > 0]
    pixels = float(person.focal) * face[:, :2] / face[:, 2:] + 500
    assert (pixels > [x, y]).all()
    assert (pixels < [x + side, y + side]).all()


def test_montage_places_pictures_and_labels() -> None:
    pictures = [np.full((30, 30, 3), 10 * (n + 1), np.uint8) for n in range(5)]
    sheet = face_sheet.montage(pictures, list("abcde"), 3)
    assert sheet.shape == (2 * (30 + face_sheet.LABEL), 90, 3)
    assert (sheet[:30, 30:60] == 20).all()
    assert (sheet[30 + face_sheet.LABEL :, 30:60][:30] == 50).all()
    assert (sheet[30 : 30 + face_sheet.LABEL, :30] > 100).any()
    assert (sheet[30 + face_sheet.LABEL :, 60:] == face_sheet.PAPER).all()
