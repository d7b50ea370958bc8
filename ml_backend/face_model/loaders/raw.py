"""What a reader of a foreign model hands over, before it gets Parley's names, landmarks, regions and 52 expressions."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import numpy as np

from ml_backend.errors import UserInputError

DAMAGE = (OSError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError, MemoryError,
          RecursionError, NotImplementedError, RuntimeError)
"""What NumPy, SciPy, h5py and zipfile raise when a file holds something else than it should."""
UPRIGHT = np.array([1.0, -1.0, -1.0])
"""From x to the image's right, y up, z towards the camera (all families here) to OpenCV's axes; keeps handedness."""

MOST_VALUES = 300_000_000
"""No model of any family holds more numbers in one array: a file that claims more is damaged or made to hurt."""
SIGMAS = 3.0
"""PCA coefficients stay within this many standard deviations."""


@dataclass
class RawModel:
    """A face model in its own topology: metres, OpenCV axes, outward winding. V vertices, F faces.

    Attributes
    ----------
    kind : the family, for the user
    mean : (V, 3) float
    faces : (F, 4) int, -1 in the 4th for triangles
    identity : (I, V, 3) float, metres per standard deviation
    modes : (M, V, 3) float, expression modes in metres per unit of coefficient
    bounds : (2, M) float, least and greatest coefficient of each mode
    shapes : ARKit name → (V, 3) float, metres at weight 1, for models that know such shapes by name
    texture, texture_modes : (V, 3) and (J, V, 3) float RGB in [0, 1], or None where the model has no colours
    uv, face_uvs : (U, 2) float and (F, 4) int, or None where the model has no texture coordinates
    material, materials : (F,) int into the names, which are Parley's: skin, sclera, iris, pupil, mouth, gums, teeth, …
    part, parts : (V,) int into the names, which are Parley's: skin, eye_left, eye_right, mouth_bag, teeth_upper, …
    anchors : MediaPipe index → vertex, where the family documents vertices of landmarks
    joints : name → (3,) metres, where the family has joints
    notes : sentences for the user
    """

    kind: str
    mean: np.ndarray
    faces: np.ndarray
    identity: np.ndarray
    modes: np.ndarray
    bounds: np.ndarray
    material: np.ndarray
    materials: list[str]
    part: np.ndarray
    parts: list[str]
    shapes: dict[str, np.ndarray] = field(default_factory=dict)
    texture: np.ndarray | None = None
    texture_modes: np.ndarray | None = None
    uv: np.ndarray | None = None
    face_uvs: np.ndarray | None = None
    anchors: dict[int, int] = field(default_factory=dict)
    joints: dict[str, np.ndarray] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def part_mask(self, *names: str) -> np.ndarray:
        """(V,) bool: vertices of the parts whose name starts with one of `names`."""
        chosen = [index for index, name in enumerate(self.parts) if name.startswith(names)]
        return np.isin(self.part, chosen)

    def surface(self) -> np.ndarray:
        """(N, 3) int: triangles of the skin, quads split in two."""
        skin = self.part_mask("skin")
        corners = triangles(self.faces)
        return corners[skin[corners].all(1)]


def skin_only(mean: np.ndarray, faces: np.ndarray) -> dict:
    """The four fields of a model that is nothing but skin."""
    return {
        "material": np.zeros(len(faces), np.int32),
        "materials": ["skin"],
        "part": np.zeros(len(mean), np.int32),
        "parts": ["skin"],
    }


def triangles(faces: np.ndarray) -> np.ndarray:
    """(N, 3): `faces` (F, 4), -1 in the 4th for triangles, with every quad split in two."""
    quads = faces[faces[:, 3] >= 0]
    return np.concatenate([faces[:, :3], quads[:, [0, 2, 3]]])


def from_triangles(corners: np.ndarray) -> np.ndarray:
    """(F, 4) int32 faces of triangles (F, 3)."""
    return np.pad(corners.astype(np.int32), ((0, 0), (0, 1)), constant_values=-1)


def outward(mean: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """`faces` (F, 4) wound so that their normals point away from the middle of the head, behind the face."""
    middle = np.array([mean[:, 0].mean(), mean[:, 1].mean(), mean[:, 2].max()])
    a, b, c = (mean[triangles(faces)[:, i]] - middle for i in range(3))
    if float(np.einsum("ij,ij->", np.cross(a, b), c)) >= 0:
        return faces
    quads = faces[:, 3] >= 0
    out = faces[:, [2, 1, 0, 3]].copy()
    out[quads] = faces[quads][:, ::-1]
    return out


def modes_of(basis: np.ndarray, deviations: np.ndarray, scale: float, count: int) -> np.ndarray:
    """(count, V, 3) float32 OpenCV metres from a basis (3V, n) of unit columns, `deviations` (n,) and a unit."""
    chosen = (basis[:, :count] * deviations[:count] * scale).astype(np.float32)
    return chosen.T.reshape(chosen.shape[1], len(basis) // 3, 3) * UPRIGHT.astype(np.float32)


def points(path: Path, what: str, values: np.ndarray) -> np.ndarray:
    """`values`, three per vertex in any shape, as (V, 3) float; `UserInputError` where they are no such numbers."""
    if np.asarray(values).dtype.kind not in "iuf":
        raise UserInputError(f"{path}: {what} holds no numbers; get the file again.")
    flat = np.asarray(values, float).ravel()
    if not len(flat) or len(flat) % 3:
        raise UserInputError(f"{path}: {what} has {len(flat)} numbers, no three for each vertex; get it again.")
    return check_numbers(path, what, flat.reshape(-1, 3))


def whole(path: Path, what: str, values: np.ndarray) -> np.ndarray:
    """`values` as int64; `UserInputError` where they are no whole numbers."""
    found = np.asarray(values)
    if found.dtype.kind not in "iuf" or not (np.isfinite(found) & (found == np.rint(found))).all():
        raise UserInputError(f"{path}: {what} holds something else than whole numbers; get the file again.")
    return found.astype(np.int64)


def check_size(path: Path, what: str, shape: tuple[int, ...]) -> None:
    """Raise `UserInputError` if an array of `shape` is larger than any model's, before memory is asked for it."""
    if prod(int(size) for size in shape) > MOST_VALUES:
        raise UserInputError(f"{path}: {what} claims {' × '.join(map(str, shape))} values; get the file again.")


