"""Tracks made more exact by pixels: a face that was moved is put back, what says nothing changes nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from ml_backend.artefacts.character import Character
from ml_backend.artefacts.face_track import FaceTrack
from ml_backend.errors import Cancelled
from ml_backend.face_model.synthesis import deform, project, rotation_matrix
from ml_backend.prepare.drawing import FaceDrawing
from ml_backend.reconstruct import polish as polishing
from ml_backend.reconstruct import polish_frame
from ml_backend.reconstruct.polish import polish, polished_track
from ml_backend.reconstruct.steady import steady
from ml_backend.reconstruct.texture import ALBEDO_FILE
from tests.ml.reconstruct_toys import head

SIDE, FRAMES = 128, 26
FOCAL, PLACE = 700.0, np.array([0.06, 0.1, 0.02, 0.0, 0.0, 0.9])


@pytest.fixture(scope="module")
def drawing(tmp_path_factory: pytest.TempPathFactory) -> FaceDrawing:
    """A freckled person."""
    folder, model = tmp_path_factory.mktemp("person"), head()
    grain = cv2.GaussianBlur(np.random.default_rng(3).normal(0, 1, (512, 512)), (0, 0), 3)
    sheet = np.clip(150 + 30 * grain[..., None] / grain.std() * [0.6, 0.8, 1], 0, 255)
    cv2.imwrite(str(folder / ALBEDO_FILE), sheet.astype(np.uint8))
    light = np.zeros((9, 3), np.float32)
    light[0] = 1 / (np.pi * 0.282095)
    made = Character(np.array("parley"), model.mean_shape, np.zeros(len(model.identity_basis), np.float32),
                     model.texture_mean.clip(0, 1), np.array(ALBEDO_FILE), light, np.array([SIDE, SIDE], np.int32),
                     np.array(FOCAL), np.array([0, 0, SIDE], np.float32), PLACE.astype(np.float32),
                     np.zeros(6, np.float32), np.array(0.3, np.float32), np.array(0.2, np.float32))
    return FaceDrawing(model, made, folder)


def rest(**channels: float) -> np.ndarray:
    out = np.zeros(len(head().names))
    for name, value in channels.items():
        out[head().names.index(name)] = value
    return out


def photographed(drawing: FaceDrawing, expression: np.ndarray, pose: np.ndarray, seed: int = 0, side: int = SIDE
                 ) -> np.ndarray:
    """(S, S, 3) uint8: the drawn face over grey, darker on one side, with a camera's noise."""
    rgba = drawing.draw(expression, pose, side).astype(float)
    share = rgba[..., 3:] / 255
    lit = rgba[..., :3] * np.linspace(1.05, 0.9, side)[:, None]
    noise = np.random.default_rng(seed).normal(0, 1.5, (side, side, 3))
    return np.clip(lit * share + 90 * (1 - share) + noise, 0, 255).astype(np.uint8)


