"""insightface as provider of landmarks and of identity: a pack of tiny networks with the real signatures."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from ml_backend import doctor, insightface_pack
from ml_backend.artefacts import face_track
from ml_backend.cli import main
from ml_backend.errors import DependencyError, UserInputError
from ml_backend.face_model.loaders.landmarks import MEDIAPIPE_OF_68
from ml_backend.reconstruct import insightface, landmarks, providers
from ml_backend.reconstruct.fit import fit_landmarks
from ml_backend.reconstruct.insightface import BETWEEN, MEDIAPIPE_OF_106, Networks
from ml_backend.reconstruct.track import track_with_cuts
from ml_backend.refine.identity import five_points, identity_encoder
from tests.ml import insightface_toys as toys
from tests.ml.reconstruct_toys import SIZE, head, weights
from tests.ml.reconstruct_toys import landmarks as toy_landmarks

pytest.importorskip("insightface")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pack where insightface itself would keep it."""
    root = tmp_path_factory.mktemp("insightface")
    toys.write_pack(root / "models" / "buffalo_l")
    return root


@pytest.fixture
def chosen(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(insightface_pack.ROOT, str(folder))
    return folder


def test_a_whole_track(chosen: Path) -> None:
    said: list[str] = []
    frames = toys.squares([[(150 + 12 * t, 200)] for t in range(12)])
    track, cuts = track_with_cuts(frames, head(), detect=providers.detector("insightface"), warn=said.append)
    face_track.validate(track)
    assert str(track.source) == "insightface det_10g, 1k3d68, 2d106det"
    assert not track.measured[468:].any() and track.measured[[0, 13, 14, 33, 159, 145, 61]].all()
    assert 60 < track.measured.sum() < 80
    assert any("gaze is unknown" in sentence for sentence in said)
    assert np.isfinite(track.landmarks).all() and not cuts.any()
    names = [str(name) for name in track.expression_names]
    jaw = track.expression[:, names.index("jawOpen")]
    assert jaw.min() > 0.3 * toys.JAW
    looks = [k for k, name in enumerate(names) if name.startswith("eyeLook")]
    assert track.expression[:, looks].max() < 0.02
    # The same picture beside the middle is a face that is turned by as much as it lies off the axis.
    off_axis = np.arctan((150 + 12 * np.arange(12) - 320) / float(track.focal))
    assert np.degrees(np.abs(track.rotation[:, 1] - off_axis - 0.1)).max() < 4
    moved = track.landmarks[-1, 4, 0] - track.landmarks[0, 4, 0]
    assert abs(moved - 11 * 12) < 40
    # The irises lie where the fitted eyes are, between the measured corners.
    iris, corners = track.landmarks[:, 468, 0], track.landmarks[:, [33, 133], 0]
    assert (corners[:, 0] < iris).all() and (iris < corners[:, 1]).all()


def test_all_points_come_back_as_the_networks_saw_them(chosen: Path) -> None:
    seen = insightface.detect(toys.squares([[(320, 240)]]))
    known = np.isfinite(seen.landmarks[0, :, 0])
    truth = toys.face()
    a, b = seen.landmarks[0, known].astype(float), truth[known]
    scale = np.ptp(a[:, 0]) / np.ptp(b[:, 0])
    a, b = a - a.mean(0), (b - b.mean(0)) * scale
    np.testing.assert_allclose(a[:, :2], b[:, :2], atol=0.02 * np.ptp(b[:, 1]))
    measured = ~np.isin(np.flatnonzero(known), list(BETWEEN))
    np.testing.assert_allclose(a[measured, 2], b[measured, 2], atol=0.03 * np.ptp(b[:, 1]))


def test_each_of_two_faces_and_none(chosen: Path) -> None:
    both = toys.squares([[(130, 240), (500, 240)]] * 4)
    left, right = (insightface.detect(both, face=face) for face in ("left", "right"))
    assert left.landmarks[0, 4, 0] < 320 < right.landmarks[0, 4, 0]
    assert any("2 faces" in sentence for sentence in insightface.detect(both).warnings)
    with pytest.raises(UserInputError, match="no face 3"):
        insightface.detect(both, face="3")
    with pytest.raises(UserInputError, match=r"No face was found in wall\.mp4"):
        insightface.detect(toys.squares([[]] * 3), source="wall.mp4")
    with pytest.raises(UserInputError, match="no picture"):
        insightface.detect([])
    grey = insightface.detect([both[0][..., 0]], face="left")
    np.testing.assert_allclose(grey.landmarks, left.landmarks[:1], atol=1e-3)


def test_a_lost_face_is_bridged_and_progress_is_told(chosen: Path) -> None:
    calls: list[tuple[int, int]] = []
    frames = toys.squares([[(300, 240)]] * 3 + [[]] * 2 + [[(300, 240)]] * 3)
    seen = insightface.detect(frames, progress=lambda done, total: calls.append((done, total)))
    assert seen.confidence.tolist() == [1, 1, 1, 0, 0, 1, 1, 1]
    done = [number for number, _ in calls]
    assert done == sorted(done) and calls[-1] == (8, 8) and {total for _, total in calls} == {8}


def test_points_that_contradict_each_other(folder: Path, tmp_path: Path) -> None:
    """A pack whose 106 points mean something else: the 68 are used, and it is said."""
    pack = toys.write_pack(tmp_path / "pack")
    order = np.random.default_rng(0).permutation(106)
    toys.write_constant(pack / "2d106det.onnx", np.random.default_rng(1).uniform(-0.5, 0.5, (106, 2))[order])
    seen = insightface.detect(toys.squares([[(320, 240)]]), networks=Networks.load(pack))
    assert any("don't fit its 68" in sentence for sentence in seen.warnings)
    (pack / "2d106det.onnx").unlink()
    less = insightface.detect(toys.squares([[(320, 240)]]), networks=Networks.load(pack))
    np.testing.assert_array_equal(seen.landmarks, less.landmarks)
    assert not any("106" in sentence for sentence in less.warnings) and less.source.endswith("1k3d68")


def test_the_fit_does_with_these_points_what_it_does_with_all() -> None:
    frames = 40
    smile = 0.6 * np.sin(np.linspace(0, np.pi, frames)) ** 2
    expression = weights(frames, jawOpen=np.linspace(0, 0.7, frames), mouthSmileLeft=smile, mouthSmileRight=smile)
    expression[20:23, head().names.index("eyeBlinkLeft")] = 1
    expression[20:23, head().names.index("eyeBlinkRight")] = 1
    pose = np.tile([0.05, 0.0, 0.02, 0.01, 0.0, 0.55], (frames, 1))
    pose[:, 1] = np.linspace(-0.3, 0.3, frames)
    points = toy_landmarks(expression, pose, np.zeros(len(head().identity_basis)), noise=0.3)
    unseen = np.setdiff1d(np.arange(478), [*MEDIAPIPE_OF_106.values(), *MEDIAPIPE_OF_68.values()])
    points[:, unseen] = np.nan
    fit = fit_landmarks(points, SIZE, head(), 25.0)
    assert np.degrees(np.abs(fit.rotation - pose[:, :3])).max() < 3
    names = head().names
    for name, least in (("jawOpen", 0.97), ("eyeBlinkLeft", 0.8), ("mouthSmileLeft", 0.9)):
        k = names.index(name)
        assert np.corrcoef(fit.expression[:, k], expression[:, k])[0, 1] > least
    whole = toy_landmarks(expression, pose, np.zeros(len(head().identity_basis)))
    assert np.median(np.linalg.norm((fit.landmarks - whole)[..., :2], axis=-1)) < 3


def test_the_command_line(chosen: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    photo, out = tmp_path / "photo.png", tmp_path / "track.npz"
    cv2.imwrite(str(photo), toys.squares([[(320, 240)]])[0])
    monkeypatch.setenv(insightface_pack.ROOT, str(tmp_path / "nowhere"))
    words = ["track", str(photo), "--out", str(out), "--landmarks", "insightface"]
    assert main(words) == 2
    said = capsys.readouterr().err
    for part in ("--landmarks insightface needs det_10g.onnx", str(tmp_path / "nowhere"), "buffalo_l", "non-commercial",
                 insightface_pack.ROOT, "--insightface-root"):
        assert part in said
    assert not out.exists() and sum("parley: " in line for line in said.splitlines()) == 1
    assert main([*words, "--insightface-root", str(chosen)]) == 0
    assert "gaze is unknown" in capsys.readouterr().err
    assert not face_track.load(out).measured[468:].any()


def test_a_pack_of_any_layout_is_found(tmp_path: Path) -> None:
    for place in (".", "buffalo_l", "models/antelopev2"):
        root = tmp_path / place.replace("/", "_").replace(".", "flat")
        toys.write_pack(root / place)
        assert insightface_pack.find(root, insightface_pack.RECOGNITION).name == "w600k_r50.onnx"


def test_absent_and_damaged_packs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pack = toys.write_pack(tmp_path / "pack", without=["1k3d68.onnx"])
    with pytest.raises(DependencyError, match=r"needs 1k3d68\.onnx .* has no such network"):
        Networks.load(pack)
    (pack / "1k3d68.onnx").write_bytes((pack / "det_10g.onnx").read_bytes()[:200])
    with pytest.raises(UserInputError, match=r"1k3d68\.onnx can't be loaded.*again\."):
        Networks.load(pack)
    with pytest.raises(UserInputError, match="none of mediapipe, insightface"):
        providers.detector("dlib")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DependencyError, match="where there is none"):
        Networks.load(tmp_path / "empty")
    monkeypatch.setenv(insightface_pack.ROOT, str(pack))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DependencyError, match=r"pip install 'parley\[identity\]'"):
        providers.detector("insightface")


