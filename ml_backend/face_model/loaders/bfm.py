"""Basel Face Model 2009 (Paysan et al. 2009), and Deng et al.'s (2019) front of it with FaceWarehouse's expressions.

Files and keys as published: ``01_MorphableModel.mat`` (53,490 vertices, micrometres, colours 0–255, standard deviations
in shapeEV and texEV); ``Exp_Pca.bin`` (Guo et al. 2018: an int32 count of modes, then float32 mean and modes of the
53,215 vertices that ``BFM_exp_idx.mat`` names) and ``std_exp.txt`` (Deng et al.); ``BFM_model_front.mat`` (35,709
vertices, 80 + 64 + 80 modes times their standard deviations, decimetres), written from those by Deng et al.'s code.
"""

from __future__ import annotations

import struct
from pathlib import Path

import h5py
import numpy as np
from scipy.io import loadmat, whosmat
from scipy.io.matlab import MatReadError

from ml_backend.errors import UserInputError
from ml_backend.face_model.loaders import landmarks as lm
from ml_backend.face_model.loaders.raw import (
    UPRIGHT,
    RawModel,
    check_corners,
    check_numbers,
    check_shape,
    check_size,
    even_bounds,
    from_triangles,
    modes_of,
    need,
    outward,
    points,
    reading,
    skin_only,
    whole,
)

MORPHABLE, FRONT = "01_MorphableModel.mat", "BFM_model_front.mat"
EXPRESSIONS, DEVIATIONS = "Exp_Pca.bin", "std_exp.txt"
TRIMMED, FRONTAL, INFO = "BFM_exp_idx.mat", "BFM_front_idx.mat", "facemodel_info.mat"
VERTICES_2009, VERTICES_FRONT = 53490, 35709
MICROMETRE, DECIMETRE, FULL_COLOUR = 1e-6, 0.1, 255.0
IDENTITIES, EXPRESSION_MODES, TEXTURES = 80, 64, 80
KEYS_2009 = ("shapeMU", "shapePC", "shapeEV", "texMU", "texPC", "texEV", "tl")
KEYS_FRONT = ("meanshape", "meantex", "idBase", "texBase", "tri")
ALL_KEYS = (*KEYS_2009, *KEYS_FRONT, "exBase", "keypoints", "trimIndex", "idx")


def which(path: Path) -> str:
    """"bfm2009" or "bfm-front" by the keys of the ``.mat`` at `path`."""
    names = _entries(path)
    if "shapeMU" in names:
        return "bfm2009"
    if "meanshape" in names:
        return "bfm-front"
    raise UserInputError(f"{path} has neither shapeMU (BFM 2009) nor meanshape (Deng's front); it is no face model.")


def read_front(paths: list[Path]) -> RawModel:
    """Deng's model; its expressions are in the file, or in Exp_Pca.bin and std_exp.txt beside or among `paths`."""
    path = _find(paths, FRONT, ".mat")
    data = _mat(path)
    need(path, data, KEYS_FRONT, "BFM front")
    mean = points(path, "meanshape", data["meanshape"])
    rows = 3 * len(mean)
    identity = check_shape(path, "idBase", data["idBase"], (rows, None))
    texture = check_shape(path, "texBase", data["texBase"], (rows, None))
    colour = check_shape(path, "meantex", points(path, "meantex", data["meantex"]), (len(mean), 3))
    faces = from_triangles(check_corners(path, whole(path, "tri", data["tri"]) - 1, len(mean)))
    marks = whole(path, "keypoints", data["keypoints"]).ravel() - 1 if "keypoints" in data else np.zeros(0, int)
    if "exBase" in data:
        base = check_shape(path, "exBase", data["exBase"], (rows, None))
        modes = modes_of(base, np.ones(base.shape[1]), DECIMETRE, EXPRESSION_MODES)
    else:
        modes = _front_expressions(path, paths, len(mean))
    mean = mean * UPRIGHT * DECIMETRE
    middle = mean.mean(0)
    return RawModel(
        "BFM front", mean - middle, outward(mean, faces),
        identity=modes_of(identity, np.ones(identity.shape[1]), DECIMETRE, IDENTITIES),
        modes=modes, bounds=even_bounds(len(modes)),
        texture=colour / FULL_COLOUR,
        texture_modes=_colour_modes(texture, np.ones(texture.shape[1])),
        anchors=_keypoints(path, marks, len(mean)),
        **skin_only(mean, faces),
    )  # fmt: skip


