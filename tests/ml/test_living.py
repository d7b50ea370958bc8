"""The texture that lives: modes found, how many, refused where nothing tells, and drawn back as they were seen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ml_backend.artefacts import character as character_file
from ml_backend.artefacts.face_track import FaceTrack
from ml_backend.errors import ArtefactError
from ml_backend.prepare.drawing import FaceDrawing
from ml_backend.reconstruct import enliven, living, observed, texture
from ml_backend.reconstruct.observed import Seen, face_texels
from tests.ml.reconstruct_toys import head, picture
from tests.ml.test_reconstruct_colour import known_track

FRAMES, TEXELS = 60, 300


def moving(frames: int = FRAMES) -> tuple[np.ndarray, np.ndarray]:
    """Names and values of features of which two move, as `living.features` has them."""
    names = np.array([*map(str, head().names), "pitch", "yaw", "roll"])
    values = np.zeros((frames, len(names)))
    time = np.arange(frames)
    values[:, list(names).index("jawOpen")] = 0.3 + 0.3 * np.sin(time / 3)
    values[:, list(names).index("yaw")] = 0.2 * np.cos(time / 5)
    return names, values


def shown(change: np.ndarray, seed: int = 0) -> Seen:
    """Residuals of `TEXELS` texels: a mean, `change` (F, C) times pictures of their own, and noise."""
    random = np.random.default_rng(seed)
    middle, pictures = random.normal(0, 0.1, (TEXELS, 3)), random.normal(0, 0.1, (change.shape[1], TEXELS, 3))
    residual = middle + np.tensordot(change, pictures, 1) + random.normal(0, 0.02, (len(change), TEXELS, 3))
    weight = np.ones((len(change), TEXELS), np.float32)
    weight[:, :20] = 0
    return Seen(residual.astype(np.float32), weight)


def test_modes_follow_what_moves_them() -> None:
    names, values = moving()
    change = np.stack([3 * (values[:, list(names).index("jawOpen")] - 0.3), 5 * values[:, -2]], 1)
    seen = shown(change)
    found = living.fit(seen, seen, names, values)
    assert found is not None and 2 <= len(found.modes) <= 4
    drive = found.drive
    assert {"jawOpen", "yaw"} <= set(drive.names) and len(drive.names) <= living.MOST_FEATURES
    columns = [list(names).index(name) for name in drive.names]
    weights = np.clip(values[:, columns] @ drive.gains.T + drive.offset, drive.limits[:, 0], drive.limits[:, 1])
    drawn = found.middle + np.tensordot(weights, found.modes, 1)
    left = np.sqrt(((drawn - seen.residual)[:, 20:] ** 2).mean())
    assert left < 0.035 < np.sqrt(((seen.residual - seen.residual.mean(0))[:, 20:] ** 2).mean())
    assert not found.middle[:20].any() and not found.modes[:, :20].any()


def test_noise_and_short_clips_have_no_modes() -> None:
    names, values = moving()
    noise = shown(np.random.default_rng(1).normal(size=(FRAMES, 3)))
    assert living.fit(noise, noise, names, values) is None
    names, values = moving(living.LEAST_FRAMES - 1)
    seen = shown(5 * values[:, -2:-1])
    assert living.fit(seen, seen, names, values) is None


@pytest.fixture(scope="module")
def flushing() -> tuple[FaceTrack, list[np.ndarray]]:
    """A clip in which the whole face loses its blue as the brows go up."""
    brow = 0.5 - 0.5 * np.cos(np.arange(30) / 2)
    pose = np.tile([0.0, 0, 0, 0, 0, 0.5], (30, 1))
    pose[:, 1] = 0.1 * np.sin(np.arange(30) / 3)
    track = known_track(pose, browInnerUp=brow)
    frames = [picture(track.expression[t], pose[t]).astype(np.float32) for t in range(30)]
    return track, [(frame * [1, 1, 1 - 0.3 * up]).astype(np.uint8) for frame, up in zip(frames, brow, strict=True)]


def test_a_character_changes_as_its_clip_did(flushing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    track, frames = flushing
    monkeypatch.setattr(enliven, "SIDE", 256)
    texture.make_character(track, frames, head(), tmp_path)
    person = character_file.load(tmp_path / "character.npz")
    assert person.lives and person.living_modes.shape[1:] == (256, 256, 3)
    drawing, rest, pose = FaceDrawing(head(), person, tmp_path), np.zeros(len(head().names)), track.pose()[0]
    raised = rest.copy()
    raised[head().names.index("browInnerUp")] = 1
    calm, blushed = (drawing.draw(weights, pose, 128).astype(float) for weights in (rest, raised))
    skin = calm[..., 3] == 255
    ratio = np.median((blushed / np.maximum(calm, 1))[skin], 0)
    assert abs(ratio[2] - 0.7) < 0.06 and abs(ratio[0] - 1) < 0.04
    # Beyond what the clip shows the change stays what it was at most.
    weights = [person.living_weights(head().names, times * raised, pose[:3]) for times in (0, 1, 3)]
    assert not np.allclose(weights[0], weights[1])
    assert (weights[2] <= person.living_limits[:, 1]).all() and (weights[2] >= person.living_limits[:, 0]).all()
    with pytest.raises(ArtefactError, match="living_scale"):
        character_file.validate(replace(person, living_scale=person.living_scale[:-1]))


def test_only_models_with_texels_for_all_come_alive() -> None:
    model = head()
    assert face_texels(model, 256).apart
    piled = replace(model, uv=np.where((model.uv[:, :1] > 0.75), np.float32(0.8), model.uv))
    assert not face_texels(piled, 256).apart


def test_teeth_before_a_tongue_have_their_own_colour() -> None:
    """A tongue keeps the model's hue, darker too; what is twice as bright is something else, and no glowing tongue."""
    plain = np.array([[0.20, 0.08, 0.06]] * 3)
    grey, dim = np.array([0.6, 0.55, 0.5]), np.array([0.05, 0.06, 0.07])
    kept, dark, teeth = observed._in_hue(np.stack([plain[0], dim, grey]), plain)
    np.testing.assert_allclose(kept, plain[0])
    np.testing.assert_allclose(dark / dark[0], plain[0] / plain[0, 0])
    assert 0 < dark[0] < plain[0, 0]
    np.testing.assert_allclose(teeth, grey)
