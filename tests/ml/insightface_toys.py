"""A model pack with the files and signatures of insightface's buffalo_l, and tiny networks in them.

The detector finds bright squares; the landmark networks always see the same face, with an open mouth, in their crop.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from ml_backend.face_model.loaders.landmarks import MEDIAPIPE_OF_68
from ml_backend.reconstruct.insightface import MEDIAPIPE_OF_106
from tests.ml.reconstruct_toys import head, landmarks, weights

STRIDES, ANCHORS, CELLS = (8, 16, 32), 2, 3.0
"""Boxes reach so many cells of the coarsest grid from their anchor to each side."""
JAW, CROP = 0.6, 192


def face() -> np.ndarray:
    """(478, 3) pixels of the 192² crop: the built-in head with its jaw down, in the crop as insightface cuts it."""
    pose = np.array([[0.0, 0.1, 0.0, 0.0, 0.0, 0.6]])
    points = landmarks(weights(1, jawOpen=JAW), pose, np.zeros(len(head().identity_basis)))[0].astype(float)
    low, high = points[:468, :2].min(0), points[:468, :2].max(0)
    scale = CROP / 1.5 / (high - low).max()
    points[:, :2] = (points[:, :2] - (low + high) / 2) * scale + CROP / 2
    points[:, 2] *= scale
    return points


def write_pack(folder: Path, *, without: Sequence[str] = ()) -> Path:
    """det_10g, 1k3d68, 2d106det, genderage and w600k_r50 in `folder`, but those `without`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_detector(folder / "det_10g.onnx")
    points = face()
    dense = np.zeros((1103, 3))
    dense[-68:-51] = points[234] + np.linspace(0, 1, 17)[:, None] * (points[454] - points[234])
    for index, mediapipe in MEDIAPIPE_OF_68.items():
        dense[1103 - 68 + index] = points[mediapipe]
    write_constant(folder / "1k3d68.onnx", dense / (CROP / 2) - [1, 1, 0], flip=True)
    outline = np.zeros((106, 2))
    for index, mediapipe in MEDIAPIPE_OF_106.items():
        outline[index] = points[mediapipe, :2]
    write_constant(folder / "2d106det.onnx", outline / (CROP / 2) - 1)
    write_constant(folder / "genderage.onnx", np.zeros((1, 3)), side=96)
    write_recognition(folder / "w600k_r50.onnx")
    for name in without:
        (folder / name).unlink()
    return folder


def write_detector(path: Path) -> None:
    """SCRFD's signature: three grids of scores, boxes and five points; a cell scores where the picture is bright."""
    onnx = pytest.importorskip("onnx")
    helper, array, kind = onnx.helper, onnx.numpy_helper.from_array, onnx.TensorProto.FLOAT
    reach = np.array([[CELLS] * 4], np.float32)
    points = np.array([[-1, -1, 1, -1, 0, 0, -1, 1, 1, 1]], np.float32)
    constants = [array(np.array([-1, 1], np.int64), "column"), array(np.array([0.5], np.float32), "level"),
                 array(np.array([20], np.float32), "steep"), array(np.zeros((1, 4), np.float32), "none4"),
                 array(np.zeros((1, 10), np.float32), "none10"), array(reach, "reach"), array(points, "points"),
                 array(np.array([0], np.float32), "off"), array(np.array([1], np.float32), "on")]  # fmt: skip
    nodes = [helper.make_node("ReduceMean", ["input.1"], ["grey"], axes=[1], keepdims=1)]
    kinds = ("score", "bbox", "kps")
    for stride in STRIDES:
        n = str(stride)
        nodes += [
            helper.make_node("AveragePool", ["grey"], ["p" + n], kernel_shape=[stride] * 2, strides=[stride] * 2),
            helper.make_node("Concat", ["p" + n] * ANCHORS, ["two" + n], axis=1),
            helper.make_node("Transpose", ["two" + n], ["last" + n], perm=[0, 2, 3, 1]),
            helper.make_node("Reshape", ["last" + n, "column"], ["flat" + n]),
            helper.make_node("Sub", ["flat" + n, "level"], ["above" + n], name="above" + n),
            helper.make_node("Mul", ["above" + n, "steep"], ["sharp" + n], name="sharp" + n),
            helper.make_node("Sigmoid", ["sharp" + n], ["sure" + n]),
            helper.make_node("Mul", ["sure" + n, "on" if stride == 32 else "off"], ["score" + n]),
            helper.make_node("MatMul", ["flat" + n, "none4"], ["zero4" + n]),
            helper.make_node("Add", ["zero4" + n, "reach"], ["bbox" + n]),
            helper.make_node("MatMul", ["flat" + n, "none10"], ["zero10" + n]),
            helper.make_node("Add", ["zero10" + n, "points"], ["kps" + n]),
        ]  # fmt: skip
    outputs = [helper.make_tensor_value_info(f"{what}{stride}", kind, [None, width])
               for what, width in zip(kinds, (1, 4, 10), strict=True) for stride in STRIDES]  # fmt: skip
    inputs = [helper.make_tensor_value_info("input.1", kind, [1, 3, "?", "?"])]
    _save(helper.make_graph(nodes, "scrfd", inputs, outputs, constants), path)


