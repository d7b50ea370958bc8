"""The built-in head's 52 shapes as an animator blends them (seals, lids, jaw, tongue), and how they learn."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from blender_assets.head import eyes
from blender_assets.head import landmarks as lm
from blender_assets.head.arkit import ARKIT_52
from blender_assets.head.expressions import PARTING
from blender_assets.head.fit_frames import FrameFit, fit_frames
from blender_assets.head.geometry import JAW_AXIS
from blender_assets.head.learn_expressions import gather, mirrored_names, read_clips, read_index, solve, spreads
from ml_backend.errors import UserInputError
from ml_backend.face_model import model as face_model
from ml_backend.face_model.model import FaceModel
from ml_backend.face_model.synthesis import project, rotation_matrix
from ml_backend.reconstruct.fit import View
from ml_backend.reconstruct.points import Rig, rig

HEAD = Path(face_model.__file__).parents[2] / "blender_assets" / "head" / "parley_head.npz"
MM = 1e-3
MARGIN = 40  # vertices around the lips' inner margin; the bag's first ring repeats them


@pytest.fixture(scope="module")
def head() -> FaceModel:
    """The committed head."""
    return face_model.load(HEAD)


def posed(head: FaceModel, weights: dict[str, float]) -> np.ndarray:
    """(V, 3) the mean face at `weights`."""
    rows = [head.names.index(name) for name in weights]
    return head.mean_shape + np.tensordot(np.array(list(weights.values())), head.expression_basis[rows], 1)


def at(head: FaceModel, landmarks: tuple[int, ...]) -> np.ndarray:
    """Vertices at MediaPipe landmarks."""
    return head.landmark_vertex[[int(np.flatnonzero(head.landmark_index == i)[0]) for i in landmarks]]


def pair(name: str, weight: float = 1.0) -> dict[str, float]:
    """Left and right alike."""
    return {f"{name}Left": weight, f"{name}Right": weight}


def seam(head: FaceModel, vertices: np.ndarray) -> float:
    """Widest distance along the whole seam of the lips, metres."""
    ring = vertices[head.part("mouth_bag")][:MARGIN]
    return float(np.linalg.norm(ring[1 : MARGIN // 2] - ring[: MARGIN // 2 : -1], axis=1).max())


def test_lips_stay_sealed_where_nothing_parts_them(head: FaceModel) -> None:
    closed = [name for name in ARKIT_52 if not name.startswith((*PARTING, "eye", "brow"))]
    assert len(closed) == 25
    for name in closed:
        assert seam(head, posed(head, {name: 1.0})) < 0.05 * MM, name
    for first, second in itertools.combinations(closed, 2):
        assert seam(head, posed(head, {first: 1.0, second: 0.7})) < 0.05 * MM, (first, second)
    for name in PARTING:
        if name != "mouthClose":
            wide = {name: 1.0} if name in ARKIT_52 else pair(name)
            assert seam(head, posed(head, wide)) > 3 * MM, name


@pytest.mark.parametrize("weight", [0.1, 0.35, 0.7, 1.0])
def test_mouth_close_seals_an_open_jaw(head: FaceModel, weight: float) -> None:
    shut = {"jawOpen": weight, "mouthClose": weight}
    assert seam(head, posed(head, shut)) < 0.05 * MM
    assert seam(head, posed(head, shut | {"mouthPucker": 0.8} | pair("mouthSmile", 0.3))) < 0.05 * MM


@pytest.mark.parametrize(
    "other",
    ["", "eyeSquint", "browDown", "browOuterUp", "eyeLookUp", "eyeLookDown", "eyeLookIn", "eyeLookOut", "eyeWide"],
)
def test_lids_close_over_the_eyeball_in_every_company(head: FaceModel, other: str) -> None:
    loop = lm.EYE_LEFT
    upper, lower = at(head, loop[1:8]), at(head, loop[:8:-1])
    centre = head.joint("eye_left")
    near = head.part("skin") & (np.linalg.norm(head.mean_shape - centre, axis=1) < 0.022)
    company = {f"{other}Left": 1.0} if other else {}
    for weight in (0.0, 0.25, 0.5, 0.75, 1.0):
        vertices = posed(head, company | {"eyeBlinkLeft": weight})
        assert np.linalg.norm(vertices[near] - centre, axis=1).min() > eyes.RADIUS, weight
    gap = vertices[lower, 1] - vertices[upper, 1]
    assert gap.max() < (3.5 if other == "eyeWide" else 1.0) * MM
    # What shuts twice slides over the other lid, and not far.
    assert gap.min() > -2.6 * MM


def test_brows_and_cheeks_pull_at_no_lid(head: FaceModel) -> None:
    lids = at(head, (*lm.EYE_LEFT, *lm.EYE_RIGHT))
    for name, basis in zip(head.names, head.expression_basis, strict=True):
        if not name.startswith("eye"):
            assert np.abs(basis[lids]).max() < 0.1 * MM, name


def test_the_iris_shows_wherever_the_eye_looks(head: FaceModel) -> None:
    for name in ("eyeLookUp", "eyeLookDown", "eyeLookIn", "eyeLookOut"):
        vertices = posed(head, pair(name))
        pupil = vertices[at(head, (lm.IRIS_LEFT,))[0]]
        loop = vertices[at(head, lm.EYE_LEFT)]
        top = np.interp(pupil[0], *loop[8::-1][np.argsort(loop[8::-1, 0])][:, :2].T)
        bottom = np.interp(pupil[0], *loop[8:][np.argsort(loop[8:, 0])][:, :2].T)
        assert top + 1.2 * MM < pupil[1] < bottom - 1.0 * MM, name


def test_the_jaw_is_a_hinge_for_teeth_and_tongue(head: FaceModel) -> None:
    rest, opened = (posed(head, {"jawOpen": weight})[head.part("teeth_lower")] for weight in (0.0, 1.0))
    u, _, vt = np.linalg.svd((opened - opened.mean(0)).T @ (rest - rest.mean(0)))
    turn = u @ vt
    assert np.degrees(np.arccos((np.trace(turn) - 1) / 2)) == pytest.approx(19, abs=0.5)
    assert np.abs(turn[0]) == pytest.approx([1, 0, 0], abs=1e-3)
    assert np.abs((rest - rest.mean(0)) @ turn.T - (opened - opened.mean(0))).max() < 0.05 * MM
    axis = (JAW_AXIS - rest.mean(0)) @ turn.T + opened.mean(0)
    assert np.linalg.norm(axis - JAW_AXIS) < 12 * MM


def test_sliding_jaws_bare_no_strip_of_the_throat(head: FaceModel) -> None:
    skin = head.part("skin")
    faces = head.faces[skin[head.faces[:, 0]] & (head.faces[:, 3] >= 0)]
    below = head.mean_shape[faces, 1].mean(1) > 0.06
    edges = faces[below][:, [0, 1, 1, 2, 2, 3, 3, 0]].reshape(-1, 2)
    length = np.linalg.norm(np.diff(head.mean_shape[edges], axis=1)[:, 0], axis=1)
    for name in ("jawLeft", "jawRight", "jawForward"):
        basis = head.expression_basis[head.names.index(name)]
        sheared = np.linalg.norm(np.diff(basis[edges], axis=1)[:, 0], axis=1) / length
        assert sheared.max() < 0.45, name


def test_puffed_cheeks_leave_ears_and_eyes_alone(head: FaceModel) -> None:
    puffed = head.expression_basis[head.names.index("cheekPuff")]
    assert np.abs(puffed[head.part("ear_left") | head.part("ear_right")]).max() == 0
    cheek = int(at(head, (427,))[0])
    assert puffed[cheek, 0] > 3 * MM
    assert puffed[cheek, 2] < -3 * MM


def test_the_tongue_comes_out_between_the_teeth(head: FaceModel) -> None:
    vertices = posed(head, {"tongueOut": 1.0})
    tongue = vertices[head.part("tongue")]
    lips = vertices[at(head, (14,))[0]]
    assert tongue[:, 2].min() < lips[2] - 12 * MM
    upper, lower = vertices[head.part("teeth_upper")], vertices[head.part("teeth_lower")]
    edge = upper[np.abs(upper[:, 0]) < 4 * MM]
    between = np.abs(tongue[:, 2] - edge[:, 2].min() - 2 * MM) < 4 * MM
    assert between.any()
    assert tongue[between, 1].mean() > edge[:, 1].max() - 1 * MM
    assert lower[np.abs(lower[:, 0]) < 4 * MM, 1].min() > edge[:, 1].max() + 3 * MM


def toy(random: np.random.Generator) -> tuple[Rig, np.ndarray]:
    """A symmetric face of 30 points with a jaw and a pair of corners, and its mirror permutation."""
    half = random.normal((0.04, 0, 0), 0.03, size=(15, 3))
    rest = np.concatenate([half, half * [-1, 1, 1]])
    mirror = np.r_[15:30, 0:15]
    left = random.normal(0, 0.004, size=(30, 3))
    jaw = random.normal(0, 0.004, size=(30, 3))
    jaw = 0.5 * (jaw + jaw[mirror] * [-1, 1, 1])
    shapes = np.stack([jaw, left, left[mirror] * [-1, 1, 1], left])
    return Rig(np.arange(30), np.arange(30), rest, np.zeros((0, 30, 3)), shapes,
               ["jawOpen", "mouthSmileLeft", "mouthSmileRight", "eyeWide"]), mirror  # fmt: skip


def test_corrections_are_learned_back_and_stay_symmetric() -> None:
    random = np.random.default_rng(4)
    face, mirror = toy(random)
    wanted = 0.2 * face.expression
    wanted[3] = 0
    fits = []
    for _ in range(6):
        weights = random.uniform(0, 1, size=(50, 4))
        rotation = rotation_matrix(random.normal(0, 0.4, size=(50, 3)))
        person = random.normal(0, 0.002, size=(30, 3))
        left = person + np.tensordot(weights, wanted, 1) + random.normal(0, 2e-4, size=(50, 30, 3))
        view = View(np.zeros((50, 30, 3)), rotation, np.zeros((50, 3)), 1.0, np.zeros(2))
        fits.append(FrameFit(view, face.mean, weights, left, np.zeros((50, 30))))
    spread = spreads(face.mean, face.expression, face.names)
    assert spread[3].max() == 0 < spread[:3].max()
    zero = np.zeros_like(wanted)
    found = solve(*gather(fits, zero, mirror, face.names), spread)
    assert np.abs(found - wanted)[..., :2].max() < 0.3 * MM
    assert np.abs(found[1] - found[2][mirror] * [-1, 1, 1]).max() < 1e-9
    # A second round that has used the corrections finds nothing more.
    left = [FrameFit(f.view, f.neutral, f.weights, f.left - np.tensordot(f.weights, found, 1), f.pixels) for f in fits]
    assert np.allclose(solve(*gather(left, found, mirror, face.names), spread), found, atol=1e-9)


def test_a_correction_dies_out_with_its_shape() -> None:
    rest = np.stack([np.linspace(0, 0.1, 40), np.zeros(40), np.zeros(40)], 1)
    shape = np.zeros((1, 40, 3))
    shape[0, :8, 1] = 0.005
    spread = spreads(rest, shape, ["browInnerUp"])[0]
    assert spread[:8].min() > 0.5 * MM
    assert spread[16:].max() == 0


def test_frames_of_the_head_are_explained_by_the_head(head: FaceModel) -> None:
    points = rig(head)
    weights = np.zeros((6, 52))
    weights[:, head.names.index("jawOpen")] = np.linspace(0, 0.6, 6)
    weights[:, head.names.index("mouthSmileLeft")] = np.linspace(0.7, 0, 6)
    shape = points.mean + 0.7 * points.identity[0] + np.tensordot(weights, points.expression, 1)
    turned = shape @ rotation_matrix(np.tile([0.1, 0.3, 0.05], (6, 1))).transpose(0, 2, 1) + [0.02, 0.01, 0.7]
    seen = np.concatenate([project(turned, 900.0, np.array([320.0, 240.0])), turned[..., 2:] * 900 / 0.7], -1)
    fit = fit_frames(seen, np.array([640, 480]), points)
    assert fit.pixels.mean() < 0.5
    jaw = fit.weights[:, head.names.index("jawOpen")]
    assert np.corrcoef(jaw, np.linspace(0, 0.6, 6))[0, 1] > 0.98


def test_names_mirror_and_bad_tables_are_refused(tmp_path: Path) -> None:
    swap = mirrored_names(list(ARKIT_52))
    assert np.array_equal(swap[swap], np.arange(52))
    assert ARKIT_52[swap[ARKIT_52.index("jawLeft")]] == "jawRight"
    table = tmp_path / "index.csv"
    table.write_text("name,part\na,b\n", encoding="utf-8")
    with pytest.raises(UserInputError, match="columns file and split"):
        read_index(table)
    table.write_text("file,split\nclips/st_a_1.mp4,validate\nclips/x.mp4,train\n", encoding="utf-8")
    with pytest.raises(UserInputError, match="no landmark files"):
        list(read_clips(tmp_path, read_index(table), validate=False))


def test_people_of_the_validate_split_are_not_learned_from(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    for number, stem in enumerate(("news_1", "st_ann_1", "st_ann_2", "x")):
        points = np.full((20, 478, 3), float(number), np.float32)
        np.savez(tmp_path / "clips" / f"{stem}.npz", landmarks=points, size=np.array([64, 48]))
    splits = {"news_1": "train", "st_ann_1": "validate", "st_ann_2": "train", "x": "train"}
    learned = [clip.landmarks[0, 0, 0] for clip in read_clips(tmp_path, splits, validate=False)]
    assert learned == [0, 3]
    assert [clip.landmarks[0, 0, 0] for clip in read_clips(tmp_path, splits, validate=True)] == [1]