def test_mediapipe_is_the_default() -> None:
    assert providers.detector("mediapipe") is landmarks.detect
    assert providers.key(landmarks.detect) == "mediapipe"


def test_what_a_cached_track_depends_on(chosen: Path) -> None:
    key = providers.key(providers.detector("insightface"))
    assert len(key) == 3 and all(entry.split()[0].endswith(".onnx") for entry in key)


def test_identity(chosen: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = identity_encoder("auto")
    assert encoder.name == "arcface-w600k_r50"
    frames = [np.full((200, 200, 3), colour, np.uint8) for colour in ((255, 0, 0), (0, 0, 255), (9, 9, 9))]
    mesh = toys.face()[:, :2].astype(np.float32)
    features = encoder.encode(frames, np.stack([mesh, mesh, np.full_like(mesh, np.nan)]))
    red = np.array([1, -1, -1]) @ toys.matrix()
    np.testing.assert_allclose(features[0], red / np.linalg.norm(red), atol=1e-4)
    mean = features[:2].mean(0)
    np.testing.assert_allclose(features[2], mean / np.linalg.norm(mean), atol=1e-5)
    with pytest.raises(UserInputError, match="landmarks"):
        encoder.encode(frames, None)
    monkeypatch.delenv(insightface_pack.ROOT)
    assert identity_encoder("auto").name.startswith("embedded"), "a pack is used only where the user named it"


def test_identity_without_a_pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(insightface_pack.ROOT, str(tmp_path))
    with pytest.raises(DependencyError, match=r"ArcFace needs w600k_r50\.onnx.*non-commercial"):
        identity_encoder("arcface")
    with pytest.raises(UserInputError, match="no identity encoder"):
        identity_encoder("dlib")


def test_five_points() -> None:
    mesh = np.zeros((478, 2), np.float32)
    wanted = np.array([[30, 50], [70, 51], [50, 70], [35, 90], [65, 91]], np.float32)
    for index, point in (((33, 133), 0), ((362, 263), 1), ((1,), 2), ((61,), 3), ((291,), 4)):
        mesh[list(index)] = wanted[point]
    np.testing.assert_allclose(five_points(mesh), wanted)


def test_the_doctor_knows(chosen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert str(chosen / "models" / "buffalo_l") in doctor.report() and "non-commercial" in doctor.report()
    toys.write_pack(tmp_path / "small", without=["2d106det.onnx"])
    monkeypatch.setenv(insightface_pack.ROOT, str(tmp_path / "small"))
    assert "without 2d106det.onnx" in insightface_pack.state()
    monkeypatch.setenv(insightface_pack.ROOT, str(tmp_path / "nothing"))
    assert f"none in {tmp_path / 'nothing'}" in doctor.report()
