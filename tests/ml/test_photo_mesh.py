"""A photo taken apart and put on a mesh: what is shown at rest, what moves, what stays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from ml_backend.artefacts import photo_mesh
from ml_backend.artefacts.face_track import FaceTrack
from ml_backend.errors import ArtefactError
from ml_backend.face_model.synthesis import to_camera
from ml_backend.film.layers import over
from ml_backend.motion.head_limits import HeadLimits, within
from ml_backend.reconstruct import illumination, matte, profile_edge, profile_mesh, profile_sheet, symmetry
from ml_backend.reconstruct.person import HeadMasks
from ml_backend.reconstruct.posed import Posed, place
from ml_backend.reconstruct.raster import Coverage
from tests.fixtures import small_model

SIZE, FOCAL = (160, 120), 260.0
POSE = np.array([0.05, -0.1, 0.04, 0.0, 0.0, 0.6], np.float32)
LIGHT = np.concatenate([np.full((1, 3), 0.9), [[-0.2] * 3, [-0.5] * 3], np.zeros((6, 3))])


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture(scope="module")
def track(model) -> FaceTrack:
    """One frame with the egg's front as landmarks: only the face's ends are asked for."""
    landmarks = np.full((1, 478, 3), np.nan, np.float32)
    camera = to_camera(model.mean_shape, POSE)
    flat = FOCAL * camera[:, :2] / camera[:, 2:] + np.array(SIZE) / 2
    landmarks[0, :, :2] = flat[model.region("face") > 0.1][np.arange(478) % int((model.region("face") > 0.1).sum())]
    middle = flat[model.region("face") > 0.5].mean(0)
    down = np.array([0, 35])
    landmarks[0, profile_mesh.TOP, :2], landmarks[0, profile_mesh.CHIN, :2] = middle - down, middle + down
    landmarks[..., 2] = 0
    return FaceTrack(
        expression=np.full((1, 3), 0.2, np.float32), expression_names=model.expression_names,
        rotation=POSE[None, :3], translation=POSE[None, 3:], landmarks=landmarks, confidence=np.ones(1, np.float32),
        identity=np.zeros(1, np.float32), texture=np.zeros(1, np.float32), light=np.zeros((9, 3), np.float32),
        shape_offset=np.zeros_like(model.mean_shape), focal=np.array(FOCAL), size=np.array(SIZE, np.int32),
        fps=np.array(25.0), crop=np.array([30, 10, 100], np.float32))


@pytest.fixture(scope="module")
def view(model, track) -> Posed:
    """A skin-coloured egg before a striped wall."""
    image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    image[..., 1] = 90 + 60 * ((np.arange(SIZE[0]) // 10) % 2)
    image[..., 2] = 120
    blank = place(track, model, 0, image, model.mean_shape, model.triangles())
    low, high = blank.pixel.min(0), blank.pixel.max(0)
    y, x = np.mgrid[0:SIZE[1], 0:SIZE[0]]
    inside = (((np.stack([x, y], -1) - (low + high) / 2) / ((high - low) / 2)) ** 2).sum(-1) < 1
    image[inside] = (210, 160, 130)
    return replace(blank, image=image, person=inside.astype(np.float32))


@pytest.fixture(scope="module")
def parts(view, track, model) -> profile_mesh.Layers:
    with pytest.MonkeyPatch.context() as patch:
        zero = np.zeros_like(view.person)
        masks = HeadMasks(view.person, zero, zero, zero)
        patch.setattr(profile_mesh, "head_masks", lambda *_: masks)
        return profile_mesh.layers(view, track, model, model.mean_shape)


def seen(parts: profile_mesh.Layers, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the layers show, and the photo, within the frame."""
    whole = image.astype(float)
    left, top = np.maximum(parts.corner, 0)
    height, width = parts.depth.shape
    right, bottom = min(parts.corner[0] + width, SIZE[0]), min(parts.corner[1] + height, SIZE[1])
    inner = (slice(top - parts.corner[1], bottom - parts.corner[1]), slice(left - parts.corner[0],
                                                                            right - parts.corner[0]))
    frame = (slice(top, bottom), slice(left, right))
    shown = over(parts.texture[inner], parts.plate[frame])
    free = cv2.dilate(parts.step[inner], np.ones((7, 7), np.uint8)) < 1e-4
    return shown[free].astype(float), whole[frame][free]


def test_laid_over_its_plate_the_cut_out_is_the_photo(parts, view) -> None:
    shown, photo = seen(parts, view.image)
    assert np.abs(shown - photo).max() <= 6
    assert np.abs(shown - photo).mean() < 0.5


