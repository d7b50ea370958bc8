"""Files in the exact layouts of the published face models, with the built-in head's face in them, tilted, resized."""

from __future__ import annotations

import json
import pickle
import struct
import sys
import types
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import h5py
import numpy as np
from scipy.io import savemat
from scipy.sparse import csc_matrix

from ml_backend.config import head_model
from ml_backend.face_model.loaders.landmarks import MEDIAPIPE_OF_68
from ml_backend.face_model.model import FaceModel, load
from ml_backend.face_model.synthesis import rotation_matrix

UP = np.array([1.0, -1.0, -1.0])
SIZE, TILT, SHIFT = 1.06, np.radians(5.0), np.array([0.003, -0.02, 0.05])
"""How the face in the files differs from the built-in head's place."""


@dataclass(frozen=True)
class Toy:
    """A face in metres with y up, as the files have it; `kept` are the built-in head's vertices it consists of."""

    mean: np.ndarray
    corners: np.ndarray
    identity: np.ndarray
    modes: np.ndarray
    colour: np.ndarray
    points: np.ndarray
    kept: np.ndarray


@cache
def head() -> FaceModel:
    """The built-in head."""
    return load(head_model())


def place(points: np.ndarray) -> np.ndarray:
    """Points of the built-in head as the files have them: other size, tilt and place, y up."""
    return (SIZE * points @ rotation_matrix(np.array([TILT, 0, 0])).T + SHIFT) * UP


def turn(offsets: np.ndarray) -> np.ndarray:
    """The same for displacements."""
    return (SIZE * offsets @ rotation_matrix(np.array([TILT, 0, 0])).T) * UP


def pca(shapes: np.ndarray, count: int) -> np.ndarray:
    """(count, V, 3) principal modes of `shapes` (K, V, 3), each as long as its share of typical weights of ±0.5."""
    flat = shapes.reshape(len(shapes), -1)
    _, s, vt = np.linalg.svd(flat, full_matrices=False)
    return (0.5 * s[:count, None] * vt[:count]).reshape(count, -1, 3)


@cache
def toy(eyes: bool = False) -> Toy:
    """The front of the built-in head's skin (with its eyeballs), 40 modes of expression."""
    model = head()
    chosen = model.part("skin") & (model.mean_shape[:, 2] < 0.03) & (model.mean_shape[:, 1] < 0.1)
    if eyes:
        chosen |= model.part("eye_left") | model.part("eye_right")
    corners = model.triangles()
    corners = corners[chosen[corners].all(1)]
    kept = np.unique(corners)
    local = np.full(len(model.mean_shape), -1)
    local[kept] = np.arange(len(kept))
    points = np.full(68, local[model.landmark_vertex[152]])
    for index, mediapipe in MEDIAPIPE_OF_68.items():
        points[index] = local[model.landmark_vertex[mediapipe]]
    return Toy(
        place(model.mean_shape[kept].astype(float)), local[corners], turn(model.identity_basis[:6, kept].astype(float)),
        turn(pca(model.expression_basis[:, kept].astype(float), 40)), model.texture_mean[kept].astype(float), points,
        kept)  # fmt: skip


