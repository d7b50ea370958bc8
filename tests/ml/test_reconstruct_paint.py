"""Colours of eyes and mouth from pixels, masks of a head's parts, and the texture of many frames."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from ml_backend.reconstruct import paint, person, texture, unwrap
from ml_backend.reconstruct.points import IRIS_LEFT, IRIS_RIGHT
from ml_backend.reconstruct.posed import neutral_shape, place
from tests.ml.reconstruct_toys import LIGHT, head, picture
from tests.ml.test_reconstruct_colour import known_track


def posed(track, frames):
    """The head over its frames."""
    rest, triangles = neutral_shape(track, head()), head().triangles()
    return rest, [place(track, head(), number, frames[number], rest, triangles) for number in range(len(track))]


def test_light_in_the_mouth_is_the_rigs() -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from addon.core.shading import CLOSED, OPENERS

    assert (paint.OPENERS, paint.CLOSED) == (OPENERS, CLOSED)
    weights = np.zeros(len(head().names))
    weights[head().names.index("jawOpen")] = 0.2
    assert paint.opening(head(), weights) == pytest.approx(0.65)


def test_irises_get_the_persons_colour() -> None:
    model = head()
    track = known_track(np.array([[0, 0, 0, 0, 0, 0.25]], float))
    frame = picture(track.expression[0], np.array([0, 0, 0, 0, 0, 0.25]))
    flat = track.landmarks[0, :, :2]
    for iris in (IRIS_RIGHT, IRIS_LEFT):
        radius = np.linalg.norm(flat[iris + 1:iris + 5] - flat[iris], axis=1).mean()
        cv2.circle(frame, tuple(int(v) for v in flat[iris].round()), int(radius), (20, 60, 200), -1)
    rest, views = posed(track, [frame])
    before = model.texture_mean.clip(0, 1)
    after = paint.inner_colours(views, track, model, rest, before, LIGHT)
    ball = model.part("eye_left")
    radius = paint._radii(model, ball, IRIS_LEFT)
    iris = after[ball][(radius > 0.4) & (radius < 1.03)].mean(0)
    assert iris[2] > 2 * iris[1] > 2 * iris[0]
    assert after[ball][radius > 2.5] == pytest.approx(before[ball][radius > 2.5], abs=0.2)
    assert np.array_equal(after[model.part("skin")], before[model.part("skin")])


def test_many_frames_tell_what_a_round_eye_does_not_have() -> None:
    model, many = head(), 12
    track = known_track(np.tile([0, 0, 0, 0, 0, 0.25], (many, 1)).astype(float))
    frame = picture(track.expression[0], np.array([0, 0, 0, 0, 0, 0.25]))
    x, y = track.landmarks[0, IRIS_LEFT, :2]
    outer = frame[:, int(x):]
    outer[int(y) - 30:int(y) + 30] = (200, 40, 40)
    before = model.texture_mean.clip(0, 1)
    ball = model.part("eye_left")
    side = model.mean_shape[:, 0] - model.mean_shape[ball, 0].mean()
    red = {}
    for count in (1, many):
        rest, views = posed(track, [frame] * many)
        after = paint.inner_colours(views[:count], track, model, rest, before, LIGHT)
        hue = (after[:, 0] - after[:, 1])[:, None] * (ball & (np.abs(side) > 0.002) & (np.abs(side) < 0.008))[:, None]
        red[count] = hue[side > 0].sum() - hue[side < 0].sum()
    assert red[many] > 1.5 * red[1] > 0


def test_teeth_take_the_tone_they_are_seen_in() -> None:
    model = head()
    pose = np.array([[0, 0, 0, 0, 0, 0.25]], float)
    track = known_track(pose, jawOpen=np.array([0.8]))
    frame = np.full_like(picture(track.expression[0], pose[0]), (90, 60, 30))
    rest, views = posed(track, [frame])
    before = model.texture_mean.clip(0, 1)
    after = paint.inner_colours(views, track, model, rest, before, LIGHT)
    gain = after[model.part("teeth_upper")].mean(0) / before[model.part("teeth_upper")].mean(0)
    assert gain[0] > 1.3 * gain[1] > 1.3 * gain[2]


def test_frames_for_the_texture_differ() -> None:
    frames = 60
    pose = np.zeros((frames, 6))
    pose[:, 5], pose[20:30, 1], pose[30:40, 1] = 0.5, 0.3, -0.3
    shut = np.zeros(frames)
    shut[45:48] = 0.9
    track = known_track(pose, eyeBlinkLeft=shut, eyeBlinkRight=shut)
    still = [np.zeros((280, 320, 3), np.uint8)] * frames
    chosen = texture.texture_frames(track, head(), still)
    assert abs(track.rotation[chosen[0], 1]) < 0.01
    assert {round(float(track.rotation[number, 1]), 1) for number in chosen} == {0.0, 0.3, -0.3}
    assert max(shut[chosen]) > 0.8 and len(chosen) == len(set(chosen)) <= texture.MOST_FRAMES


def test_a_hand_in_one_frame_is_outvoted() -> None:
    seen = np.full((5, 40, 3), 0.5)
    seen[2] = 0.95
    total, colour = unwrap._agreed(seen, np.ones((5, 40)))
    assert total == pytest.approx(5) and np.abs(colour - 0.5).max() < 0.01


def test_parts_of_a_head_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    model = head()
    track = known_track(np.array([[0, 0, 0, 0, 0, 0.7]], float))
    frame = np.full((280, 320, 3), 200, np.uint8)
    flat = track.landmarks[0, :, :2]
    middle, tall = flat.mean(0), float(np.ptp(flat[:, 1]))
    x, y = (int(value) for value in middle.round())
    half = int(0.55 * tall)
    # Hair, neck, a shirt, and skin over it all.
    cv2.circle(frame, (x, y - half // 3), int(1.6 * half), (30, 20, 15), -1)
    cv2.rectangle(frame, (x - half // 2, y), (x + half // 2, y + int(2.1 * half)), (210, 160, 130), -1)
    cv2.rectangle(frame, (x - 2 * half, y + int(1.9 * half)), (x + 2 * half, 279), (40, 60, 190), -1)
    cv2.ellipse(frame, (x, y), (int(0.8 * half), half), 0, 0, 360, (210, 160, 130), -1)
    shown = (frame != 200).any(-1).astype(np.float32)
    monkeypatch.setattr(person, "person_mask", lambda image, window=None: shown)
    _, views = posed(track, [frame])
    found = person.head_masks(views[0], track.landmarks[0], model)
    assert found.face[y, x] > 0.9 and found.hair[y - int(1.7 * half), x] > 0.9
    assert found.neck[y + int(1.5 * half), x] > 0.8 and found.body[270, x + half] > 0.9
    total = found.face + found.hair + found.neck + found.body
    assert np.abs(total - shown).max() < 0.02
    assert np.array_equal(found.head, found.hair + found.neck)


def test_a_head_at_the_pictures_edge_has_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    track = known_track(np.array([[0, 0, 0, -0.2, -0.15, 0.6]], float))
    frame = picture(track.expression[0], np.array([0, 0, 0, -0.2, -0.15, 0.6]))
    monkeypatch.setattr(person, "person_mask", lambda image, window=None: np.ones(image.shape[:2], np.float32))
    _, views = posed(track, [frame])
    found = person.head_masks(replace(views[0]), track.landmarks[0], head())
    assert all(np.isfinite(mask).all() for mask in (found.face, found.hair, found.neck, found.body))
