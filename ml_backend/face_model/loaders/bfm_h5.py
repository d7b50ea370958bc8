"""Basel Face Model 2017 and 2019 (Gerig et al. 2018), the ``.h5`` files: millimetres, colours 0–1, variances."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from ml_backend.errors import UserInputError
from ml_backend.face_model.loaders import landmarks as lm
from ml_backend.face_model.loaders.raw import (
    UPRIGHT,
    RawModel,
    check_corners,
    check_shape,
    check_size,
    even_bounds,
    from_triangles,
    modes_of,
    outward,
    reading,
    skin_only,
    whole,
)

KIND = "BFM 2017/2019"
MILLIMETRE = 1e-3
IDENTITIES, EXPRESSIONS, TEXTURES = 80, 100, 80
NOMOUTH_2017 = 53149
"""Vertices of model2017-1_bfm_nomouth.h5, for which the landmarks are documented."""


def read(path: Path) -> RawModel:
    """The model at `path`; raises `UserInputError`."""
    with reading(path, KIND):
        if path.is_file() and not h5py.is_hdf5(path):
            raise UserInputError(f"{path} is no HDF5 file, as {KIND} are; get it again.")
    with reading(path, KIND), h5py.File(path, "r") as data:
        parts = {name: _part(path, data, name) for name in ("shape", "expression", "color")}
        corners = _cells(path, data)
    (mean, shape, shape_sigma), (shift, expression, expression_sigma) = parts["shape"], parts["expression"]
    colour, texture, texture_sigma = parts["color"]
    if not len(mean) == len(shift) == len(colour):
        raise UserInputError(f"{path}: shape, expression and colour have different numbers of vertices; get it again.")
    faces = from_triangles(check_corners(path, corners, len(mean)))
    upright = (mean + shift) * UPRIGHT * MILLIMETRE
    modes = modes_of(expression, expression_sigma, MILLIMETRE, EXPRESSIONS)
    colours = (texture[:, :TEXTURES] * texture_sigma[:TEXTURES]).astype(np.float32)
    return RawModel(
        KIND, upright, outward(upright, faces),
        identity=modes_of(shape, shape_sigma, MILLIMETRE, IDENTITIES),
        modes=modes, bounds=even_bounds(len(modes)),
        texture=colour, texture_modes=colours.T.reshape(colours.shape[1], -1, 3),
        anchors=lm.anchors(lm.BFM_2017) if len(mean) == NOMOUTH_2017 else {},
        **skin_only(upright, faces),
    )  # fmt: skip


def _part(path: Path, data: h5py.File, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(V, 3) mean, (3V, n) basis and (n,) standard deviations of one of the three models."""
    arrays = {}
    for key in ("mean", "pcaBasis", "pcaVariance"):
        item = data.get(f"{name}/model/{key}")
        if not isinstance(item, h5py.Dataset):
            raise UserInputError(f"{path} lacks {name}/model/{key}; that is no {KIND} file.")
        arrays[key] = np.asarray(_numbers(path, item), float)
    mean = arrays["mean"].ravel()
    check_shape(path, f"{name}/model/mean", mean, (None,))
    if len(mean) % 3:
        raise UserInputError(f"{path}: {name}/model/mean has {len(mean)} numbers, no multiple of 3; get it again.")
    basis = check_shape(path, f"{name}/model/pcaBasis", arrays["pcaBasis"], (len(mean), None))
    variance = check_shape(path, f"{name}/model/pcaVariance", arrays["pcaVariance"].ravel(), (basis.shape[1],))
    return mean.reshape(-1, 3), basis, np.sqrt(np.maximum(variance, 0))


def _numbers(path: Path, item: h5py.Dataset) -> np.ndarray:
    """The numbers in `item`; `UserInputError` if they are none or far too many."""
    if item.shape is None or item.dtype.kind not in "iuf":
        raise UserInputError(f"{path}: {item.name} holds no numbers; get the file again.")
    check_size(path, str(item.name), item.shape)
    return np.asarray(item[()])


def _cells(path: Path, data: h5py.File) -> np.ndarray:
    """(F, 3) triangles; the file has them as 3 × F."""
    for key in ("shape/representer/cells", "representer/cells"):
        item = data.get(key)
        if isinstance(item, h5py.Dataset):
            cells = whole(path, key, _numbers(path, item))
            if cells.ndim == 2 and 3 in cells.shape:
                return cells.T if cells.shape[0] == 3 else cells
            raise UserInputError(f"{path}: {key} is no list of triangles; get the file again.")
    raise UserInputError(f"{path} lacks shape/representer/cells; that is no {KIND} file.")
