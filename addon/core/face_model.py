"""FaceModel as the add-on needs it: the same file that the backend writes, read without the backend."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from .npz import load_npz, require

SCHEMA, VERSION = "parley.face_model", 1


@dataclass(frozen=True)
class FaceModel:
    """V vertices, F faces, U texture coordinates, K expressions, R regions. Bases that only fitting needs are not read.

    Attributes
    ----------
    name : () str
    mean_shape : (V, 3) float32, metres, OpenCV axes: x to the image's right, y down, nose at the smallest z
    expression_basis : (K, V, 3) float32, metres at weight 1
    expression_names : (K,) str
    texture_mean : (V, 3) float32, albedo, display-encoded RGB in [0, 1]
    faces : (F, 4) int32, outward counter-clockwise; -1 in the 4th = triangle
    uv : (U, 2) float32 in [0, 1], v upwards
    face_uvs : (F, 4) int32 into `uv`, -1 like `faces`
    face_material : (F,) int32 into `material_names`
    material_names : (M,) str
    region_names : (R,) str, with "face" and "lips"
    regions : (R, V) float32 in [0, 1]
    part_names : (P,) str
    vertex_part : (V,) int32 into `part_names`
    joint_names : (N,) str, with "head", "jaw", "eye_left", "eye_right"
    joints : (N, 3) float32, metres
    """

    name: np.ndarray
    mean_shape: np.ndarray
    expression_basis: np.ndarray
    expression_names: np.ndarray
    texture_mean: np.ndarray
    faces: np.ndarray
    uv: np.ndarray
    face_uvs: np.ndarray
    face_material: np.ndarray
    material_names: np.ndarray
    region_names: np.ndarray
    regions: np.ndarray
    part_names: np.ndarray
    vertex_part: np.ndarray
    joint_names: np.ndarray
    joints: np.ndarray

    def region(self, name: str) -> np.ndarray:
        """(V,) float32 weights of the region `name`; `KeyError` if there is none."""
        return self.regions[index_of(self.region_names, name)]

    @property
    def names(self) -> list[str]:
        """Expression names as a list."""
        return [str(name) for name in self.expression_names]

    @property
    def materials(self) -> list[str]:
        """Material names as a list."""
        return [str(name) for name in self.material_names]


def index_of(names: np.ndarray, name: str) -> int:
    """Position of `name` in the str array `names`; `KeyError` if it is not there."""
    found = np.flatnonzero(names == name)
    if not len(found):
        raise KeyError(f"{name} is none of {', '.join(map(str, names))}")
    return int(found[0])


def load(path: Path | str) -> FaceModel:
    """Read and validate the FaceModel at `path`; raises `ArtefactError` if it is not one."""
    names = tuple(field.name for field in fields(FaceModel))
    model = FaceModel(**load_npz(path, SCHEMA, VERSION, names))
    _check_geometry(model, path)
    _check_tables(model, path)
    return model


def _check_geometry(model: FaceModel, path: Path | str) -> None:
    vertices = len(model.mean_shape)
    require(model.mean_shape.shape == (vertices, 3) and vertices > 0, path, "mean_shape is not (V, 3)")
    require(model.texture_mean.shape == (vertices, 3), path, "texture_mean is not (V, 3)")
    require(model.expression_basis.shape == (len(model.expression_names), vertices, 3), path,
            "expression_basis is not (K, V, 3)")
    require(model.faces.ndim == 2 and model.faces.shape[1] == 4, path, "faces is not (F, 4)")
    require(bool((model.faces[:, :3] >= 0).all()) and int(model.faces.max()) < vertices, path, "a face names no vertex")
    require(model.face_uvs.shape == model.faces.shape, path, "face_uvs and faces differ in shape")
    require(int(model.face_uvs.max()) < len(model.uv), path, "a face names no texture coordinate")
    for name in ("mean_shape", "expression_basis"):
        require(bool(np.isfinite(getattr(model, name)).all()), path, f"{name} holds values that are no numbers")


def _check_tables(model: FaceModel, path: Path | str) -> None:
    vertices = len(model.mean_shape)
    require(len(set(model.names)) == len(model.names), path, "an expression name occurs twice")
    require(model.face_material.shape == (len(model.faces),), path, "face_material is not (F,)")
    require(model.regions.shape == (len(model.region_names), vertices), path, "regions is not (R, V)")
    require(model.vertex_part.shape == (vertices,), path, "vertex_part is not (V,)")
    for needed in ("face", "lips"):
        require(needed in model.region_names, path, f"region {needed} is missing")
    for needed in ("head", "jaw", "eye_left", "eye_right"):
        require(needed in model.joint_names, path, f"joint {needed} is missing")