def columns(modes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(3V, n) unit columns and (n,) lengths."""
    flat = modes.reshape(len(modes), -1)
    length = np.linalg.norm(flat, axis=1)
    return (flat / length[:, None]).T, length


def write_front(folder: Path, face: Toy, *, expressions: bool = True, keypoints: bool = True) -> Path:
    """Deng's BFM_model_front.mat: decimetres, triangles from 1."""
    data = {
        "meanshape": (face.mean * 10).reshape(1, -1).astype(np.float32),
        "meantex": (face.colour * 255).reshape(1, -1).astype(np.float32),
        "idBase": (face.identity * 10).reshape(len(face.identity), -1).T.astype(np.float32),
        "texBase": np.full((face.mean.size, 2), 0.5, np.float32),
        "tri": face.corners + 1,
        "point_buf": np.ones((len(face.mean), 8), np.int32),
    }
    if expressions:
        data["exBase"] = (face.modes * 10).reshape(len(face.modes), -1).T.astype(np.float32)
    if keypoints:
        data["keypoints"] = face.points[None] + 1
    path = folder / "BFM_model_front.mat"
    savemat(path, data)
    return path


def write_expressions(folder: Path, face: Toy) -> None:
    """FaceWarehouse's Exp_Pca.bin (micrometres) and std_exp.txt."""
    basis, length = columns(face.modes * 1e6)
    content = struct.pack("<i", len(length)) + np.zeros(face.mean.size, "<f4").tobytes()
    (folder / "Exp_Pca.bin").write_bytes(content + basis.T.astype("<f4").tobytes())
    (folder / "std_exp.txt").write_text(" ".join(f"{value:.6e}" for value in length))


def write_2009(folder: Path, face: Toy, *, extra: int = 0) -> Path:
    """01_MorphableModel.mat: micrometres; `extra` vertices that BFM_exp_idx.mat leaves out again come first."""
    pad = np.concatenate([np.repeat(face.mean[:1], extra, 0), face.mean])
    basis, length = columns(np.concatenate([np.zeros((len(face.identity), extra, 3)), face.identity], 1) * 1e6)
    path = folder / "01_MorphableModel.mat"
    savemat(path, {
        "shapeMU": (pad * 1e6).reshape(-1, 1).astype(np.float32), "shapePC": basis.astype(np.float32),
        "shapeEV": length[:, None].astype(np.float32),
        "texMU": np.full((pad.size, 1), 128, np.float32), "texPC": np.full((pad.size, 2), 1e-3, np.float32),
        "texEV": np.ones((2, 1), np.float32), "tl": face.corners[:, ::-1] + 1 + extra,
        "segbin": np.ones((len(pad), 4), np.uint8)})  # fmt: skip
    savemat(folder / "BFM_exp_idx.mat", {"trimIndex": np.arange(len(face.mean))[:, None] + 1 + extra})
    return path


def write_h5(path: Path, face: Toy) -> Path:
    """BFM 2017's layout: millimetres, variances, cells 3 × F."""
    with h5py.File(path, "w") as data:
        for name, mean, modes in (
            ("shape", face.mean * 1000, face.identity * 1000),
            ("expression", face.mean * 0, face.modes * 1000),
            ("color", face.colour, np.full((2, *face.mean.shape), 1e-3)),
        ):
            basis, length = columns(modes)
            data[f"{name}/model/mean"] = mean.ravel().astype(np.float32)
            data[f"{name}/model/pcaBasis"] = basis.astype(np.float32)
            data[f"{name}/model/pcaVariance"] = (length**2).astype(np.float32)
            data[f"{name}/model/noiseVariance"] = np.float32(0)
            data[f"{name}/representer/cells"] = face.corners.T.astype(np.int32)
            data[f"{name}/representer/points"] = mean.T.astype(np.float32)
    return path


class _Ch:
    """Stands in for chumpy's array wrapper: pickled under chumpy's name, with its attributes."""

    def __init__(self, x: np.ndarray) -> None:
        self.x, self._dirty_vars, self._itr = x, set(), None


def flame_tables(face: Toy) -> dict:
    """FLAME's table, from a face with eyeballs: 300 + 100 modes, five joints."""
    model = head()
    eyes = [model.part(name)[face.kept] for name in ("eye_left", "eye_right")]
    jaw = np.linalg.norm(model.expression_basis[model.names.index("jawOpen")][face.kept], axis=1)
    jaw = np.where(eyes[0] | eyes[1], 0, jaw / jaw.max())
    weights = np.stack([0 * jaw, 1 - jaw - eyes[0] - eyes[1], jaw, *eyes], 1)
    dirs = np.zeros((len(face.mean), 3, 400))
    dirs[..., : len(face.identity)] = face.identity.transpose(1, 2, 0)
    dirs[..., 300 : 300 + len(face.modes)] = face.modes.transpose(1, 2, 0)
    regressor = np.zeros((5, len(face.mean)))
    for row, group in enumerate([weights[:, 1], weights[:, 1], jaw * (jaw < 0.2), *eyes]):
        regressor[row] = group / group.sum()
    return {
        "v_template": face.mean, "f": face.corners.astype(np.uint32), "shapedirs": dirs.astype(np.float32),
        "posedirs": np.zeros((len(face.mean), 3, 36), np.float32), "J_regressor": csc_matrix(regressor),
        "weights": weights, "kintree_table": np.array([[2**32 - 1, 0, 1, 1, 1], [0, 1, 2, 3, 4]], np.int64),
        "bs_style": "lbs", "bs_type": "lrotmin",
    }  # fmt: skip


def write_flame(path: Path, face: Toy, *, protocol: int = 2, **changes) -> Path:
    """FLAME's file as published: protocol 2, shapedirs in chumpy's wrapper, the regressor in SciPy's matrix."""
    module = types.ModuleType("chumpy.ch")
    _Ch.__module__, _Ch.__name__, _Ch.__qualname__ = "chumpy.ch", "Ch", "Ch"
    module.__dict__["Ch"] = _Ch
    tables = {**flame_tables(face), **changes}
    tables["shapedirs"] = _Ch(tables["shapedirs"])
    sys.modules["chumpy"], sys.modules["chumpy.ch"] = types.ModuleType("chumpy"), module
    try:
        path.write_bytes(pickle.dumps(tables, protocol=protocol))
    finally:
        del sys.modules["chumpy"], sys.modules["chumpy.ch"]
    return path


def write_obj(path: Path, vertices: np.ndarray, faces: dict[str, np.ndarray]) -> None:
    """An OBJ with `faces` by material, one texture coordinate per vertex."""
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in vertices]
    low, span = vertices.min(0), np.ptp(vertices, axis=0)
    lines += [f"vt {u:.5f} {v:.5f}" for u, v in ((vertices - low) / span)[:, :2]]
    for material, corners in faces.items():
        lines.append(f"usemtl {material}")
        lines += ["f " + " ".join(f"{i + 1}/{i + 1}" for i in row) for row in corners]
    path.write_text("\n".join(lines) + "\n")


def write_ict(folder: Path, face: Toy, names: dict[str, str]) -> Path:
    """ICT-FaceKit's folder: centimetres; `names` ICT expression → ARKit expression of the built-in head."""
    model = head()
    eyes = {"M_ScleraLeft": "eye_left", "M_ScleraRight": "eye_right"}
    faces = {name: face.corners[model.part(part)[face.kept][face.corners[:, 0]]] for name, part in eyes.items()}
    faces["M_Face"] = face.corners[model.part("skin")[face.kept][face.corners[:, 0]]]
    folder.mkdir(parents=True, exist_ok=True)
    write_obj(folder / "generic_neutral_mesh.obj", face.mean * 100, faces)
    write_obj(folder / "identity000.obj", (face.mean + face.identity[0]) * 100, {})
    for ict, arkit in names.items():
        offset = turn(model.expression_basis[model.names.index(arkit)][face.kept].astype(float))
        write_obj(folder / f"{ict}.obj", (face.mean + offset) * 100, {})
    (folder / "vertex_indices.json").write_text(json.dumps({"idx_to_landmark_verts": face.points.tolist()}))
    return folder