def off(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(…,) root mean square distance in pixels of the face at poses `found` and `truth` (…, 6)."""
    points = head().mean_shape[head().region("face") > 0.5][::50]
    at = [project(points @ np.swapaxes(rotation_matrix(pose[..., :3]), -1, -2) + pose[..., None, 3:], FOCAL,
                  np.full(2, SIDE / 2)) for pose in (found, truth)]
    return np.sqrt(((at[0] - at[1]) ** 2).sum(-1).mean(-1))


def test_a_moved_face_is_found_back(drawing: FaceDrawing) -> None:
    truth, said = PLACE.copy(), rest(jawOpen=0.2)
    real = photographed(drawing, said, truth)
    begun = truth + np.array([*np.radians([0.4, -0.5, 0.3]), 0.0004, -0.0003, 0.002])
    asked = polish_frame.channels(head().names)
    found = polish_frame.align(drawing, said - rest(jawOpen=0.06), begun, real, 75.0, asked)
    assert found is not None and found.after < 0.5 * found.before
    assert off(found.pose, truth) < 0.3 * off(begun, truth)
    assert abs(found.expression - said)[head().names.index("jawOpen")] < 0.03
    assert found.information.shape == (6 + len(asked),) * 2 and np.linalg.eigvalsh(found.information).min() > 0
    still = polish_frame.align(drawing, said, truth, real, 75.0, asked)
    assert still is not None and off(still.pose, truth) < 0.06


def test_a_covered_face_is_put_back_by_the_rest_of_it(drawing: FaceDrawing) -> None:
    real = photographed(drawing, rest(), PLACE)
    real[SIDE // 2 + 8:] = 30
    begun = PLACE + np.array([0, np.radians(0.5), 0, 0.0004, 0, 0])
    found = polish_frame.align(drawing, rest(), begun, real, 75.0, polish_frame.channels(head().names))
    assert found is not None and off(found.pose, PLACE) < 0.6 * off(begun, PLACE)


def test_eyes_tell_where_they_look_and_nothing_else(drawing: FaceDrawing) -> None:
    looks, begun = (rest(eyeLookInLeft=0.3 * share, eyeLookOutRight=0.3 * share) for share in (1, 0.4))
    asked = polish_frame.channels(head().names)
    real = photographed(drawing, looks, PLACE, side=2 * SIDE)
    found = polish_frame.align(drawing, begun, PLACE, real, 150.0, asked)
    assert found is not None and off(found.pose, PLACE) < 0.06
    for name in ("eyeLookInLeft", "eyeLookOutRight"):
        assert found.expression[head().names.index(name)] > 0.2
    others = [k for k, name in enumerate(head().names) if not name.startswith("eye")]
    assert np.abs(found.expression[others]).max() < 0.05


def clip(frames: int = FRAMES) -> FaceTrack:
    """A head that turns slowly and speaks, as it is."""
    time, model = np.arange(frames), head()
    pose = np.tile(PLACE, (frames, 1))
    pose[:, 1] += 0.05 * np.sin(time / 8)
    expression = np.zeros((frames, len(model.names)), np.float32)
    expression[:, model.names.index("jawOpen")] = 0.2 + 0.15 * np.sin(time / 4)
    shape = deform(model.mean_shape, model.expression_basis, expression)[:, model.landmark_vertex]
    points = np.zeros((frames, 478, 3), np.float32)
    at = project(shape @ rotation_matrix(pose[:, :3]).transpose(0, 2, 1) + pose[:, None, 3:], FOCAL,
                 np.full(2, SIDE / 2))
    points[:, :at.shape[1], :2] = at[:, :478]
    points[:, at.shape[1]:, :2] = at[:, :1]
    return FaceTrack(np.array(25.0), np.array([SIDE, SIDE], np.int32), np.array(FOCAL), points,
                     np.ones(frames, np.float32), expression, np.array(model.names), pose[:, :3].astype(np.float32),
                     pose[:, 3:].astype(np.float32), np.zeros(len(model.identity_basis), np.float32),
                     np.zeros_like(model.mean_shape), np.zeros(len(model.texture_basis), np.float32),
                     np.zeros((9, 3), np.float32), np.array([0, 0, SIDE], np.float32))


def shaken(track: FaceTrack) -> FaceTrack:
    """As landmarks have it: a little off, differently in each frame."""
    random = np.random.default_rng(5)
    turn, move = (random.normal(0, 1, (len(track), 3)) for _ in range(2))
    return replace(track, rotation=(track.rotation + np.radians(0.35) * turn).astype(np.float32),
                   translation=(track.translation + move * [0.0002, 0.0002, 0.0015]).astype(np.float32))


def test_a_clip_is_polished_and_steadier(drawing: FaceDrawing) -> None:
    truth = clip()
    frames = [photographed(drawing, truth.expression[t], truth.pose()[t].astype(float), t) for t in range(FRAMES)]
    began, seen = shaken(truth), []
    began.confidence[7] = 0
    found = polish(began, frames, drawing, progress=lambda done, total: seen.append((done, total)))
    assert found.kept and found.after < 0.7 * found.before and found.facts()["kept"]
    errors = off(found.track.pose(), truth.pose()), off(began.pose(), truth.pose())
    assert np.sqrt((errors[0] ** 2).mean()) < 0.4 * np.sqrt((errors[1] ** 2).mean())
    jitter = [np.abs(np.diff(track.rotation, n=2, axis=0)).mean() for track in (found.track, began, truth)]
    assert jitter[0] < 0.4 * jitter[1] and jitter[0] < 3 * jitter[2]
    jaw = head().names.index("jawOpen")
    assert np.corrcoef(found.track.expression[:, jaw], truth.expression[:, jaw])[0, 1] > 0.98
    assert seen[-1][0] == seen[-1][1] and found.track.landmarks is began.landmarks


def test_what_shows_no_such_face_changes_nothing(drawing: FaceDrawing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polishing, "LEAST_FRAMES", 10)
    truth, random = clip(10), np.random.default_rng(0)
    noise = [random.integers(0, 255, (SIDE, SIDE, 3)).astype(np.uint8) for _ in range(10)]
    found = polish(truth, noise, drawing)
    assert not found.kept and found.track is truth
    few = clip(5)
    assert polish(few, noise[:5], drawing).track is few
    hidden = replace(truth, confidence=np.zeros(10, np.float32))
    assert polish(hidden, noise, drawing).track is hidden


def test_a_user_can_stop_it(drawing: FaceDrawing) -> None:
    def stop(done: int, total: int) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        polish(clip(), [np.zeros((SIDE, SIDE, 3), np.uint8)] * FRAMES, drawing, progress=stop)


def test_only_by_a_character_that_lives(drawing: FaceDrawing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def make(track, frames, model, folder):
        made.append(len(track))
        return drawing.character

    monkeypatch.setattr(polishing, "make_character", make)
    track = clip(30)
    assert polished_track(track, [], head(), tmp_path, known=26).track is track and made == [26]
    assert polished_track(clip(10), [], head(), tmp_path).kept is False and made == [26]


def test_rest_is_steady_and_nods_stay() -> None:
    random, time = np.random.default_rng(2), np.arange(120)
    truth = np.zeros((120, 6))
    truth[60:, 0] = np.radians(6)
    truth[:, 3] = 0.002 * np.where(time > 90, np.sin(time / 2), 0)
    spread = np.array([np.radians(0.1)] * 3 + [0.0001] * 3)
    seen = truth + random.normal(0, 1, truth.shape) * spread
    known = np.tile(np.diag(1 / spread**2), (120, 1, 1))
    found = steady(seen, known, [slice(0, 60), slice(60, 120)], 25.0)
    assert np.sqrt(((found - truth)[:85] ** 2).mean(0) / spread**2).max() < 0.8
    assert np.sqrt(((found - truth)[95:, 3] ** 2).mean()) < 1.3 * spread[3]
    np.testing.assert_allclose(np.abs(found[60, 0] - found[59, 0]), np.radians(6), atol=np.radians(0.3))
    whole = steady(seen, known, [slice(0, 120)], 25.0)
    assert np.abs(whole[[57, 62], 0] - truth[[57, 62], 0]).max() < np.radians(0.3)
    assert (steady(seen[:2], known[:2], [slice(0, 2)], 25.0) == seen[:2]).all()
