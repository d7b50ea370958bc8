"""FaceModel: a linear 3D morphable model with named expressions, drawn parts and landmarks.

S = S̄ + B_id α + B_exp β and T = T̄ + B_tex δ (Yi et al. 2020, §3.1). Model space is metres with OpenCV's axes
for a face that looks into the camera: x to the image's right, y down, z away from the camera (the nose has the
smallest z).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from ml_backend.artefacts.schema import load_fields, require, save_fields

SCHEMA, VERSION = "parley.face_model", 1


@dataclass(frozen=True)
class FaceModel:
    """Arrays of a face model. V vertices, F faces, U texture coordinates, I, K, J basis sizes, L landmarks.

    Attributes
    ----------
    name : () str
    mean_shape : (V, 3) float32, metres
    identity_basis : (I, V, 3) float32, metres per unit; coefficients of a typical person are N(0, 1)
    expression_basis : (K, V, 3) float32, metres at weight 1
    expression_names : (K,) str, ARKit's 52 names in lowerCamel for the built-in head
    texture_mean : (V, 3) float32, albedo, display-encoded RGB in [0, 1]
    texture_basis : (J, V, 3) float32, per unit, coefficients N(0, 1)
    faces : (F, 4) int32, vertices, counter-clockwise from outside (model space is right-handed); 4th -1 = triangle
    uv : (U, 2) float32 in [0, 1], v upwards
    face_uvs : (F, 4) int32 into `uv`, -1 like `faces`
    face_material : (F,) int32 into `material_names`
    material_names : (M,) str
    landmark_index : (L,) int32, index in MediaPipe's 478-point face mesh
    landmark_vertex : (L,) int32, the vertex that lies at that landmark
    region_names : (R,) str; always there: "face" (drawn over a plate; 1 inside, falling to 0 at its edge), "lips"
    regions : (R, V) float32 in [0, 1]
    part_names : (P,) str, e.g. skin, mouth_bag, teeth_upper, teeth_lower, tongue, eye_left, eye_right
    vertex_part : (V,) int32 into `part_names`
    joint_names : (N,) str; always there: "head" (pivot of the neck), "jaw", "eye_left", "eye_right" (the person's left)
    joints : (N, 3) float32, metres
    """

    name: np.ndarray
    mean_shape: np.ndarray
    identity_basis: np.ndarray
    expression_basis: np.ndarray
    expression_names: np.ndarray
    texture_mean: np.ndarray
    texture_basis: np.ndarray
    faces: np.ndarray
    uv: np.ndarray
    face_uvs: np.ndarray
    face_material: np.ndarray
    material_names: np.ndarray
    landmark_index: np.ndarray
    landmark_vertex: np.ndarray
    region_names: np.ndarray
    regions: np.ndarray
    part_names: np.ndarray
    vertex_part: np.ndarray
    joint_names: np.ndarray
    joints: np.ndarray

    def region(self, name: str) -> np.ndarray:
        """(V,) float32 weights of the region `name`; `KeyError` if the model has no such region."""
        return self.regions[_index(self.region_names, name)]

    def joint(self, name: str) -> np.ndarray:
        """(3,) position of the joint `name`, metres; `KeyError` if there is none."""
        return self.joints[_index(self.joint_names, name)]

    def part(self, name: str) -> np.ndarray:
        """(V,) bool mask of the vertices of part `name`; `KeyError` if there is none."""
        return self.vertex_part == _index(self.part_names, name)

    @property
    def names(self) -> list[str]:
        """Expression names as a list."""
        return [str(name) for name in self.expression_names]

    def triangles(self) -> np.ndarray:
        """(N, 3) int32: `faces` with every quad split in two."""
        quads = self.faces[self.faces[:, 3] >= 0]
        return np.concatenate([self.faces[:, :3], quads[:, [0, 2, 3]]]).astype(np.int32)


def _check_kinds(model: FaceModel, path: Path | str) -> None:
    """Numbers are finite numbers, indices whole, names text."""
    for field in fields(FaceModel):
        values = getattr(model, field.name)
        if field.name == "name" or field.name.endswith("_names"):
            require(values.dtype.kind == "U" and (field.name == "name" or values.ndim == 1), path,
                    f"{field.name} is no text")
        elif field.name.startswith(("face", "landmark", "vertex")):
            require(values.dtype.kind in "iu", path, f"{field.name} holds no whole numbers")
        else:
            finite = values.dtype.kind == "f" and bool(np.isfinite(values).all())
            require(finite, path, f"{field.name} holds values that are no numbers")


def _check_faces(model: FaceModel, path: Path | str) -> None:
    faces = len(model.faces)
    require(model.faces.ndim == 2 and model.faces.shape[1:] == (4,) and faces > 0, path, "faces is not (F, 4)")
    require(model.face_uvs.shape == model.faces.shape, path, "face_uvs and faces differ in shape")
    require(model.uv.ndim == 2 and model.uv.shape[1] == 2, path, "uv is not (U, 2)")
    for values, end, what in ((model.faces, len(model.mean_shape), "vertex"),
                              (model.face_uvs, len(model.uv), "texture coordinate")):
        triangle = values[:, 3] < 0
        right = _below(values[:, :3], end) and _below(values[~triangle, 3], end)
        require(right and bool((triangle == (model.faces[:, 3] < 0)).all()), path, f"a face names no {what}")
    require(model.face_material.shape == (faces,), path, "face_material is not (F,)")
    require(_below(model.face_material, len(model.material_names)), path, "a face is of no material")


def _below(values: np.ndarray, end: int) -> bool:
    """Whether all `values` are indices of something that has `end` entries."""
    return not values.size or (int(values.min()) >= 0 and int(values.max()) < end)


def _index(names: np.ndarray, name: str) -> int:
    found = np.flatnonzero(names == name)
    if not len(found):
        raise KeyError(f"{name} is none of {', '.join(map(str, names))}")
    return int(found[0])


def save(model: FaceModel, path: Path) -> None:
    """Validate `model` and write it to `path`."""
    validate(model, path)
    save_fields(model, path, SCHEMA, VERSION)


def load(path: Path) -> FaceModel:
    """Read and validate the FaceModel at `path`; raises `ArtefactError` if it is not one."""
    model = load_fields(FaceModel, path, SCHEMA, VERSION)
    validate(model, path)
    return model


def validate(model: FaceModel, path: Path | str = "face model") -> None:
    """Raise `ArtefactError` unless kinds, shapes, ranges and required names hold."""
    _check_kinds(model, path)
    vertices = len(model.mean_shape)
    for name in ("identity_basis", "expression_basis", "texture_basis"):
        require(getattr(model, name).shape[1:] == (vertices, 3), path, f"{name} is not (n, {vertices}, 3)")
    require(model.mean_shape.shape == (vertices, 3) and vertices > 0, path, "mean_shape is not (V, 3)")
    require(model.texture_mean.shape == (vertices, 3), path, "texture_mean is not (V, 3)")
    require(
        len(model.expression_names) == len(model.expression_basis), path, "expression names and basis differ in number"
    )
    require(len(set(model.names)) == len(model.names), path, "an expression name occurs twice")
    _check_faces(model, path)
    require(model.landmark_index.shape == model.landmark_vertex.shape, path, "landmark arrays differ in length")
    for values, end in ((model.landmark_index, 478), (model.landmark_vertex, vertices)):
        require(values.ndim == 1 and _below(values, end), path, "a landmark names no point")
    require(model.regions.shape == (len(model.region_names), vertices), path, "regions is not (R, V)")
    require(model.vertex_part.shape == (vertices,), path, "vertex_part is not (V,)")
    require(_below(model.vertex_part, len(model.part_names)), path, "a vertex is of no part")
    require(model.joints.shape == (len(model.joint_names), 3), path, "joints is not (N, 3)")
    for needed in ("face", "lips"):
        require(needed in model.region_names, path, f"region {needed} is missing")
    for needed in ("head", "jaw", "eye_left", "eye_right"):
        require(needed in model.joint_names, path, f"joint {needed} is missing")