def even_bounds(count: int) -> np.ndarray:
    """(2, count): ±3 standard deviations."""
    return np.repeat([[-SIGMAS], [SIGMAS]], count, axis=1)


def check_numbers(path: Path, what: str, values: np.ndarray) -> np.ndarray:
    """`values` if all of them are finite; else `UserInputError`."""
    if not np.isfinite(values).all():
        raise UserInputError(f"{path}: {what} holds values that are no numbers; get the file again.")
    return values


def check_shape(path: Path, what: str, values: np.ndarray, shape: tuple[int | None, ...]) -> np.ndarray:
    """`values` if they are numbers of `shape` (None = any length but 0); else `UserInputError` with both shapes."""
    if values.dtype.kind not in "iuf":
        raise UserInputError(f"{path}: {what} holds no numbers; get the file again.")
    fits = values.ndim == len(shape) and all(
        have == want if want is not None else have > 0 for want, have in zip(shape, values.shape, strict=True)
    )
    if not fits:
        wanted = " × ".join("n" if size is None else str(size) for size in shape)
        found = " × ".join(map(str, values.shape)) or "a single value"
        raise UserInputError(f"{path}: {what} is {found} where {wanted} is expected; it is another model's file.")
    return check_numbers(path, what, values) if values.dtype.kind == "f" else values


def check_corners(path: Path, corners: np.ndarray, vertices: int) -> np.ndarray:
    """`corners` (F, 3) as int32 if all of them are below `vertices`; else `UserInputError`."""
    if not len(corners) or corners.min() < 0 or corners.max() >= vertices:
        raise UserInputError(f"{path}: its triangles name vertices that the model (of {vertices}) does not have.")
    return corners.astype(np.int32)


def need(path: Path, data: dict | Callable, names: tuple[str, ...], kind: str) -> None:
    """Raise `UserInputError` unless `data` has all keys `names`."""
    missing = [name for name in names if name not in data]  # type: ignore[operator]
    if missing:
        raise UserInputError(f"{path} lacks {', '.join(missing)}; that is no {kind} file.")


@contextmanager
def reading(path: Path, kind: str, *errors: type[Exception]):
    """Turn what a library says about a damaged file into one sentence, and keep its warnings to itself."""
    if not path.exists():
        raise UserInputError(f"{path} does not exist; check the path.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except UserInputError:
        raise
    except PermissionError as error:
        raise UserInputError(f"{path} can't be read ({error.strerror}); check its permissions.") from error
    except (*DAMAGE, *errors) as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise UserInputError(f"{path} can't be read as a {kind} file ({reason}); get it again.") from error
