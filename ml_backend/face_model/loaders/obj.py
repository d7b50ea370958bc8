"""Reads Wavefront OBJ files as face models come: vertices, texture coordinates, triangles and quads, materials."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ml_backend.errors import UserInputError
from ml_backend.face_model.loaders.raw import check_numbers, reading


@dataclass(frozen=True)
class Mesh:
    """vertices (V, 3), uv (U, 2), faces and face_uvs (F, 4) with -1 for a triangle's 4th, material (F,), materials."""

    vertices: np.ndarray
    uv: np.ndarray
    faces: np.ndarray
    face_uvs: np.ndarray
    material: np.ndarray
    materials: list[str]


def read(path: Path) -> Mesh:
    """The mesh at `path`; raises `UserInputError`, also for faces of more than four corners."""
    with reading(path, "OBJ"):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        vertices = _floats([line for line in lines if line.startswith("v ")], 3)
        uv = _floats([line for line in lines if line.startswith("vt ")], 2)
        faces, face_uvs, material, materials = _faces(path, lines)
    if not len(vertices) or not len(faces):
        raise UserInputError(f"{path} has no {'faces' if len(vertices) else 'vertices'}; get the file again.")
    check_numbers(path, "its vertices", vertices)
    if faces.max() >= len(vertices) or face_uvs.max() >= len(uv):
        raise UserInputError(f"{path}: its faces name vertices that it does not have; the file is cut off.")
    return Mesh(vertices, uv, faces, face_uvs, material, materials)


def read_vertices(path: Path, count: int) -> np.ndarray:
    """(count, 3) vertices of the OBJ at `path`; raises `UserInputError` if it has another number of them."""
    with reading(path, "OBJ"), path.open(encoding="utf-8", errors="replace") as stream:
        vertices = _floats([line for line in stream if line.startswith("v ")], 3)
    if len(vertices) != count:
        raise UserInputError(f"{path} has {len(vertices)} vertices where the neutral mesh has {count}; get it again.")
    return check_numbers(path, "its vertices", vertices)


def _floats(lines: list[str], width: int) -> np.ndarray:
    rows = [line.split()[1 : width + 1] for line in lines]
    return np.array(rows, float).reshape(-1, width)


def _faces(path: Path, lines: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    faces, uvs, material, materials = [], [], [], ["none"]
    current = 0
    for line in lines:
        if line.startswith("usemtl"):
            name = [*line.split(), "none"][1]
            if name not in materials:
                materials.append(name)
            current = materials.index(name)
        elif line.startswith("f "):
            corners = [corner.split("/") for corner in line.split()[1:]]
            if not 3 <= len(corners) <= 4:
                raise UserInputError(f"{path} has a face of {len(corners)} corners; only triangles and quads are read.")
            pad = [-1] * (4 - len(corners))
            faces.append([int(corner[0]) - 1 for corner in corners] + pad)
            uvs.append([int(corner[1]) - 1 if len(corner) > 1 and corner[1] else 0 for corner in corners] + pad)
            material.append(current)
    shape = (-1, 4)
    return (np.array(faces, np.int32).reshape(shape), np.array(uvs, np.int32).reshape(shape),
            np.array(material, np.int32), materials)  # fmt: skip