def test_the_plate_has_no_head_and_is_the_photo_elsewhere(parts, view) -> None:
    height, width = parts.plate.shape[:2]
    middle = np.round(view.pixel.mean(0)).astype(int)
    assert np.abs(parts.plate[middle[1] - 20, middle[0]].astype(int) - (210, 160, 130)).max() > 40
    same = (parts.plate == view.image).all(-1)
    assert same[:, :5].all()
    assert same[:, -5:].all()
    assert same.mean() < 0.95
    assert (height, width) == (SIZE[1], SIZE[0])


def test_at_rest_every_vertex_projects_to_the_pixel_that_it_shows(parts, view, track, model) -> None:
    mesh = profile_mesh.build(view, track, model, model.mean_shape, parts, LIGHT)
    shape = mesh.vertices + np.tensordot(np.full(len(mesh.names), 0.2), mesh.offsets, 1)
    camera = to_camera(shape, mesh.rest)
    pixel = FOCAL * camera[:, :2] / camera[:, 2:] + np.array(SIZE) / 2
    wanted = np.stack([mesh.uv[:, 0], 1 - mesh.uv[:, 1]], 1) * parts.depth.shape[::-1] + parts.corner
    assert np.abs(pixel - wanted).max() < 0.02
    assert mesh.still.min() < 0.05
    assert mesh.drawn.shape == mesh.shade.shape == (len(model.mean_shape),)
    x, y, width, height = mesh.window
    assert x >= 0
    assert y >= 0
    assert x + width <= SIZE[0]
    assert y + height <= SIZE[1]


def test_the_sheet_never_lies_before_the_face(parts, view, model) -> None:
    face = np.flatnonzero((model.region("face") > 0.9) & (view.facing > 0.5))
    place = np.round(view.pixel[face] - parts.corner).astype(int)
    assert (parts.depth[place[:, 1], place[:, 0]] > view.camera[face, 2] - 0.004).all()


def test_round_an_outline_the_face_is_solid_but_where_hair_hangs_there_is_none(view, model, monkeypatch) -> None:
    region, size, corner = model.region("face"), (SIZE[1], SIZE[0]), np.zeros(2, int)
    seen, bare = profile_sheet.Seen.of(view, model, corner, size), np.zeros(size, np.float32)

    def drawn(hair: np.ndarray, apart: float) -> np.ndarray:
        border = profile_sheet.ends(seen, 70.0)[0]
        monkeypatch.setattr(profile_edge, "ends", lambda *_: (border, border * np.float32(apart)))
        return profile_edge.drawn(view, model, model.mean_shape, seen, corner, hair, 70.0)

    assert drawn(bare, 0.0) == pytest.approx(region, abs=1e-6), "one surface with the photo: as the model has it"
    solid, haired = drawn(bare, 1.0), drawn(bare + 1, 1.0)
    assert (solid >= region - 1e-6).all() and (solid - region).max() > 0.3
    assert (haired <= solid + 1e-6).all() and (solid - haired).max() > 0.2
    assert haired[view.facing > 0.3] == pytest.approx(solid[view.facing > 0.3]), "what is seen stays"


def test_the_light_on_what_is_hidden_is_that_on_what_is_shown_beside_it(view, model) -> None:
    factor = profile_edge.shade(view, model, model.mean_shape, LIGHT)
    assert (factor[view.facing > 0.3] == 1).all()
    hidden = (view.facing < 0) & (model.region("face") > 0.01)
    light = illumination.irradiance(view.normals, LIGHT).mean(1)
    plain = light[(view.facing > 0.3) & (model.region("face") > 0.5)]
    assert hidden.any() and np.ptp(factor[hidden]) > 0.05
    assert (light * factor)[hidden].max() <= plain.max() + 1e-5


def test_an_outlines_soft_rim_is_no_hair() -> None:
    yy, xx = np.mgrid[0:120, 0:120]
    face = (np.hypot(yy - 60, xx - 60) < 40).astype(np.float32)
    nothing = Coverage((120, 120), np.zeros(0, int), np.zeros(0, int), np.zeros((0, 3)))
    near = np.where(face > 0, 0.6, np.inf).astype(np.float32)
    seen = profile_sheet.Seen(nothing, np.zeros((0, 3), int), face, near)
    outline = ((np.hypot(yy - 60, xx - 60) < 42) | (yy < 30)).astype(np.float32)
    rim = profile_sheet.own_edge(outline, np.zeros_like(face), seen, 100.0)
    assert rim[60, 101] > 0.9 and rim[:20].max() == 0
    assert profile_sheet.own_edge(outline, np.ones_like(face), seen, 100.0).max() == 0


