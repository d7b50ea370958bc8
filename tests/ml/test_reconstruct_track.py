"""MediaPipe on pictures of the built-in head: the way from frames to a FaceTrack, and what goes wrong on it."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from ml_backend.artefacts import face_track
from ml_backend.errors import UserInputError
from ml_backend.reconstruct import landmarks, mesh, tracklets
from ml_backend.reconstruct.track import crop_square, track_clip, track_with_cuts
from ml_backend.reconstruct.tracklets import Sighting
from tests.ml.reconstruct_toys import SIZE, head, picture, weights

pytest.importorskip("mediapipe")
HERE = np.array([0, 0.05, 0, 0, 0.01, 0.5])


@pytest.fixture(scope="module")
def clip() -> list[np.ndarray]:
    jaw = [0.0, 0.25, 0.6, 0.6, 0.25, 0.0, 0.0, 0.3]
    drift = np.array([0, 0.02, 0, 0.002, 0, 0])
    return [picture(weights(1, jawOpen=value)[0], HERE + t * drift) for t, value in enumerate(jaw)]


def test_clip_to_track(clip, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    track = track_clip(clip, head(), fps=25.0, progress=lambda done, total: calls.append((done, total)))
    face_track.save(track, tmp_path / "track.npz")
    assert len(face_track.load(tmp_path / "track.npz")) == len(clip)
    jaw = track.expression[:, head().names.index("jawOpen")]
    assert jaw[2] > jaw[0] + 0.2 and jaw[5] < 0.2
    assert (track.confidence == 1).all()
    assert track.rotation[-1, 1] > track.rotation[0, 1]
    assert track.crop[2] % 2 == 0 and track.crop[2] <= min(SIZE)
    done, total = zip(*calls, strict=True)
    assert len(set(total)) == 1 and list(done) == sorted(done) and done[-1] == total[0]


def test_photo_grey_and_odd_size(clip) -> None:
    grey = np.repeat(clip[0][:277, 1:310].mean(-1, keepdims=True).astype(np.uint8), 3, 2)
    track = track_clip([grey], head())
    assert len(track) == 1 and track.light.shape == (9, 3) and np.isfinite(track.light).all()


def test_lost_face_is_bridged(clip) -> None:
    empty = np.full_like(clip[0], 90)
    said: list[str] = []
    track = track_clip([*clip[:4], empty, empty, *clip[4:]], head(), warn=said.append)
    assert (track.confidence[4:6] == 0).all() and (track.confidence[[3, 6]] > 0).all()
    assert any("2 of 10 frames" in sentence for sentence in said)


def test_no_face_and_mostly_no_face(clip) -> None:
    empty = np.full_like(clip[0], 90)
    with pytest.raises(UserInputError, match=r"No face was found in wall\.mp4"):
        track_clip([empty] * 3, head(), source="wall.mp4")
    with pytest.raises(UserInputError, match="lost in"):
        track_clip([*clip[:2], *[empty] * 5], head())
    with pytest.raises(UserInputError, match="no picture"):
        track_clip([], head())


def test_two_faces_one_is_followed(clip) -> None:
    other = np.pad(cv2.resize(clip[0], None, fx=0.8, fy=0.8), ((28, 28), (0, 0), (0, 0)), mode="edge")
    left = [np.concatenate([frame, other], 1) for frame in clip]
    found = landmarks.detect(left)
    assert (found.landmarks[:, :, 0].max(1) < SIZE[0]).all()
    assert any("2 faces" in sentence for sentence in found.warnings)


def test_tiny_face_in_a_large_frame(clip) -> None:
    small = cv2.resize(clip[0], None, fx=0.45, fy=0.45, interpolation=cv2.INTER_AREA)
    wide = np.full((720, 1280, 3), 90, np.uint8)
    wide[500:500 + small.shape[0], 900:900 + small.shape[1]] = small
    points = landmarks.detect([wide] * 2).landmarks[0]
    truth = landmarks.detect([clip[0]]).landmarks[0, :, :2] * 0.45 + [900, 500]
    assert np.linalg.norm(points[:468, :2] - truth[:468], axis=1).mean() < 2.5


def test_mediapipe_keeps_quiet(clip, capfd) -> None:
    landmarks.detect(clip[:2])
    assert capfd.readouterr().err == ""


def test_quiet_gives_the_error_stream_back(capfd) -> None:
    with mesh.quiet():
        os.write(2, b"chatter")
    os.write(2, b"kept")
    assert capfd.readouterr().err == "kept"


def test_points_are_read_alike_from_bytes_and_fields() -> None:
    from mediapipe.framework.formats import landmark_pb2

    whole, partial = landmark_pb2.NormalizedLandmarkList(), landmark_pb2.NormalizedLandmarkList()
    for x, y, z in ((0.25, -0.5, 0.0), (0.125, 2.0, -1.0)):
        whole.landmark.add(x=x, y=y, z=z)
        partial.landmark.add(x=x, y=y, z=z, visibility=0.5)
    expected = [[0.25, -0.5, 0.0], [0.125, 2.0, -1.0]]
    assert mesh.points_of(whole).tolist() == expected and mesh.points_of(partial).tolist() == expected


def test_the_larger_of_two_is_followed_across_a_swap() -> None:
    rng = np.random.default_rng(0)
    shape = rng.normal(size=(478, 3)).astype(np.float32)
    near, far = shape * 30 + [100, 100, 0], shape * 18 + [400, 100, 0]
    seen = [Sighting.of(t, face) for t in range(0, 40, 2) for face in ((near, far) if t % 4 else (far, near))]
    found = tracklets.people(seen, [slice(0, 40)])
    assert [tracklets.choose(found, face, "x") for face in ("largest", "left", "right", "1", "2")] == [0, 0, 1, 0, 1]
    assert all(np.allclose(sighting.points, near, atol=1e-3) for sighting in found[0])
    with pytest.raises(UserInputError, match="no face 3 in x, where 2 faces"):
        tracklets.choose(found, "3", "x")


def test_people_are_known_again_after_a_cut() -> None:
    rng = np.random.default_rng(1)
    ann, ben = (rng.normal(size=(478, 3)).astype(np.float32) * 30 for _ in range(2))
    left, right = ann + np.array([100, 100, 0]), ben + np.array([400, 90, 0])
    seen = [Sighting.of(t, face) for t in (0, 6) for face in (left, right)]
    seen += [Sighting.of(t, ben * 1.5 + np.array([220, 200, 0])) for t in (10, 16, 19)]
    shots = [slice(0, 10), slice(10, 20)]
    found = tracklets.people(seen, shots)
    assert [[sighting.frame for sighting in person] for person in found] == [[0, 6], [0, 6, 10, 16, 19]]
    boxes = tracklets.boxes(found[0], shots, 20, 2)
    assert np.isfinite(boxes[:9]).all() and np.isnan(boxes[9:]).all()


@pytest.mark.parametrize("word", ["0", "-1", "top", "1.5", "", "²"])
def test_a_face_that_is_none(word: str) -> None:
    with pytest.raises(UserInputError, match="--face"):
        tracklets.check_face(word)


def test_each_of_two_faces_can_be_chosen(clip) -> None:
    other = np.pad(cv2.resize(clip[0], None, fx=0.8, fy=0.8), ((28, 28), (0, 0), (0, 0)), mode="edge")
    both = [np.concatenate([frame, other], 1) for frame in clip[:4]]
    middle = {face: landmarks.detect(both, face=face).landmarks[..., 0].mean() for face in ("left", "right", "2")}
    assert middle["left"] < SIZE[0] < middle["right"] == middle["2"]
    with pytest.raises(UserInputError, match="no face 3"):
        landmarks.detect(both, face="3")


def test_tracking_starts_afresh_at_a_cut(clip) -> None:
    # Brighter, the face elsewhere: a tracker that goes on looks where nothing is.
    other = [np.clip(np.roll(frame, SIZE[0] // 4, axis=1).astype(int) + 60, 0, 255).astype(np.uint8) for frame in clip]
    track, cuts = track_with_cuts([*clip, *other], head(), fps=25.0)
    assert np.flatnonzero(cuts).tolist() == [len(clip)]
    assert (track.confidence > 0).all()
    before, after = track.landmarks[len(clip) - 1, :, 0].mean(), track.landmarks[len(clip), :, 0].mean()
    assert abs(after - before - SIZE[0] // 4) < 12


def test_crop_is_even_and_inside() -> None:
    points = np.zeros((3, 478, 3))
    points[..., 0], points[..., 1] = np.linspace(10, 110, 478), np.linspace(20, 150, 478)
    x, y, side = crop_square(points, np.array([201, 333]))
    assert side % 2 == 0 and x >= 0 and y >= 0 and x + side <= 201 and y + side <= 333
    assert side == pytest.approx(130 * 1.55, abs=3)
