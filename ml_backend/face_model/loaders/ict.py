"""ICT-FaceKit (Li et al. 2020): the folder of OBJ files, and its arrays packed into one ``.npz``."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ml_backend.errors import UserInputError
from ml_backend.face_model.loaders import inner, obj
from ml_backend.face_model.loaders import landmarks as lm
from ml_backend.face_model.loaders.raw import MOST_VALUES, UPRIGHT, RawModel, check_numbers, check_shape, need, reading

KIND = "ICT-FaceKit"
CENTIMETRE = 0.01
VERTICES = 26719
"""Vertices of the published mesh; the table of landmarks holds for it alone."""
NEUTRAL = "generic_neutral_mesh.obj"
INDICES = "vertex_indices.json"
KEYS = ("V", "VT", "ID", "EX", "exn", "F", "FT", "material", "material_names")
MATERIALS = {
    "M_Face": "skin", "M_BackHead": "skin", "M_GumsTongue": "gums", "M_Teeth": "teeth",
    "M_ScleraLeft": "sclera", "M_ScleraRight": "sclera",
}  # fmt: skip
"""Kept materials. Left out: the inner balls behind the opaque sclera, and layers that are nothing without
transparency (tear film, lid shadows, lashes)."""
ALWAYS = ("jawOpen", "eyeBlinkLeft", "eyeBlinkRight", "mouthPucker", "mouthSmileLeft", "mouthSmileRight")
SKIN_TILE, SMALL_TILE = 0.8, 0.19
RANGES = (
    ("mouth_bag", (11248, 13294), "mouth"),
    ("lining", (13294, 14062), "mouth"),
    ("tongue", (16611, 17039), "tongue"),
)
"""Vertices of the mouth's socket, the eyes' sockets and the tongue in the published mesh."""
STILL = 0.05
"""Centimetres below which jawOpen leaves a tooth in place: an upper one."""
SIDES = {"browInnerUp": ("browInnerUp_L", "browInnerUp_R"), "cheekPuff": ("cheekPuff_L", "cheekPuff_R")}
"""ARKit names of one shape that ICT splits into two."""


@dataclass(frozen=True)
class Pack:
    """ICT's arrays as published: centimetres, y up. V vertices, F faces, U texture coordinates.

    Attributes
    ----------
    vertices : (V, 3); uv : (U, 2); identity : (I, V, 3); expression : (E, V, 3); names : E
    faces, face_uvs : (F, 4), -1 pads triangles; material : (F,); materials : their names
    landmarks : (68,) vertices
    """

    vertices: np.ndarray
    uv: np.ndarray
    identity: np.ndarray
    expression: np.ndarray
    names: list[str]
    faces: np.ndarray
    face_uvs: np.ndarray
    material: np.ndarray
    materials: list[str]
    landmarks: np.ndarray


def _check_archive(path: Path) -> None:
    """Raise `UserInputError` unless the file at `path` is an ``.npz`` of a plausible size when unpacked."""
    with reading(path, KIND, zipfile.BadZipFile):
        if not zipfile.is_zipfile(path):
            raise UserInputError(f"{path} is no .npz file, or cut off; get it again.")
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
    if size > 8 * MOST_VALUES:
        raise UserInputError(f"{path} unpacks to {size >> 20} MiB, far more than {KIND}; get it again.")


def read_npz(path: Path) -> RawModel:
    """The packed arrays at `path`; raises `UserInputError`."""
    _check_archive(path)
    with reading(path, KIND, zipfile.BadZipFile), np.load(path, allow_pickle=False) as data:
        need(path, {name: None for name in data.files}, KEYS, KIND)
        arrays = {key: data[key] for key in KEYS}
    vertices = check_shape(path, "V", arrays["V"], (None, 3))
    if len(vertices) != VERTICES:
        raise UserInputError(f"{path} has {len(vertices)} vertices, {KIND} has {VERTICES}; it is another model's file.")
    for key in ("ID", "EX"):
        check_shape(path, key, arrays[key], (None, VERTICES, 3))
    names = [str(name) for name in arrays["exn"]]
    if arrays["exn"].dtype.kind != "U" or arrays["exn"].shape != arrays["EX"].shape[:1]:
        raise UserInputError(f"{path}: exn does not name the {len(arrays['EX'])} expressions; get the file again.")
    return build(path, Pack(
        vertices, arrays["VT"], arrays["ID"], arrays["EX"], names, arrays["F"], arrays["FT"], arrays["material"],
        [str(name) for name in arrays["material_names"]], np.array(lm.ICT)))  # fmt: skip


def read_folder(folder: Path) -> RawModel:
    """The published folder (FaceXModel): the neutral, ``identityNNN.obj`` and one OBJ per expression."""
    neutral = obj.read(folder / NEUTRAL)
    count = len(neutral.vertices)
    identity, expression, names = [], [], []
    for path in sorted(folder.glob("*.obj")):
        if path.name == NEUTRAL:
            continue
        offset = (obj.read_vertices(path, count) - neutral.vertices).astype(np.float32)
        if path.stem.startswith("identity"):
            identity.append(offset)
        else:
            expression.append(offset)
            names.append(path.stem)
    if not expression:
        raise UserInputError(f"{folder} has no expression OBJ beside {NEUTRAL}; take the whole folder of {KIND}.")
    flat = np.zeros((0, count, 3), np.float32)
    return build(folder, Pack(
        neutral.vertices, neutral.uv, np.stack(identity) if identity else flat, np.stack(expression), names,
        neutral.faces, neutral.face_uvs, neutral.material, neutral.materials, _landmarks(folder, count)))  # fmt: skip


def _landmarks(folder: Path, vertices: int) -> np.ndarray:
    path = folder / INDICES
    if not path.exists():
        if vertices != VERTICES:
            raise UserInputError(f"{folder / NEUTRAL} has {vertices} vertices, {KIND} has {VERTICES}, and {INDICES}, "
                                 "which would name the landmarks of another edition, is missing.")  # fmt: skip
        return np.array(lm.ICT)
    with reading(path, KIND, json.JSONDecodeError):
        found = np.array(json.loads(path.read_text(encoding="utf-8"))["idx_to_landmark_verts"], int)
    check_shape(path, "idx_to_landmark_verts", found, (68,))
    if found.min() < 0 or found.max() >= vertices:
        raise UserInputError(f"{path} names vertices that {NEUTRAL} (with {vertices}) does not have.")
    return found


def build(path: Path, pack: Pack) -> RawModel:
    """`pack` in Parley's units, names and parts."""
    for what, values in (("the neutral", pack.vertices), ("ID", pack.identity), ("EX", pack.expression)):
        check_numbers(path, what, values)
    unknown = [name for name in ALWAYS if name not in arkit_names(pack.names)]
    if unknown:
        raise UserInputError(f"{path} lacks the expression{'s' * (len(unknown) > 1)} {', '.join(unknown)} of {KIND}.")
    if pack.faces.max() >= len(pack.vertices) or pack.face_uvs.max() >= len(pack.uv):
        raise UserInputError(f"{path}: its faces name vertices that the model does not have; get it again.")
    keep = np.isin(pack.material, [k for k, name in enumerate(pack.materials) if name in MATERIALS])
    if not keep.any():
        raise UserInputError(f"{path} has none of {KIND}'s materials ({', '.join(MATERIALS)}); get it again.")
    faces = pack.faces[keep]
    used = np.unique(faces[faces >= 0])
    local = np.full(len(pack.vertices), -1)
    local[used] = np.arange(len(used))
    faces = np.where(faces >= 0, local[faces], -1).astype(np.int32)
    mean = pack.vertices[used] * UPRIGHT * CENTIMETRE
    axes = (UPRIGHT * CENTIMETRE).astype(np.float32)
    source = [pack.materials[k] for k in pack.material[keep]]
    material, materials, part, parts = _classes(pack, used, mean, faces, source)
    return RawModel(
        KIND, mean, faces,
        identity=pack.identity[:, used].astype(np.float32) * axes,
        modes=np.zeros((0, len(used), 3), np.float32), bounds=np.zeros((2, 0)),
        material=material, materials=materials, part=part, parts=parts,
        shapes={name: sum(pack.expression[k][used].astype(np.float32) for k in rows) * axes
                for name, rows in arkit_names(pack.names).items()},
        uv=_tiles(pack.uv), face_uvs=pack.face_uvs[keep],
        anchors=lm.anchors(local[pack.landmarks]),
        notes=["It has no colours of its own; the built-in head's were laid over it."],
    )  # fmt: skip


