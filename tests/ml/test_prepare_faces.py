"""Face shards: the face drawn in NumPy, which frames are chosen, one clip to one shard."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from ml_backend.artefacts import character as character_file
from ml_backend.artefacts.character import Character
from ml_backend.artefacts.face_track import FaceTrack
from ml_backend.config import head_model
from ml_backend.errors import UserInputError
from ml_backend.face_model.model import FaceModel, load
from ml_backend.prepare import faces
from ml_backend.prepare.clip import READY, REJECTED
from ml_backend.prepare.drawing import FaceDrawing
from ml_backend.prepare.sources import Source
from ml_backend.reconstruct.texture import ALBEDO_FILE, CHARACTER_FILE
from ml_backend.refine import shards

SIZE, POSE = 96, np.array([0, 0, 0, 0, 0, 1.0])


@pytest.fixture(scope="module")
def model() -> FaceModel:
    return load(head_model())


def person(model: FaceModel, folder: Path) -> Character:
    """The mean head, orange, lit evenly from everywhere; its crop is the whole frame."""
    cv2.imwrite(str(folder / ALBEDO_FILE), np.full((64, 64, 3), (40, 120, 200), np.uint8))
    light = np.zeros((9, 3), np.float32)
    light[0] = 1 / (np.pi * 0.282095)
    made = Character(np.array("parley"), model.mean_shape, np.zeros(len(model.identity_basis), np.float32),
                     model.texture_mean.clip(0, 1), np.array(ALBEDO_FILE), light, np.array([200, 200], np.int32),
                     np.array(800.0), np.array([0, 0, 200], np.float32), POSE.astype(np.float32),
                     np.zeros(6, np.float32), np.array(0.3, np.float32), np.array(0.2, np.float32))
    character_file.save(made, folder / CHARACTER_FILE)
    return made


def test_a_face_is_drawn_as_the_rig_shades_it(model: FaceModel, tmp_path: Path) -> None:
    drawing = FaceDrawing(model, person(model, tmp_path), tmp_path)
    rest = np.zeros(len(model.names))
    picture = drawing.draw(rest, POSE, SIZE)
    assert picture.shape == (SIZE, SIZE, 4) and picture[0, 0, 3] == 0
    forehead = tuple(np.array([SIZE // 2, 33]))
    np.testing.assert_allclose(picture[forehead[1], forehead[0]], [200, 120, 40, 255], atol=2)
    darker = drawing.draw(rest, POSE, SIZE, drawing.character.light * np.float32(0.5))
    np.testing.assert_allclose(darker[forehead[1], forehead[0]], [100, 60, 20, 255], atol=2)
    moved = drawing.draw(rest, POSE + np.array([0, 0, 0, 0.0125, 0, 0]), SIZE)
    shift = np.nonzero(moved[..., 3].any(0))[0].mean() - np.nonzero(picture[..., 3].any(0))[0].mean()
    assert shift == pytest.approx(0.0125 * 800 * SIZE / 200, abs=1)
    opened = rest.copy()
    opened[model.names.index("jawOpen")] = 1
    assert (drawing.draw(opened, POSE, SIZE)[..., :3] != picture[..., :3]).any(2).mean() > 0.02
    (tmp_path / ALBEDO_FILE).unlink()
    with pytest.raises(UserInputError, match="no picture"):
        FaceDrawing(model, drawing.character, tmp_path)


def track(model: FaceModel, frames: int) -> FaceTrack:
    points = np.random.default_rng(0).uniform(60, 140, (frames, 478, 3)).astype(np.float32)
    return FaceTrack(np.array(25.0), np.array([200, 200], np.int32), np.array(800.0), points,
                     np.ones(frames, np.float32), np.zeros((frames, len(model.names)), np.float32),
                     np.array(model.names), np.zeros((frames, 3), np.float32),
                     np.tile(np.float32([0, 0, 1]), (frames, 1)), np.zeros(len(model.identity_basis), np.float32),
                     np.zeros_like(model.mean_shape), np.zeros(len(model.texture_basis), np.float32),
                     np.zeros((9, 3), np.float32), np.array([0, 0, 200], np.float32))


def test_runs_avoid_cuts_and_lost_faces(model: FaceModel) -> None:
    found = track(model, 80)
    found.confidence[10:14] = 0
    cuts = np.zeros(80, bool)
    cuts[60] = True
    runs = faces.choose_runs(faces.Tracked([], found, cuts), 40)
    assert all(len(run) == faces.RUN and not set(run) & {10, 11, 12, 13} for run in runs)
    assert not any(60 in run and run.start < 60 for run in runs)
    assert sum(run.start >= 40 for run in runs) > sum(run.stop <= 40 for run in runs) > 0
    assert len({t for run in runs for t in run}) == faces.RUN * len(runs)
    assert faces.choose_runs(faces.Tracked([], track(model, 3), np.zeros(3, bool)), 2) == []


def test_one_clip_becomes_one_shard(model: FaceModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = [np.full((200, 200, 3), 10 + t, np.uint8) for t in range(24)]
    monkeypatch.setattr(faces, "extract_frames", lambda *_, **__: clip)
    monkeypatch.setattr(faces, "track_with_cuts", lambda *_, **__: (track(model, 24), np.zeros(24, bool)))
    monkeypatch.setattr(faces, "make_character", lambda track, frames, model, folder: (
        folder.mkdir(exist_ok=True), person(model, folder)))
    monkeypatch.setattr(faces, "LEAST", 64)
    monkeypatch.setattr(faces, "MOST", 64)
    monkeypatch.setattr(faces, "RUNS", 3)
    source = Source(tmp_path / "a.mp4", "a", "somebody", "train", rights="open")
    assert faces.work(source, tmp_path / "out").status == READY
    shard = shards.load(tmp_path / "out" / "a.npz")
    assert shard.side == 64 and str(shard.speaker) == "somebody" and len(np.unique(shard.run)) == 3
    np.testing.assert_array_equal(shard.real[0, 0, 0], [10 + shard.frame[0]] * 3)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.npz"]
    assert faces.work(source, tmp_path / "out").reason == "was there already"
    monkeypatch.setattr(faces, "track_with_cuts", lambda *_, **__: (track(model, 3), np.zeros(3, bool)))
    assert faces.work(replace(source, name="b"), tmp_path / "out").status == REJECTED
    assert faces.work(replace(source, name="c", channels="facegood"), tmp_path / "out").status == REJECTED
