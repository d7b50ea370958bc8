"""PhotoMesh: what of a photo turns with the head, as a mesh that shows the photo."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ml_backend.artefacts.schema import load_fields, require, save_fields

SCHEMA, VERSION = "parley.photo_mesh", 2


@dataclass(frozen=True)
class PhotoMesh:
    """N vertices, F quads, K expressions.

    Attributes
    ----------
    vertices : (N, 3) float32, metres, model space, at zero expression
    uv : (N, 2) float32, in the texture, v upwards
    faces : (F, 4) int32, counter-clockwise as the camera sees them
    still : (N,) float32 in [0, 1]: 0 moves with the head, 1 stays
    drawn : (V,) float32 in [0, 1], of the face model's vertices: how far each is drawn over the mesh
    shade : (V,) float32 ≥ 0: factor on the light of each
    names : (K,) str, expressions that move the mesh, and offsets : (K, N, 3) float32, metres at weight 1
    rest : (6,) float32, pose of the head in the photo (pitch, yaw, roll rad; x, y, z m)
    window : (4,) int32, x, y, width, height: pixels of the photo in which anything may change
    texture : () str, RGBA picture beside this file: the person's head, straight alpha
    plate : () str, RGB picture beside this file: the photo without it
    """

    vertices: np.ndarray
    uv: np.ndarray
    faces: np.ndarray
    still: np.ndarray
    drawn: np.ndarray
    shade: np.ndarray
    names: np.ndarray
    offsets: np.ndarray
    rest: np.ndarray
    window: np.ndarray
    texture: np.ndarray
    plate: np.ndarray


def save(mesh: PhotoMesh, path: Path) -> None:
    """Validate and write."""
    validate(mesh, path)
    save_fields(mesh, path, SCHEMA, VERSION)


def load(path: Path) -> PhotoMesh:
    """Read and validate; raises `ArtefactError`."""
    mesh = load_fields(PhotoMesh, path, SCHEMA, VERSION)
    validate(mesh, path)
    return mesh


def validate(mesh: PhotoMesh, path: Path | str = "photo mesh") -> None:
    """Raise `ArtefactError` unless shapes hold."""
    count = len(mesh.vertices)
    require(mesh.vertices.shape == (count, 3) and count > 0, path, "vertices is not (N, 3)")
    require(mesh.uv.shape == (count, 2), path, "uv is not (N, 2)")
    require(mesh.still.shape == (count,), path, "still is not (N,)")
    require(mesh.drawn.ndim == 1 and mesh.shade.shape == mesh.drawn.shape, path, "drawn or shade is not (V,)")
    require(mesh.faces.ndim == 2 and mesh.faces.shape[1] == 4 and len(mesh.faces) > 0, path, "faces is not (F, 4)")
    require(int(mesh.faces.min()) >= 0 and int(mesh.faces.max()) < count, path, "a face names no vertex")
    require(mesh.offsets.shape == (len(mesh.names), count, 3), path, "offsets is not (K, N, 3)")
    require(mesh.rest.shape == (6,), path, "rest is not (6,)")
    require(mesh.window.shape == (4,) and bool((mesh.window[2:] > 0).all()), path, "window is no rectangle")
    for name in ("vertices", "uv", "still", "drawn", "shade", "offsets", "rest"):
        require(bool(np.isfinite(getattr(mesh, name)).all()), path, f"{name} holds values that are no numbers")
