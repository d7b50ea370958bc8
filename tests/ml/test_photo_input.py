"""Photos as people have them, from file to what turns: 16 bits of grey, sideways with alpha, two faces, a profile."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from ml_backend.data.frames import read_png
from ml_backend.errors import ParleyError, UserInputError
from ml_backend.take import Take
from ml_backend.talk.options import TalkOptions
from ml_backend.talk.photo import full_frames, take_apart
from ml_backend.talk.session import Session
from ml_backend.talk.target import load_target
from ml_backend.terminal import Terminal
from tests.ml.reconstruct_toys import picture, weights

REST = np.array([0, 0.05, 0, 0, 0.01, 0.5])


def person(yaw: float = 0.05, x: float = 0.0) -> np.ndarray:
    return picture(weights(1)[0], REST + np.array([0, yaw - 0.05, 0, x, 0, 0]))


def apart(path: Path):
    """The target and its mesh; the take lies beside the photo."""
    options = TalkOptions(speech=path, target=path, out=path.with_suffix(".mp4"), size=128)
    take = Take.open(options.take_folder)
    try:
        session = Session.start(options, Terminal(quiet=True), take, None)
        target = load_target(session)
        return target, take_apart(session, target), take.folder
    finally:
        take.close()


def write_grey(path: Path) -> None:
    grey = cv2.cvtColor(person(), cv2.COLOR_RGB2GRAY)
    cv2.imwrite(str(path), grey.astype(np.uint16) * 257)


def write_sideways(path: Path) -> None:
    turned = Image.fromarray(np.dstack([person(), np.full(person().shape[:2], 255, np.uint8)])).transpose(
        Image.Transpose.ROTATE_90)
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(path, exif=exif)


@pytest.mark.parametrize("write", [write_grey, write_sideways])
def test_it_comes_apart_and_together_again(write, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    write(path)
    target, mesh, folder = apart(path)
    photo = target.frames[0]
    assert photo.shape == (280, 320, 3)
    plate, texture = read_png(folder / "photo_plate.png")[..., :3], read_png(folder / "photo_head.png")
    assert plate.shape == photo.shape
    x, y, width, height = mesh.window
    outside = np.ones(photo.shape[:2], bool)
    outside[y:y + height, x:x + width] = False
    assert np.array_equal(plate[outside], photo[outside])
    assert (plate != photo).any()
    assert (texture[..., 3] > 200).any()
    clear = tmp_path / "clear"
    clear.mkdir()
    cv2.imwrite(str(clear / "000000.png"), np.zeros((height, width, 4), np.uint8))
    assert np.array_equal(next(full_frames(plate, mesh, clear, 1)), plate)


def test_of_two_faces_one_turns_and_the_other_is_left_alone(tmp_path: Path) -> None:
    wide = np.full((280, 520, 3), 90, np.uint8)
    wide[:, :320], wide[70:210, 340:500] = person(), person()[::2, ::2]
    Image.fromarray(wide).save(tmp_path / "two.png")
    target, mesh, folder = apart(tmp_path / "two.png")
    assert abs(float(target.track.landmarks[0, :, 0].mean()) - 160) < 40
    plate = read_png(folder / "photo_plate.png")[..., :3]
    assert np.array_equal(plate[70:210, 350:490], wide[70:210, 350:490])
    assert mesh.window[0] < 160


def test_no_face_is_said_so(tmp_path: Path) -> None:
    Image.fromarray(np.full((120, 160, 3), 128, np.uint8)).save(tmp_path / "wall.png")
    with pytest.raises(UserInputError, match=r"[Nn]o face"):
        apart(tmp_path / "wall.png")


@pytest.mark.parametrize(("yaw", "step"), [(1.3, 1), (0.05, 6)])
def test_a_profile_or_a_tiny_face_works_or_is_refused_in_a_sentence(yaw: float, step: int, tmp_path: Path) -> None:
    Image.fromarray(person(yaw)[::step, ::step]).save(tmp_path / "hard.png")
    try:
        _, mesh, _ = apart(tmp_path / "hard.png")
    except ParleyError as refused:
        assert str(refused).endswith(".")
    else:
        assert np.isfinite(mesh.vertices).all()