def _keypoints(path: Path, marks: np.ndarray, vertices: int) -> dict[int, int]:
    if not len(marks):
        return {}
    check_shape(path, "keypoints", marks, (68,))
    if marks.min() < 0 or marks.max() >= vertices:
        raise UserInputError(f"{path}: its keypoints name vertices that the model (of {vertices}) does not have.")
    return lm.anchors(marks)


def _front_expressions(path: Path, paths: list[Path], vertices: int) -> np.ndarray:
    _, modes = _expressions(path, paths)
    if modes.shape[1] != vertices:
        frontal = _indices(_companion(path, paths, FRONTAL), "idx", modes.shape[1])
        modes = modes[:, check_shape(path, "meanshape", frontal, (vertices,))]
    return modes


def read_2009(paths: list[Path]) -> RawModel:
    """BFM 2009; with Exp_Pca.bin among (or beside) `paths` it has FaceWarehouse's expressions, else none at all."""
    path = _find(paths, MORPHABLE, ".mat")
    data = _mat(path)
    need(path, data, KEYS_2009, "BFM 2009")
    mean = points(path, "shapeMU", data["shapeMU"])
    count, rows = len(mean), 3 * len(mean)
    shape, texture = (check_shape(path, key, data[key], (rows, None)) for key in ("shapePC", "texPC"))
    shape_sigma, texture_sigma = (data[key].ravel() for key in ("shapeEV", "texEV"))
    check_shape(path, "shapeEV", shape_sigma, (shape.shape[1],))
    check_shape(path, "texEV", texture_sigma, (texture.shape[1],))
    colour = check_shape(path, "texMU", points(path, "texMU", data["texMU"]), (count, 3))
    faces = from_triangles(check_corners(path, whole(path, "tl", data["tl"]) - 1, count))
    mean = mean * UPRIGHT * MICROMETRE
    raw = RawModel(
        "BFM 2009", mean, outward(mean, faces),
        identity=modes_of(shape, shape_sigma, MICROMETRE, IDENTITIES),
        modes=np.zeros((0, count, 3), np.float32), bounds=even_bounds(0),
        texture=colour / FULL_COLOUR, texture_modes=_colour_modes(texture, texture_sigma),
        anchors=lm.anchors(lm.BFM_2009) if count == VERTICES_2009 else {},
        **skin_only(mean, faces),
    )  # fmt: skip
    if not _has(path, paths, EXPRESSIONS):
        raw.notes.append(
            f"BFM 2009 has no expressions of its own and {EXPRESSIONS} is not beside it; the built-in head's motion "
            "was laid over it."
        )
        return raw
    return _with_expressions(raw, path, paths)


def _with_expressions(raw: RawModel, path: Path, paths: list[Path]) -> RawModel:
    """`raw` cut down to the vertices that FaceWarehouse's expressions have, and further to Deng's front if named."""
    _, modes = _expressions(path, paths)
    chosen = np.arange(len(raw.mean))
    if modes.shape[1] != len(raw.mean):
        chosen = _indices(_companion(path, paths, TRIMMED), "trimIndex", len(raw.mean))
        if len(chosen) != modes.shape[1]:
            raise UserInputError(f"{EXPRESSIONS} has {modes.shape[1]} vertices, {TRIMMED} names {len(chosen)}; they "
                                 "don't belong together.")  # fmt: skip
    if _has(path, paths, FRONTAL):
        front = _indices(_companion(path, paths, FRONTAL), "idx", len(chosen))
        chosen, modes = chosen[front], modes[:, front]
    local = np.full(len(raw.mean), -1)
    local[chosen] = np.arange(len(chosen))
    faces = np.pad(local[raw.faces[:, :3]], ((0, 0), (0, 1)), constant_values=-1)
    faces = faces[(faces[:, :3] >= 0).all(1)]
    assert raw.texture is not None and raw.texture_modes is not None
    return RawModel(
        "BFM 2009 with FaceWarehouse expressions", raw.mean[chosen], faces.astype(np.int32),
        identity=raw.identity[:, chosen], modes=modes, bounds=even_bounds(len(modes)),
        texture=raw.texture[chosen], texture_modes=raw.texture_modes[:, chosen],
        anchors={index: int(local[vertex]) for index, vertex in raw.anchors.items() if local[vertex] >= 0},
        notes=raw.notes, **skin_only(raw.mean[chosen], faces),
    )  # fmt: skip


