"""Both sides read the same files as the same values, and reject the same damage."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from addon.core import character, face_model, performance, plates, pose, shading
from addon.core.channels import ARKIT
from addon.core.errors import ArtefactError
from ml_backend.artefacts import character as backend_character
from ml_backend.artefacts import performance as backend_performance
from ml_backend.artefacts import plates as backend_plates
from ml_backend.face_model import model as backend_model
from ml_backend.face_model import synthesis
from tests import fixtures

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> fixtures.Files:
    return fixtures.write(tmp_path_factory.mktemp("artefacts"))


def same(ours: object, theirs: object) -> None:
    for field in fields(ours):  # type: ignore[arg-type]
        a, b = getattr(ours, field.name), getattr(theirs, field.name)
        assert np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b, field.name
        assert not isinstance(a, np.ndarray) or a.dtype == b.dtype, field.name


def test_the_addon_reads_what_the_backend_writes(files: fixtures.Files) -> None:
    same(face_model.load(files.face_model), backend_model.load(files.face_model))
    same(character.load(files.character), backend_character.load(files.character))
    same(performance.load(files.performance), backend_performance.load(files.performance))
    same(plates.load(files.plates), backend_plates.load(files.plates))


def test_the_backend_reads_what_the_addon_writes(files: fixtures.Files, tmp_path: Path) -> None:
    act = performance.load(files.performance)
    performance.save(act, tmp_path / "again.npz")
    same(backend_performance.load(tmp_path / "again.npz"), act)


def test_both_read_the_golden_files() -> None:
    """The files were written once and lie in the repository: a format that changes in place breaks this."""
    for module in (performance, backend_performance):
        act = module.load(GOLDEN / "performance_v1.npz")
        assert (act.names, len(act), act.provenance["seed"]) == (list(fixtures.EXPRESSIONS), 6, 1)
        assert np.allclose(act.expression, fixtures.small_performance().expression)
    for module in (plates, backend_plates):
        assert module.load(GOLDEN / "plates_v1.json").source.tolist() == [2, 1, 0, 1, 2, 3]


@pytest.mark.parametrize("name", ["face_model", "character", "performance"])
def test_another_version_and_damage_are_refused(files: fixtures.Files, name: str, tmp_path: Path) -> None:
    module = {"face_model": face_model, "character": character, "performance": performance}[name]
    with np.load(getattr(files, name)) as data:
        arrays = {key: data[key] for key in data.files}
    bad = tmp_path / "bad.npz"
    np.savez(bad, **{**arrays, "version": np.array(99)})
    with pytest.raises(ArtefactError, match="99"):
        module.load(bad)
    unread = {"schema", "version", "identity_basis", "identity", "blink_rate", "blink_duration"}
    arrays.pop(min(set(arrays) - unread))
    np.savez(bad, **arrays)
    with pytest.raises(ArtefactError, match="lacks"):
        module.load(bad)
    bad.write_bytes(b"PK\x03\x04 not a zip")
    with pytest.raises(ArtefactError, match="can't be read"):
        module.load(bad)
    with pytest.raises(ArtefactError, match="does not exist"):
        module.load(tmp_path / "none.npz")


def test_a_pickle_is_never_opened(files: fixtures.Files, tmp_path: Path) -> None:
    with np.load(files.performance) as data:
        arrays = {key: data[key] for key in data.files}
    bad = tmp_path / "pickle.npz"
    np.savez(bad, **{**arrays, "names": np.array([{"a": 1}], dtype=object)})
    with pytest.raises(ArtefactError, match="can't be read"):
        performance.load(bad)


def test_pose_light_and_projection_are_the_backends(files: fixtures.Files) -> None:
    model, person = face_model.load(files.face_model), character.load(files.character)
    angles = np.random.default_rng(0).uniform(-1, 1, (20, 3))
    assert np.allclose(pose.rotation_matrix(angles), synthesis.rotation_matrix(angles))
    placed = pose.to_camera(model.mean_shape, np.array([0.1, 0.2, -0.3, 0.01, 0, 0.8]))
    assert np.allclose(placed, synthesis.to_camera(model.mean_shape, np.array([0.1, 0.2, -0.3, 0.01, 0, 0.8])))
    assert np.allclose(pose.project(placed, 500, person.size), synthesis.project(placed, 500, person.size / 2))
    corners = shading.triangles(model.faces)
    normals = synthesis.vertex_normals(model.mean_shape, corners)
    assert np.allclose(shading.vertex_normals(model.mean_shape, corners), normals, atol=1e-6)
    assert np.allclose(pose.spherical_harmonics(normals), synthesis.spherical_harmonics(normals))
    turned = normals @ synthesis.rotation_matrix(angles[0]).T
    white = np.ones_like(normals)
    assert np.allclose(shading.irradiance(model.mean_shape, corners, angles[0], person.light),
                       np.maximum(synthesis.shade(white, turned, person.light), 0), atol=1e-6)


def test_the_built_in_head_speaks_arkit() -> None:
    path = Path(__file__).parents[2] / "blender_assets" / "head" / "parley_head.npz"
    assert set(face_model.load(path).names) == set(ARKIT)
