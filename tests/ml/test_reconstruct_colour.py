"""Light, texture, rasteriser and Character from pictures of the head under a known light."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from ml_backend.artefacts import character as character_file
from ml_backend.artefacts.face_track import FaceTrack
from ml_backend.errors import UserInputError
from ml_backend.face_model.synthesis import spherical_harmonics
from ml_backend.reconstruct import illumination, texture, unwrap
from ml_backend.reconstruct.posed import neutral_shape, place, sample
from ml_backend.reconstruct.raster import cover
from tests.ml.reconstruct_toys import FOCAL, LIGHT, SIZE, head, landmarks, picture, weights


def known_track(pose: np.ndarray, **channels) -> FaceTrack:
    """A FaceTrack that is exactly what `picture` draws."""
    model, frames = head(), len(pose)
    expression = weights(frames, **channels)
    none = np.zeros(len(model.identity_basis))
    return FaceTrack(np.array(25.0), SIZE.astype(np.int32), np.array(FOCAL), landmarks(expression, pose, none),
                     np.ones(frames, np.float32), expression.astype(np.float32), np.array(model.names),
                     pose[:, :3].astype(np.float32), pose[:, 3:].astype(np.float32), none.astype(np.float32),
                     np.zeros_like(model.mean_shape), np.zeros(len(model.texture_basis), np.float32),
                     LIGHT.astype(np.float32), np.array([0, 0, 280], np.float32))


@pytest.fixture(scope="module")
def scene():
    pose = np.array([[0, 0, 0, 0, 0, 0.5], [0, 0.35, 0, 0, 0, 0.5], [0, -0.35, 0, 0, 0, 0.5]], float)
    track = known_track(pose)
    return track, [picture(track.expression[t], pose[t]) for t in range(3)]


def test_light_is_recovered(scene) -> None:
    track, frames = scene
    model = head()
    rest, triangles = neutral_shape(track, model), model.triangles()
    views = [place(track, model, t, frames[t], rest, triangles) for t in range(3)]
    light, coefficients = illumination.estimate(views, model)
    normals = views[0].normals[(illumination.skin_trust(model) > 0.5) & (views[0].facing > 0.3)]
    truth, got = spherical_harmonics(normals) @ LIGHT, spherical_harmonics(normals) @ light
    assert np.corrcoef(truth[:, 0], got[:, 0])[0, 1] > 0.95
    # Brightness may be shared out differently between light and skin; their product may not.
    seen = (illumination.skin_trust(model) > 0.5) & (views[0].facing > 0.3)
    colour = illumination.albedo(model, coefficients)[seen] * got
    assert np.abs(colour - model.texture_mean[seen] * truth).mean() < 0.03


def test_irradiance_stays_positive_in_hard_light() -> None:
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(500, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    hard = np.clip(normals[:, :1] * 1.4, 0, 1).repeat(3, 1) * 0.7
    light = illumination._positive(hard, np.full((500, 3), 0.7), spherical_harmonics(normals), np.ones(500))
    every = rng.normal(size=(800, 3))
    every /= np.linalg.norm(every, axis=1, keepdims=True)
    assert (spherical_harmonics(every) @ light).min() > 0


def test_character_files(scene, tmp_path: Path) -> None:
    track, frames = scene
    folder = tmp_path / "ein Gesicht äöü"
    made = texture.make_character(track, frames, head(), folder)
    again = character_file.load(folder / "character.npz")
    assert np.array_equal(made.neutral_shape, again.neutral_shape)
    coded = np.frombuffer((folder / str(again.detailed_albedo)).read_bytes(), np.uint8)
    sheet = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    assert sheet.shape[0] == sheet.shape[1] == texture.texture_side(track)
    assert sorted(path.name for path in folder.iterdir()) == ["character.npz", "detailed_albedo.png"]


def test_detailed_albedo_is_the_skin_without_the_light(scene) -> None:
    track, frames = scene
    model = head()
    rest, triangles = neutral_shape(track, model), model.triangles()
    views = [place(track, model, t, frames[t], rest, triangles) for t in range(3)]
    sheet, scale = unwrap.detailed_albedo(views, model, model.texture_mean, LIGHT, 256)
    chart = unwrap.chart(model, 256)
    truth = chart.cover.image(chart.cover.interpolate(model.texture_mean.astype(float), chart.triangles))
    face = chart.cover.image(chart.cover.interpolate(model.region("face")[:, None], chart.triangles))[..., 0] > 0.9
    error = np.abs(sheet / 255.0 * scale - truth)[face]
    assert error.mean() < 0.04
    assert np.isfinite(sheet).all() and sheet.min(-1)[face].mean() > 10


def test_unwritable_folder_is_a_user_error(scene, tmp_path: Path) -> None:
    track, frames = scene
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserInputError, match="Can't write"):
        texture.make_character(track, frames, head(), tmp_path / "file")


def test_texture_comes_from_the_calm_frontal_frame() -> None:
    pose = np.array([[0, 0.5, 0, 0, 0, 0.5], [0, 0, 0, 0, 0, 0.5], [0, 0, 0, 0, 0, 0.5]], float)
    track = known_track(pose, jawOpen=np.array([0, 0.8, 0]))
    frames = [picture(track.expression[t], pose[t]) for t in range(3)]
    assert texture.texture_frames(track, head(), frames)[0] == 2


def test_blink_statistics() -> None:
    frames = 750
    shut = np.zeros(frames)
    for start in range(20, 740, 72):
        shut[start:start + 5] = 1
    track = known_track(np.tile([0, 0, 0, 0, 0, 0.5], (frames, 1)).astype(float), eyeBlinkLeft=shut, eyeBlinkRight=shut)
    rate, duration = texture.blink_statistics(track)
    assert rate == pytest.approx(10 / 30, abs=0.05) and duration == pytest.approx(0.2, abs=0.01)


def test_a_photo_has_usual_blinks() -> None:
    rate, duration = texture.blink_statistics(known_track(np.array([[0, 0, 0, 0, 0, 0.5]])))
    assert 0.2 < rate < 0.4 and duration == pytest.approx(0.2)


def test_rasteriser_draws_the_nearest_and_weighs_corners() -> None:
    square = np.array([[[0, 0], [20, 0], [0, 20]], [[0, 0], [20, 0], [0, 20]]], float)
    drawn = cover(square, (24, 24), depth=np.array([[2.0] * 3, [1.0] * 3]))
    assert set(drawn.triangle) == {1}
    assert drawn.weights.sum(1) == pytest.approx(1)
    values = drawn.interpolate(np.array([[0.0, 0], [20, 0], [0, 20]]), np.array([[0, 1, 2], [0, 1, 2]]))
    where = np.stack([drawn.pixel % 24, drawn.pixel // 24], 1)
    inner = (where.sum(1) < 19)
    assert np.abs(values - where)[inner].max() < 0.05


def test_bilinear_sampling_between_pixels() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    image[1, 2] = 200
    got = sample(image, np.array([[2.0, 1.0], [1.5, 1.0], [0.0, 3.0]]))[:, 0] * 255
    assert got == pytest.approx([200, 100, 0], abs=2)


def test_push_pull_keeps_the_known_and_fills_the_rest() -> None:
    values, known = np.zeros((33, 50, 1), np.float32), np.zeros((33, 50), np.float32)
    values[:, :10], known[:, :10] = 0.6, 1
    filled = unwrap.push_pull(values, known)
    assert filled[:, :9] == pytest.approx(0.6, abs=1e-4) and filled[:, 20:] == pytest.approx(0.6, abs=1e-3)