def _colour_modes(basis: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    modes = (basis[:, :TEXTURES] * sigma[:TEXTURES] / FULL_COLOUR).astype(np.float32)
    return modes.T.reshape(modes.shape[1], len(basis) // 3, 3)


def _expressions(path: Path, paths: list[Path]) -> tuple[np.ndarray, np.ndarray]:
    """(V, 3) mean and (64, V, 3) modes in metres per standard deviation, from Exp_Pca.bin and std_exp.txt."""
    source, sigma_path = (_companion(path, paths, name) for name in (EXPRESSIONS, DEVIATIONS))
    with reading(source, EXPRESSIONS):
        content = source.read_bytes()
    count = int(np.frombuffer(content[:4], "<i4")[0]) if len(content) >= 4 else 0
    numbers = (len(content) - 4) // 4
    if not 1 <= count <= 1000 or len(content) % 4 or numbers % (3 * (count + 1)):
        raise UserInputError(f"{source} is no whole {EXPRESSIONS}: {len(content)} bytes don't make a mean and {count} "
                             "modes; get it again.")  # fmt: skip
    values = check_numbers(source, "its modes", np.frombuffer(content[4:], "<f4"))
    values = values.reshape(count + 1, -1, 3)
    with reading(sigma_path, DEVIATIONS):
        sigma = np.loadtxt(sigma_path, dtype=float).ravel()
    if len(sigma) < min(count, EXPRESSION_MODES):
        raise UserInputError(f"{sigma_path} has {len(sigma)} values for {count} modes of {source.name}; get it again.")
    check_numbers(sigma_path, "it", sigma)
    used = min(count, EXPRESSION_MODES)
    axes = (UPRIGHT * MICROMETRE).astype(np.float32)
    return values[0] * axes, values[1 : used + 1] * sigma[:used, None, None].astype(np.float32) * axes


def _indices(path: Path, key: str, vertices: int) -> np.ndarray:
    data = _mat(path)
    need(path, data, (key,), path.name)
    found = whole(path, key, data[key]).ravel() - 1
    if not len(found) or found.min() < 0 or found.max() >= vertices:
        raise UserInputError(f"{path} names vertices that the model (of {vertices}) does not have.")
    return found


def _mat(path: Path) -> dict:
    entries = _entries(path)
    with reading(path, "MATLAB", MatReadError, struct.error):
        # Only what is needed: other variables may be objects of any kind.
        return loadmat(str(path), variable_names=[name for name in ALL_KEYS if name in entries])


def _entries(path: Path) -> set[str]:
    """Names of the variables in the ``.mat`` at `path`, none of which is too large."""
    if path.is_file() and h5py.is_hdf5(path):
        raise UserInputError(
            f"{path} is a MATLAB 7.3 file, the models' own are version 5; get it again, or save it with -v7 in MATLAB."
        )
    with reading(path, "MATLAB", MatReadError, struct.error):
        entries = whosmat(str(path))
    for name, shape, _ in entries:
        check_size(path, name, shape)
    return {name for name, _, _ in entries}


def _folders(path: Path, paths: list[Path]) -> list[Path]:
    return [path.parent, *(other if other.is_dir() else other.parent for other in paths)]


def _find(paths: list[Path], name: str, suffix: str) -> Path:
    """The main file: `name` in a given folder, a given file called so, or the only given one with `suffix`."""
    for path in paths:
        inside = path / name if path.is_dir() else path
        if inside.name.lower() == name.lower() and inside.exists():
            return inside
    aside = {TRIMMED.lower(), FRONTAL.lower(), INFO.lower()}
    rest = [path for path in paths if path.suffix.lower() == suffix and path.name.lower() not in aside]
    if len(rest) != 1:
        raise UserInputError(f"There is no {name} among the given paths; give it too.")
    return rest[0]


def _has(path: Path, paths: list[Path], name: str) -> bool:
    given = any(other.name.lower() == name.lower() for other in paths)
    return given or any((folder / name).exists() for folder in _folders(path, paths))


def _companion(path: Path, paths: list[Path], name: str) -> Path:
    for other in paths:
        if other.name.lower() == name.lower() and other.is_file():
            return other
    for folder in _folders(path, paths):
        if (folder / name).exists():
            return folder / name
    raise UserInputError(f"{path} needs {name}, which is neither beside it nor among the given paths; give it too.")
