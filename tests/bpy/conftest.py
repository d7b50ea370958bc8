"""Tests in this folder need Blender's module; each starts from an empty file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="the bpy wheel is not installed")

from addon.bl import rig, scene  # noqa: E402
from addon.core import character, face_model, performance  # noqa: E402
from tests import fixtures  # noqa: E402


@dataclass(frozen=True)
class Stage:
    """The small head in an empty scene."""

    files: fixtures.Files
    model: face_model.FaceModel
    person: character.Character
    act: performance.Performance
    head: rig.Head


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> fixtures.Files:
    return fixtures.write(tmp_path_factory.mktemp("bpy"))


@pytest.fixture
def stage(files: fixtures.Files) -> Iterator[Stage]:
    scene.empty_file()
    model, person = face_model.load(files.face_model), character.load(files.character)
    head = rig.build(model, person, None, person.pose_mean.astype(float))
    yield Stage(files, model, person, performance.load(files.performance), head)
    scene.empty_file()


def evaluated(item: Any) -> np.ndarray:
    """(V, 3) world positions of the object's vertices with keys, modifiers and parents applied."""
    mesh = item.evaluated_get(bpy.context.evaluated_depsgraph_get()).data
    points = np.empty(3 * len(mesh.vertices), np.float32)
    mesh.vertices.foreach_get("co", points)
    matrix = np.array(item.matrix_world)
    return points.reshape(-1, 3) @ matrix[:3, :3].T + matrix[:3, 3]


@pytest.fixture
def tmp_files(tmp_path: Path) -> fixtures.Files:
    return fixtures.write(tmp_path)