def arkit_names(names: list[str]) -> dict[str, list[int]]:
    """ARKit name → rows of `names` whose sum it is: _L and _R become Left and Right, halves of one shape are joined."""
    place = {name: k for k, name in enumerate(names)}
    out = {}
    for name, k in place.items():
        side = {"_L": "Left", "_R": "Right"}.get(name[-2:])
        out[name if side is None else name[:-2] + side] = [k]
    for whole, halves in SIDES.items():
        if all(half in place for half in halves):
            out[whole] = [place[half] for half in halves]
    return out


def _tiles(uv: np.ndarray) -> np.ndarray:
    """(U, 2): ICT's texture tiles side by side (u = 0…1, 1…2, …) put into one: the face large, the others small."""
    tile = np.clip(np.floor(uv[:, 0]), 0, None).astype(int)
    inside = np.clip(uv - np.stack([tile, np.zeros(len(uv))], 1), 0, 1)
    row = np.minimum(tile - 1, 4)
    small = np.stack([np.full(len(uv), SKIN_TILE + 0.005), row * 0.2 + 0.005], 1) + SMALL_TILE * inside
    return np.where(tile[:, None] == 0, inside * (SKIN_TILE - 0.005), small)


def _classes(pack: Pack, used: np.ndarray, mean: np.ndarray, faces: np.ndarray, source: list[str]
             ) -> tuple[np.ndarray, list[str], np.ndarray, list[str]]:  # fmt: skip
    """Materials of faces and parts of the `used` vertices, by Parley's names."""
    materials = ["skin", "mouth", "gums", "tongue", "teeth", *inner.EYE_MATERIALS]
    parts = ["skin", "eye_left", "eye_right", "mouth_bag", "lining", "teeth_upper", "teeth_lower", "tongue"]
    material = np.array([materials.index(MATERIALS[name]) for name in source], np.int32)
    part = np.zeros(len(mean), np.int32)
    jaw = np.linalg.norm(pack.expression[arkit_names(pack.names)["jawOpen"][0]][used].astype(np.float32), axis=1)
    jaw_side = np.where(jaw < STILL, parts.index("teeth_upper"), parts.index("teeth_lower"))
    for name in ("gums", "teeth"):
        chosen = _vertices(faces[material == materials.index(name)])
        part[chosen] = jaw_side[chosen]
    for side, name in (("eye_left", "M_ScleraLeft"), ("eye_right", "M_ScleraRight")):
        rows = np.array([name == other for other in source])
        ball = _vertices(faces[rows])
        part[ball] = parts.index(side)
        if len(ball):
            kinds = inner.eye_material(mean, faces[rows], (mean[ball].min(0) + mean[ball].max(0)) / 2)
            material[rows] = materials.index("sclera") + kinds
    if len(pack.vertices) == VERTICES:
        for name, (first, end), kind in RANGES:
            inside = (used >= first) & (used < end)
            part[inside] = parts.index(name)
            material[inside[np.maximum(faces, faces[:, :1])].any(1)] = materials.index(kind)
    return material, materials, part, parts


def _vertices(faces: np.ndarray) -> np.ndarray:
    return np.unique(faces[faces >= 0])
