"""PhotoMesh: what of a photo turns with the head, as the backend writes it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .errors import UserInputError
from .npz import load_npz, require
from .pose import rotation_matrix, spherical_harmonics

SCHEMA, VERSION = "parley.photo_mesh", 2
ARRAYS = ("vertices", "uv", "faces", "still", "drawn", "shade", "names", "offsets", "rest", "window",
          "texture", "plate")


@dataclass(frozen=True)
class PhotoMesh:
    """N vertices, F quads, K expressions.

    Attributes
    ----------
    vertices : (N, 3) float32, metres, model space, at zero expression
    uv : (N, 2) float32, in the texture, v upwards
    faces : (F, 4) int32
    still : (N,) float32 in [0, 1]: 0 moves with the head, 1 stays
    drawn : (V,) float32 in [0, 1], of the face model's vertices: how far each is drawn over the mesh
    shade : (V,) float32 ≥ 0: factor on the light of each
    names : expressions that move the mesh
    offsets : (K, N, 3) float32, metres at weight 1
    rest : (6,) float64, pose of the head in the photo
    window : x, y, width, height: pixels of the photo in which anything may change
    texture, plate : pictures: the head, straight alpha; the photo without it
    """

    vertices: np.ndarray
    uv: np.ndarray
    faces: np.ndarray
    still: np.ndarray
    drawn: np.ndarray
    shade: np.ndarray
    names: list[str]
    offsets: np.ndarray
    rest: np.ndarray
    window: tuple[int, int, int, int]
    texture: Path
    plate: Path

    def pixels(self, longer: int) -> tuple[int, int]:
        """Width and height of the window with `longer` pixels on its longer side."""
        scale = longer / max(self.window[2:])
        return max(round(self.window[2] * scale), 1), max(round(self.window[3] * scale), 1)


def load(path: Path | str) -> PhotoMesh:
    """Read and check the mesh and that its pictures are there; raises `ArtefactError` or `UserInputError`."""
    data = load_npz(path, SCHEMA, VERSION, ARRAYS)
    count = len(data["vertices"])
    require(data["vertices"].shape == (count, 3) and count > 0, path, "vertices is not (N, 3)")
    require(data["uv"].shape == (count, 2) and data["still"].shape == (count,), path, "uv or still is not (N, …)")
    require(data["offsets"].shape == (len(data["names"]), count, 3), path, "offsets is not (K, N, 3)")
    require(data["drawn"].ndim == 1 and data["shade"].shape == data["drawn"].shape, path,
            "drawn or shade is not (V,)")
    faces, window = data["faces"], data["window"]
    require(faces.ndim == 2 and faces.shape[1] == 4 and len(faces) > 0, path, "faces is not (F, 4)")
    require(int(faces.min()) >= 0 and int(faces.max()) < count, path, "a face names no vertex")
    require(data["rest"].shape == (6,), path, "rest is not (6,)")
    require(window.shape == (4,) and int(window.min()) >= 0 and int(window[2:].min()) > 0, path,
            "window is no rectangle")
    texture, plate = (Path(path).parent / Path(str(data[name])).name for name in ("texture", "plate"))
    for file in (texture, plate):
        if not file.is_file():
            raise UserInputError(f"{file} is missing; run the same command again.")
    x, y, width, height = (int(value) for value in window)
    return PhotoMesh(data["vertices"], data["uv"], faces, data["still"], data["drawn"], data["shade"],
                     [str(name) for name in data["names"]], data["offsets"], data["rest"].astype(np.float64),
                     (x, y, width, height), texture, plate)


def turned_light(light: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """(9, 3) coefficients that give for a normal in model space what `light` gives for it under `pose` (6,).

    The three bands are closed under rotation, so that agreeing in more than nine directions is agreeing in all.
    """
    count = 64
    height = 1 - 2 * (np.arange(count) + 0.5) / count
    around = np.pi * (1 + 5**0.5) * np.arange(count)
    ring = np.sqrt(1 - height**2)
    normals = np.stack([ring * np.cos(around), ring * np.sin(around), height], 1)
    seen = spherical_harmonics(normals @ rotation_matrix(pose[:3]).T) @ np.asarray(light, np.float64)
    return np.linalg.lstsq(spherical_harmonics(normals), seen, rcond=None)[0]
