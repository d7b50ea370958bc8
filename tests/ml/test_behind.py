"""The take's plates: made once, the same bytes when made again, whole for the scene, few for a preview."""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from ml_backend.artefacts import plates as plates_file
from ml_backend.artefacts.face_track import FaceTrack
from ml_backend.artefacts.plates import Plates
from ml_backend.data.frames import FrameFolder, encode_png, frame_path, read_png, write_index
from ml_backend.data.video import VideoInfo
from ml_backend.take import Take
from ml_backend.talk import behind
from ml_backend.talk.options import TalkOptions
from ml_backend.talk.session import Session
from ml_backend.talk.target import Target
from ml_backend.terminal import Terminal
from tests.fixtures import EXPRESSIONS, small_character, small_model, small_performance

FRAMES, OUT = 5, 6
POSE = np.array([0, 0, 0, 0.01, 0, 0.8], np.float32)


def small_target(folder: Path, *, shake: int) -> Target:
    """A grey oval before noise that moves `shake` pixels a frame."""
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (240, 400, 3), dtype=np.uint8)
    rows, columns = np.mgrid[:240, :320]
    oval = np.hypot(columns - 166, 0.8 * (rows - 120)) < 52
    for number in range(FRAMES):
        picture = noise[:, shake * number : 320 + shake * number].copy()
        picture[oval] = 100 + (columns[oval] % 32)[:, None]
        frame_path(folder, number).write_bytes(encode_png(picture))
    write_index(folder, complete=True, count=FRAMES, fps=25.0, notes=[])
    model = small_model()
    person = small_character(model)
    landmarks = np.zeros((FRAMES, 478, 3), np.float32)
    landmarks[..., :2] = np.random.default_rng(1).uniform([120, 70], [210, 170], (FRAMES, 478, 2))
    track = FaceTrack(
        np.array(25.0), person.size, person.focal, landmarks, np.ones(FRAMES, np.float32),
        np.zeros((FRAMES, 3), np.float32), np.array(EXPRESSIONS), np.tile(POSE[:3], (FRAMES, 1)),
        np.tile(POSE[3:], (FRAMES, 1)), person.identity, np.zeros_like(model.mean_shape), np.zeros(1, np.float32),
        person.light, person.crop)
    info = VideoInfo.__new__(VideoInfo)  # nothing here looks at it
    return Target(info, "key", FrameFolder.open(folder), track, np.zeros(FRAMES, bool), person)


@pytest.fixture
def session(tmp_path: Path):
    take = Take.open(tmp_path / "take")
    for stage in ("plates", "motion", "character"):
        take.run(stage, {}, [], lambda: None)
    options = TalkOptions(tmp_path / "speech.wav", None, tmp_path / "film.mp4")
    yield Session(options, Terminal(quiet=True), take, None, tmp_path, small_model())
    take.close()


@pytest.fixture
def plates() -> Plates:
    own = np.tile(POSE, (OUT, 1))
    shown = own.copy()
    shown[1:, 3] += 0.008  # the first frame as it is
    source = np.array([0, 1, 2, 2, 3, 4], np.int32)
    return Plates(source, shown, np.array([0]), np.array([0, 1, 1.6, 2.4, 3, 4], np.float32), own)


@pytest.fixture(autouse=True)
def mask(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, columns = np.mgrid[:240, :320]
    disc = (np.hypot(columns - 166, 0.8 * (rows - 120)) < 52).astype(np.float32)
    monkeypatch.setattr(behind, "person_finder", lambda: nullcontext(lambda picture, window: disc))


@pytest.mark.parametrize("shake", [0, 7])
def test_heads_move_and_the_rest_is_the_clip(shake: int, tmp_path: Path, session: Session, plates: Plates) -> None:
    target = small_target(tmp_path / "source", shake=shake)
    act = small_performance(OUT)
    act.expression[:] = 0
    made = behind.make_plates(session, act, target, plates)
    assert len(made) == OUT and np.array_equal(made[0], target.frames[0])
    for index in (1, 4):
        frame = target.frames[int(plates.source[index])]
        assert np.abs(made[index].astype(int) - frame)[110:130, 150:180].mean() > 2  # five pixels to the right
        assert np.array_equal(made[index][:, :4], frame[:, :4])
    if shake == 0:
        outside = made[1][60:180, 236:246]
        assert np.array_equal(outside, target.frames[1][60:180, 236:246])


def test_made_again_after_a_loss_they_are_the_same_bytes(tmp_path: Path, session: Session, plates: Plates) -> None:
    target, act = small_target(tmp_path / "source", shake=0), small_performance(OUT)
    folder = session.take.path(behind.FOLDER)
    few = behind.make_plates(session, act, target, plates, only=np.array([0, 1, 5, 1]))
    assert len(list(folder.glob("*.png"))) == 3 and few[5].shape == (240, 320, 3)
    behind.make_plates(session, act, target, plates)
    bytes_of = {path.name: path.read_bytes() for path in folder.glob("*.png")}
    assert len(bytes_of) == OUT
    for loss in (lambda: frame_path(folder, 3).unlink(), lambda: shutil.rmtree(folder)):
        loss()
        behind.make_plates(session, act, target, plates)
        assert {path.name: path.read_bytes() for path in folder.glob("*.png")} == bytes_of


def test_the_scene_gets_whole_pictures(tmp_path: Path, session: Session, plates: Plates) -> None:
    target = small_target(tmp_path / "source", shake=0)
    made = behind.make_plates(session, small_performance(OUT), target, plates)
    index, pattern = behind.whole_plates(session, made, plates)
    read = plates_file.load(index)
    assert read.source.tolist() == list(range(OUT)) and np.allclose(read.pose, plates.pose, atol=1e-6)
    assert np.array_equal(read_png(Path(pattern % 4)), made[4])