def test_a_mesh_is_read_as_it_was_written_and_a_damaged_one_refused(parts, view, track, model, tmp_path: Path) -> None:
    mesh = profile_mesh.build(view, track, model, model.mean_shape, parts, LIGHT)
    photo_mesh.save(mesh, tmp_path / "photo.npz")
    again = photo_mesh.load(tmp_path / "photo.npz")
    assert np.array_equal(again.vertices, mesh.vertices)
    assert list(again.names) == list(mesh.names)
    with pytest.raises(ArtefactError, match="names no vertex"):
        photo_mesh.save(replace(mesh, faces=mesh.faces + len(mesh.vertices)), tmp_path / "bad.npz")


def test_a_row_goes_on_mirrored_into_the_hole_and_nothing_else_changes() -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    image[:20], image[20:] = (200, 100, 0), (0, 100, 200)
    hole = np.zeros((40, 60), bool)
    hole[5:35, 20:40] = True
    image[hole] = 255
    filled = matte.clean_plate(image, hole, np.zeros_like(hole), 30.0)
    assert np.array_equal(filled[~hole], image[~hole])
    assert np.abs(filled[10, 24:36].astype(int) - (200, 100, 0)).max() < 40
    assert np.abs(filled[30, 24:36].astype(int) - (0, 100, 200)).max() < 40


def test_a_hole_without_surroundings_stays() -> None:
    image = np.full((8, 8, 3), 7, np.uint8)
    everything = np.ones((8, 8), bool)
    assert np.array_equal(matte.clean_plate(image, everything, ~everything, 4.0), image)


def test_a_coarse_outline_is_drawn_to_the_pictures_edge() -> None:
    image = np.full((80, 80, 3), 30, np.uint8)
    image[:, 40:] = 220
    coarse = np.clip((np.arange(80) - 34) / 6, 0, 1)[None].repeat(80, 0).astype(np.float32)
    fine = matte.refined(image, coarse, 10.0)
    assert fine[40, 36] < 0.3
    assert fine[40, 44] > 0.7


def test_a_dark_collar_is_clothes_although_it_has_the_hairs_colour() -> None:
    hair, body = np.zeros((2, 60, 40), np.float32)
    hair[5:30, 10:30] = hair[30:45, 10:14] = hair[45:50, 20:36] = 0.9
    body[50:] = 1
    zero = np.zeros_like(hair)
    worn = matte.worn(HeadMasks(zero, hair, zero, body), np.array([[20.0, 12.0], [20.0, 40.0]]))
    assert worn[47, 30] == np.float32(0.9) and (worn[50:] == 1).all()
    assert (worn[:45] == 0).all(), "hair that hangs down beside the face is hair"


def test_small_motion_is_kept_and_large_motion_stays_within_the_limits() -> None:
    rest = np.array([0.1, 0.3, 0.0, 0.01, 0.02, 0.6], np.float32)
    small = rest + np.radians(2.0) * np.array([1, -1, 1, 0, 0, 0], np.float32)
    assert np.allclose(within(small[None], rest)[0], small, atol=1e-6)
    wild = rest + np.array([[1, 1, 1, 1, 1, 1], [-1, -1, -1, -1, -1, -1]], np.float32)
    turned = np.degrees(within(wild, rest) - rest)
    limits = HeadLimits()
    assert np.abs(turned[:, 0]).max() <= limits.pitch + 1e-3
    # Turned by 17° already, it goes less far that way than back.
    assert turned[0, 1] == pytest.approx(limits.profile - np.degrees(0.3), abs=0.2)
    assert turned[1, 1] == pytest.approx(-limits.yaw, abs=0.2)
    assert np.abs(within(wild, rest) - rest)[:, 3:].max() <= limits.shift + 1e-6


def test_counterparts_are_mirror_images_or_there_are_none(model) -> None:
    other = symmetry.counterparts(model)
    assert other is not None
    assert np.allclose(model.mean_shape[other] * [-1, 1, 1], model.mean_shape, atol=1e-4)
    crooked = replace(model, mean_shape=model.mean_shape + 0.01 * model.mean_shape[:, [1, 0, 2]] ** 2)
    skewed = replace(model, mean_shape=(model.mean_shape @ np.array([[1, 0.3, 0], [0, 1, 0], [0, 0, 1]])
                                        ).astype(np.float32))
    assert symmetry.counterparts(skewed) is None or symmetry.counterparts(crooked) is None


def test_the_unseen_side_is_asked_of_the_other(view, model) -> None:
    own, other = symmetry.completed(view, model)
    assert other.share < own.share
    assert other.facing[0] == view.facing[symmetry.counterparts(model)[0]]