def write_constant(path: Path, values: np.ndarray, *, side: int = CROP, flip: bool = False) -> None:
    """A network with one input `data` (N, 3, side, side) that always answers `values`; `flip` turns the depth."""
    onnx = pytest.importorskip("onnx")
    helper, array, kind = onnx.helper, onnx.numpy_helper.from_array, onnx.TensorProto.FLOAT
    values = values * [1, 1, -1] if flip else values
    flat = values.reshape(1, -1).astype(np.float32)
    nodes = [
        helper.make_node("GlobalAveragePool", ["data"], ["mean"], name="pool"),
        helper.make_node("Flatten", ["mean"], ["three"], name="flatten"),
        helper.make_node("MatMul", ["three", "nothing"], ["zero"], name="dense"),
        helper.make_node("Add", ["zero", "values"], ["fc1"], name="bias"),
    ]
    constants = [array(np.zeros((3, flat.shape[1]), np.float32), "nothing"), array(flat, "values")]
    inputs = [helper.make_tensor_value_info("data", kind, ["None", 3, side, side])]
    outputs = [helper.make_tensor_value_info("fc1", kind, [1, flat.shape[1]])]
    _save(helper.make_graph(nodes, "points", inputs, outputs, constants), path)


def write_recognition(path: Path) -> None:
    """ArcFace's signature: mean per channel, spread over 512 outputs by a fixed matrix."""
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("GlobalAveragePool", ["input.1"], ["mean"], name="pool"),
        helper.make_node("Flatten", ["mean"], ["flat"], name="flatten"),
        helper.make_node("MatMul", ["flat", "matrix"], ["683"], name="dense"),
    ]
    inputs = [helper.make_tensor_value_info("input.1", kind, ["None", 3, 112, 112])]
    outputs = [helper.make_tensor_value_info("683", kind, ["None", 512])]
    constants = [onnx.numpy_helper.from_array(matrix(), "matrix")]
    _save(helper.make_graph(nodes, "arcface", inputs, outputs, constants), path)


def matrix() -> np.ndarray:
    """(3, 512): what the toy ArcFace multiplies mean colours in [-1, 1] by."""
    return np.random.default_rng(0).standard_normal((3, 512)).astype(np.float32)


def _save(graph, path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(path))


def squares(centres: Sequence[Sequence[tuple[int, int]]], *, size: tuple[int, int] = (640, 480), side: int = 72
            ) -> list[np.ndarray]:
    """Dark frames (H, W, 3) uint8 with bright squares around the `centres` (x, y) of each frame."""
    out = []
    for places in centres:
        frame = np.full((size[1], size[0], 3), 20, np.uint8)
        for x, y in places:
            frame[max(y - side // 2, 0) : y + side // 2, max(x - side // 2, 0) : x + side // 2] = 255
        out.append(frame)
    return out
