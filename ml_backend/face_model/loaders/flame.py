"""FLAME 2020 and 2023 (Li et al. 2017): ``generic_model.pkl``, ``flame2023.pkl``; metres, y up, z to the front.

Shape and expression modes are per standard deviation already. What the face does about its jaw is no mode but a joint,
so turns of the jaw are added to the modes, by the model's own skinning weights and corrective shapes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from ml_backend.errors import UserInputError
from ml_backend.face_model.loaders import inner, opcodes
from ml_backend.face_model.loaders.raw import (
    UPRIGHT,
    RawModel,
    check_corners,
    check_shape,
    even_bounds,
    from_triangles,
    need,
    outward,
    reading,
    whole,
)
from ml_backend.face_model.synthesis import rotation_matrix

KIND = "FLAME"
KEYS = ("v_template", "f", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table")
MODES, SHAPES = 400, 300
"""Published modes: 300 of identity, then 100 of expression."""
IDENTITIES = 100
JOINTS, NECK, JAW, EYE_LEFT, EYE_RIGHT = 5, 1, 2, 3, 4
JAW_TURNS = (((0.35, 0.0, 0.0), -0.15, 1.3), ((0.0, 0.15, 0.0), -1.0, 1.0))
"""Turns of the jaw as modes: angles about x (opens) and y (left and right), least and greatest coefficient."""


def read(path: Path) -> RawModel:
    """The model at `path`; raises `UserInputError`, also if the file wants to run something."""
    data = _data(path)
    need(path, data, KEYS, KIND)
    with reading(path, KIND, opcodes.Damaged):
        arrays = {key: _numbers(path, key, opcodes.array(data[key])) for key in KEYS}
    mean = check_shape(path, "v_template", arrays["v_template"].astype(float), (None, 3))
    count = len(mean)
    modes = check_shape(path, "shapedirs", arrays["shapedirs"], (count, 3, None))
    if modes.shape[2] != MODES:
        raise UserInputError(f"{path}: shapedirs has {modes.shape[2]} modes where FLAME 2020 and 2023 have {MODES}.")
    check_shape(path, "weights", arrays["weights"], (count, JOINTS))
    check_shape(path, "J_regressor", arrays["J_regressor"], (JOINTS, count))
    check_shape(path, "posedirs", arrays["posedirs"], (count, 3, 9 * (JOINTS - 1)))
    faces = from_triangles(check_corners(path, whole(path, "f", arrays["f"]), count))
    faces = outward(mean * UPRIGHT, faces)
    joints = arrays["J_regressor"] @ mean
    expression = modes[:, :, SHAPES:].transpose(2, 0, 1)
    turns = np.stack([turn_jaw(mean, joints, arrays, np.array(turn[0])) for turn in JAW_TURNS])
    bounds = np.concatenate([even_bounds(len(expression)), np.array([turn[1:] for turn in JAW_TURNS]).T], 1)
    material, materials, part, parts = _eyes(mean * UPRIGHT, faces, arrays["weights"])
    axes = UPRIGHT.astype(np.float32)
    return RawModel(
        KIND, mean * UPRIGHT, faces,
        identity=modes[:, :, :IDENTITIES].transpose(2, 0, 1).astype(np.float32) * axes,
        modes=np.concatenate([expression, turns]).astype(np.float32) * axes, bounds=bounds,
        material=material, materials=materials, part=part, parts=parts,
        joints={"jaw": joints[JAW] * UPRIGHT, "head": joints[NECK] * UPRIGHT},
        notes=["It has no colours in this file; the built-in head's were laid over it."],
    )  # fmt: skip


def _numbers(path: Path, key: str, values: np.ndarray) -> np.ndarray:
    if values.dtype.kind not in "iuf":
        raise UserInputError(f"{path}: {key} holds no numbers; get the file again.")
    return values


def _data(path: Path) -> dict:
    with reading(path, KIND):
        content = path.read_bytes()
    try:
        data = opcodes.read(content)
    except opcodes.Refused as error:
        raise UserInputError(
            f"{path} wants to run {error}; Parley takes arrays out of such a file and runs nothing, so get FLAME from "
            "its own site."
        ) from error
    except opcodes.Damaged as error:
        raise UserInputError(f"{path} can't be read as a {KIND} file ({error}); get it again.") from error
    if not isinstance(data, dict):
        raise UserInputError(f"{path} holds no table of arrays; that is no {KIND} file.")
    return data


def turn_jaw(mean: np.ndarray, joints: np.ndarray, arrays: dict[str, np.ndarray], angles: np.ndarray) -> np.ndarray:
    """(V, 3) what a turn of the jaw by `angles` (3,) rad does to `mean` (V, 3): skinning and its corrective shapes."""
    turn = rotation_matrix(angles)
    rest = mean + arrays["posedirs"][:, :, 9 * (JAW - 1) : 9 * JAW] @ (turn - np.eye(3)).ravel()
    offset = rest - joints[JAW]
    return rest + arrays["weights"][:, JAW, None] * (offset @ turn.T - offset) - mean


def _eyes(mean: np.ndarray, faces: np.ndarray, weights: np.ndarray
          ) -> tuple[np.ndarray, list[str], np.ndarray, list[str]]:  # fmt: skip
    """Materials and parts: the pieces of the mesh that hang on the joints of the eyes are the eyeballs."""
    materials, parts = ["skin", *inner.EYE_MATERIALS], ["skin", "eye_left", "eye_right"]
    material, part = np.zeros(len(faces), np.int32), np.zeros(len(mean), np.int32)
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]]])
    link = coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(len(mean), len(mean)))
    count, piece = connected_components(link, directed=False)
    owner = np.stack([np.bincount(piece, weights[:, joint], count) for joint in range(JOINTS)]).argmax(0)
    for joint in (EYE_LEFT, EYE_RIGHT):
        ball = (owner == joint)[piece]
        rows = ball[faces[:, 0]]
        if rows.any():
            part[ball] = parts.index("eye_left" if mean[ball, 0].mean() > 0 else "eye_right")
            material[rows] = 1 + inner.eye_material(mean, faces[rows], (mean[ball].min(0) + mean[ball].max(0)) / 2)
    return material, materials, part, parts
