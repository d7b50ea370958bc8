"""The built-in head: what rigs, solvers and renders rely on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from blender_assets.head import eyes
from blender_assets.head import landmarks as lm
from blender_assets.head.alignment import align, mirror_permutation
from blender_assets.head.arkit import ARKIT_52
from blender_assets.head.learn_identity import held_out, person_of, principal, residual
from blender_assets.head.learn_statistics import SCHEMA, VERSION
from blender_assets.head.parametrisation import unroll
from blender_assets.head.topology import curve_middle, pair_triangles
from ml_backend.artefacts.schema import load_npz
from ml_backend.face_model import model as face_model
from ml_backend.face_model.model import FaceModel
from ml_backend.face_model.synthesis import vertex_normals

HEAD = Path(face_model.__file__).parents[2] / "blender_assets" / "head" / "parley_head.npz"
MM = 1e-3


@pytest.fixture(scope="module")
def head() -> FaceModel:
    """The committed head."""
    return face_model.load(HEAD)


def shape(head: FaceModel, name: str) -> np.ndarray:
    """(V, 3) displacement of one expression."""
    return head.expression_basis[head.names.index(name)]


def at(head: FaceModel, landmarks: tuple[int, ...]) -> np.ndarray:
    """Vertices at MediaPipe landmarks."""
    return head.landmark_vertex[[int(np.flatnonzero(head.landmark_index == i)[0]) for i in landmarks]]


def mirror_of(points: np.ndarray) -> np.ndarray:
    """Nearest vertex to each mirrored vertex."""
    from scipy.spatial import cKDTree

    return cKDTree(points).query(points * [-1, 1, 1])[1]


def lip_gap(head: FaceModel, vertices: np.ndarray) -> float:
    """Widest distance between upper and lower inner lip, metres."""
    upper, lower = vertices[at(head, lm.LIPS_UPPER_INNER)], vertices[at(head, lm.LIPS_LOWER_INNER)]
    return float(np.linalg.norm(upper - lower, axis=1).max())


def test_size_and_names(head: FaceModel) -> None:
    assert tuple(head.names) == ARKIT_52
    assert len(set(ARKIT_52)) == 52
    assert 6000 <= len(head.mean_shape) <= 12000
    assert (head.faces[:, 3] >= 0).mean() > 0.97
    assert len(head.identity_basis) >= 40
    assert len(head.texture_basis) >= 20
    assert HEAD.stat().st_size < 15e6
    assert {"skin", "lips", "mouth", "gums", "teeth", "tongue", "hair", "sclera", "iris", "pupil"} <= set(
        head.material_names.tolist()
    )
    assert {"face", "lips", "jaw", "brow", "eyes", "scalp", "neck"} <= set(head.region_names.tolist())
    assert {"skin", "teeth_upper", "teeth_lower", "tongue", "mouth_bag", "eye_left", "eye_right"} <= set(
        head.part_names.tolist()
    )


def test_landmarks_complete_and_sized_like_an_adult(head: FaceModel) -> None:
    assert sorted(head.landmark_index.tolist()) == list(range(lm.COUNT))
    assert len(set(head.landmark_vertex.tolist())) == lm.COUNT
    corners = head.mean_shape[at(head, lm.EYE_CORNERS)]
    assert np.linalg.norm(corners[0] - corners[1]) == pytest.approx(0.090, abs=0.004)
    assert corners[1, 0] > 0 > corners[0, 0]
    nose, lip, chin = head.mean_shape[at(head, (4, 0, 152))]
    assert nose[2] == head.mean_shape[:, 2].min()
    assert 12 * MM < lip[2] - nose[2] < 26 * MM
    assert chin[1] > lip[1] > nose[1]


def test_every_shape_moves_something_and_stays_in_bounds(head: FaceModel) -> None:
    for name, basis in zip(head.names, head.expression_basis, strict=True):
        length = np.linalg.norm(basis, axis=1)
        assert (length > 1 * MM).sum() >= 25, name
        assert length.max() < 50 * MM, name
    still = head.region("scalp") > 0.99
    assert np.abs(head.expression_basis[:, still]).max() < 0.5 * MM


def test_rest_shape_and_symmetric_shapes_mirror(head: FaceModel) -> None:
    mirror = mirror_of(head.mean_shape)
    skin = head.part("skin")
    assert np.abs(head.mean_shape[skin] - head.mean_shape[mirror[skin]] * [-1, 1, 1]).max() < 0.05 * MM
    # Upper and lower lip coincide at rest, so the mirror image of a margin vertex is ambiguous there.
    clear = skin & (head.region("lips") < 0.01)
    for name in ARKIT_52:
        if name.endswith("Left"):
            other = shape(head, name.removesuffix("Left") + "Right")[mirror] * [-1, 1, 1]
            assert np.abs(shape(head, name) - other)[clear].max() < 0.05 * MM, name


def test_jaw_opens_the_lips_and_mouth_close_shuts_them(head: FaceModel) -> None:
    assert lip_gap(head, head.mean_shape) < 0.1 * MM
    opened = head.mean_shape + shape(head, "jawOpen")
    assert 20 * MM < lip_gap(head, opened) < 45 * MM
    for weight in (0.3, 1.0):
        closed = head.mean_shape + weight * (shape(head, "jawOpen") + shape(head, "mouthClose"))
        assert lip_gap(head, closed) < 3 * MM
    teeth, tongue = head.part("teeth_lower"), head.part("tongue")
    assert shape(head, "jawOpen")[teeth | tongue, 1].mean() > 10 * MM
    assert np.abs(shape(head, "jawOpen")[head.part("teeth_upper")]).max() == 0


@pytest.mark.parametrize(("side", "loop"), [("Left", lm.EYE_LEFT), ("Right", lm.EYE_RIGHT)])
def test_blink_closes_the_lids_on_the_eyeball(head: FaceModel, side: str, loop: tuple[int, ...]) -> None:
    upper, lower = at(head, loop[1:8]), at(head, loop[:8:-1])
    centre = head.joint(f"eye_{side.lower()}")
    near = head.part("skin") & (np.linalg.norm(head.mean_shape - centre, axis=1) < 0.03)
    for weight in (0.0, 0.5, 1.0):
        vertices = head.mean_shape + weight * shape(head, f"eyeBlink{side}")
        inside = eyes.RADIUS - np.linalg.norm(vertices[near] - centre, axis=1).min()
        assert inside < 0.2 * MM
    share = np.linspace(0, 1, 20)[:, None, None]
    line = ((1 - share) * vertices[lower[:-1]] + share * vertices[lower[1:]]).reshape(-1, 3)
    gap = np.linalg.norm(vertices[upper][:, None] - line[None], axis=-1).min(1)
    assert gap.max() < 1 * MM


def test_directions_are_the_persons_own(head: FaceModel) -> None:
    corner, pupil, brow = (int(at(head, (i,))[0]) for i in (291, lm.IRIS_LEFT, 334))
    assert shape(head, "mouthSmileLeft")[corner, 0] > 2 * MM > 0 > shape(head, "mouthSmileLeft")[corner, 1]
    assert shape(head, "eyeLookOutLeft")[pupil, 0] > 4 * MM
    assert shape(head, "eyeLookInLeft")[pupil, 0] < -4 * MM
    assert shape(head, "eyeLookUpLeft")[pupil, 1] < -4 * MM
    assert shape(head, "browDownLeft")[brow, 1] > 1 * MM
    assert shape(head, "jawLeft")[int(at(head, (152,))[0]), 0] > 4 * MM
    assert shape(head, "mouthPucker")[int(at(head, (0,))[0]), 2] < -4 * MM
    assert shape(head, "tongueOut")[head.part("tongue"), 2].min() < -25 * MM


def test_normals_point_outward(head: FaceModel) -> None:
    normals = vertex_normals(head.mean_shape, head.triangles())
    skin = head.part("skin")
    centre = np.array([0.0, 0.0, 0.05])
    outward = np.einsum("vi,vi->v", normals, head.mean_shape - centre)
    assert (outward[skin & (head.mean_shape[:, 1] < 0.09)] > 0).mean() > 0.985
    for part in ("eye_left", "eye_right", "tongue"):
        mine = head.part(part)
        middle = head.mean_shape[mine].mean(0)
        assert (np.einsum("vi,vi->v", normals[mine], head.mean_shape[mine] - middle) > 0).mean() > 0.9, part
    front = head.part("teeth_upper") & (normals[:, 2] < -0.5)
    assert (
        head.mean_shape[front, 2].mean()
        < head.mean_shape[head.part("teeth_upper") & (normals[:, 2] > 0.5), 2].mean()
    )
    bag = head.part("mouth_bag") & (head.mean_shape[:, 2] > -0.015)
    middle = head.mean_shape[bag].mean(0)
    assert (np.einsum("vi,vi->v", normals[bag], head.mean_shape[bag] - middle) < 0).mean() > 0.9


def test_texture_coordinates_do_not_overlap(head: FaceModel) -> None:
    assert head.uv.min() >= 0
    assert head.uv.max() <= 1
    skin = head.part("skin")[head.faces[:, 0]] & (head.faces[:, 3] >= 0)
    corners = head.uv[head.face_uvs[skin]]
    d1, d2 = corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1]
    area = 0.5 * (d1[:, 0] * d2[:, 1] - d1[:, 1] * d2[:, 0])
    # A chart that never turns over and whose faces add up to the disc it fills has no overlap.
    sign = np.sign(np.median(area))
    assert (sign * area > -1e-9).mean() > 0.998
    radius = np.linalg.norm(corners - 0.5 * (corners.max((0, 1)) + corners.min((0, 1))), axis=-1).max()
    assert np.abs(area).sum() < np.pi * radius**2 * 1.01


def test_colours_and_regions_are_plausible(head: FaceModel) -> None:
    assert head.texture_mean.min() >= 0
    assert head.texture_mean.max() <= 1
    lips, cheek = head.texture_mean[at(head, (0, 17))].mean(0), head.texture_mean[at(head, (280, 50))].mean(0)
    assert lips[0] / lips[1] > cheek[0] / cheek[1]
    assert head.texture_mean[at(head, (52, 282))].mean() < cheek.mean()
    face = head.region("face")
    assert face[at(head, lm.OVAL)].max() < 0.01
    assert face[at(head, (4, 13, 14, 33, 263, 205, 425))].min() > 0.95
    assert face[head.part("teeth_upper")].min() == 1


def test_random_people_stay_faces(head: FaceModel) -> None:
    people = np.random.default_rng(1).normal(size=(20, len(head.identity_basis)))
    shapes = head.mean_shape + np.tensordot(people, head.identity_basis, 1)
    gaps = [lip_gap(head, vertices) for vertices in shapes]
    assert max(gaps) < 0.1 * MM
    width = np.linalg.norm(np.diff(shapes[:, at(head, lm.EYE_CORNERS)], axis=1)[:, 0], axis=-1)
    assert ((width > 0.078) & (width < 0.102)).all()


def test_modes_reach_people_left_out() -> None:
    statistics = load_npz(HEAD.with_name("statistics.npz"), SCHEMA, VERSION)
    reached = dict(zip(statistics["held_out_modes"].tolist(), statistics["held_out_mm"].tolist(), strict=True))
    assert reached[48] < 0.8 * reached[30] < 0.25 * reached[0]
    assert statistics["identity_explained"].sum() > 0.99


def test_left_out_people_are_reached_by_the_modes_they_share() -> None:
    random = np.random.default_rng(3)
    mirror = np.r_[20:40, 0:20]
    half = random.normal(size=(20, 3))
    mean = np.concatenate([half, half * [-1, 1, 1]])
    shared = random.normal(0, 0.01, size=(3, 40, 3))
    faces = mean + np.tensordot(random.normal(size=(60, 3)), shared, 1)
    people = np.array([f"p{number // 2}" for number in range(60)])
    _, modes, explained = principal(faces, mirror, 6)
    assert explained.sum() == pytest.approx(1)
    flipped = modes[:, mirror] * [-1, 1, 1]
    signs = np.sign((flipped * modes).sum((1, 2), keepdims=True))
    assert np.allclose(flipped, signs * modes, atol=1e-8)
    assert residual(faces, mean, modes[:0]) > 10
    errors = held_out(faces, people, mean, mirror)
    assert errors[0] > 10 > 100 * errors[-1]


def test_clips_of_one_person_are_kept_together() -> None:
    assert person_of("clips", "st_Obama_clip2") == person_of("motion_only", "style_Obama_clip3") == "obama"
    assert person_of("clips", "mead_m030") == "m030"
    assert person_of("s1", "bbaf2n") == person_of("s1", "lrwp9a")


def test_align_recovers_a_similarity() -> None:
    random = np.random.default_rng(0)
    target = random.normal(size=(20, 3))
    turn, _ = np.linalg.qr(random.normal(size=(3, 3)))
    turn *= np.sign(np.linalg.det(turn))
    moved = 2.5 * target @ turn.T + [3, -1, 4]
    assert np.allclose(align(moved[None], target, np.arange(20))[0], target, atol=1e-9)


def test_mirror_permutation_refuses_a_lopsided_shape() -> None:
    half = np.random.default_rng(0).normal((3, 0, 0), size=(10, 3))
    points = np.concatenate([half, half * [-1, 1, 1]])
    assert np.array_equal(mirror_permutation(points), np.r_[10:20, 0:10])
    lopsided = np.random.default_rng(2).uniform(0, 1, size=(40, 3))
    with pytest.raises(ValueError, match="lopsided"):
        mirror_permutation(lopsided)


def test_topology_pieces() -> None:
    plane = np.array([[0, 0], [1, 0], [1, 1], [0, 1.0]])
    polygons = pair_triangles(plane, np.array([[0, 1, 2], [0, 2, 3]]))
    assert len(polygons) == 1
    assert sorted(polygons[0]) == [0, 1, 2, 3]
    known = {i: {i: 1.0} for i in range(6)}
    for edge in range(6):
        assert sum(curve_middle(list(range(6)), (0, 3), edge, known).values()) == pytest.approx(1)


def test_the_plane_opens_the_mouth(head: FaceModel) -> None:
    plane = unroll(head.mean_shape[head.landmark_vertex])
    upper, lower = plane[list(lm.LIPS_UPPER_INNER)], plane[list(lm.LIPS_LOWER_INNER)]
    assert (lower[:, 1] - upper[:, 1]).min() > 2 * MM
