"""A memory of a clip's own frames: what the rendering of each lacked, recalled for new expressions and poses.

The refiner of Yi et al. (2020) remembers a feature of each frame it has seen. Here the frame itself is remembered, as
what was real and not rendered at every texel of the face, and a new frame is given what the frames most like it lacked:
kernel ridge regression on expression and pose (Saunders, Gammerman & Vovk 1998), which far from everything seen comes
to nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np

from ml_backend.artefacts.schema import built, load_npz, require, save_npz
from ml_backend.reconstruct.likeness import LEAST_FRAMES, likeness, sheet_axes
from ml_backend.reconstruct.observed import Seen
from ml_backend.reconstruct.recall_strips import StripMemory

SCHEMA, VERSION = "parley.recall", 2
TURN = np.radians(30.0)
"""A turn that counts as much as an expression at weight 1."""
POSE_NAMES = ("pitch", "yaw", "roll")
CHUNK = 8192
STRIPS = "strips"


@dataclass(frozen=True)
class Recall:
    """What F frames lacked. P features, M sheets, N texels of `ml_backend.reconstruct.observed.face_texels`.

    Attributes
    ----------
    names : (P,) str, expressions and "pitch", "yaw", "roll"
    known : (F, P) float32, the frames' features as `described` scales them
    vectors : (F, M) float32, from likeness to the frames to amounts of the sheets
    sheets : (M, N, 3) float16, display colours
    trust : (N,) float32, how much of what is recalled is to be used
    side : () int32, of the texture
    soft : () bool, whether what lies in the mouth is freed of specks afterwards
    shutter : () float32, share of a frame's time for which the camera's is open
    strips : what mouth and eyes showed on the strips of `ml_backend.reconstruct.strips`, given last; may be none
    """

    names: np.ndarray
    known: np.ndarray
    vectors: np.ndarray
    sheets: np.ndarray
    trust: np.ndarray
    side: np.ndarray
    soft: np.ndarray = field(default_factory=lambda: np.array(False))
    shutter: np.ndarray = field(default_factory=lambda: np.array(0, np.float32))
    strips: tuple[StripMemory, ...] = ()

    def amounts(self, values: np.ndarray) -> np.ndarray:
        """(T, M) float32 amounts of the sheets at features `values` (T, P)."""
        return likeness(values, self.known) @ self.vectors

    def at(self, amounts: np.ndarray) -> np.ndarray:
        """(N, 3) float32, what is lacking at `amounts` (M,)."""
        lacking = amounts.astype(np.float32) @ self.sheets.reshape(len(self.sheets), -1).astype(np.float32)
        return lacking.reshape(-1, 3) * self.trust[:, None]


def described(names: np.ndarray, expression_names: list[str], expression: np.ndarray, rotation: np.ndarray
              ) -> np.ndarray:
    """(T, P) float32 features `names` of T frames; expressions that are not there count as 0.

    Parameters
    ----------
    names : (P,)
    expression_names : K
    expression : (T, K) weights
    rotation : (T, 3) of the head, rad
    """
    values = np.concatenate([np.clip(expression, 0, 1), rotation / TURN], 1)
    place = {name: column for column, name in enumerate([*map(str, expression_names), *POSE_NAMES])}
    out = np.zeros((len(values), len(names)), np.float32)
    for column, name in enumerate(map(str, names)):
        if name in place:
            out[:, column] = values[:, place[name]]
    return out


def learn(names: np.ndarray, values: np.ndarray, seen: Seen, side: int) -> Recall | None:
    """Remember F frames; None where there are too few.

    Parameters
    ----------
    names, values : (P,), and (F, P) of `described`
    seen : what the frames' renderings lacked, (F, N, 3), and how surely it was seen, (F, N)
    side : of the texture
    """
    if len(values) < LEAST_FRAMES:
        return None
    axes, vectors = sheet_axes(values)
    sheets = np.zeros((axes.shape[1], *seen.residual.shape[1:]), np.float16)
    for start in range(0, seen.weight.shape[1], CHUNK):
        block = slice(start, start + CHUNK)
        lacked = seen.residual[:, block].astype(np.float32) * (seen.weight[:, block] > 0)[..., None]
        sheets[:, block] = np.tensordot(axes.T, lacked, 1)
    return Recall(names, values.astype(np.float32), vectors, sheets,
                  np.ones(sheets.shape[1], np.float32), np.array(side, np.int32))


def save(recall: Recall, path: Path) -> None:
    """Write.

    Raises
    ------
    UserInputError
        If the file can't be written.
    """
    arrays = {one.name: getattr(recall, one.name) for one in fields(Recall) if one.name != STRIPS}
    for number, strip in enumerate(recall.strips):
        arrays |= {f"{STRIPS}{number}_{one.name}": getattr(strip, one.name) for one in fields(StripMemory)}
    save_npz(path, SCHEMA, VERSION, arrays)


def load(path: Path) -> Recall:
    """Read.

    Raises
    ------
    ArtefactError
        If the file is missing, damaged or of another version.
    """
    arrays, strips = load_npz(path, SCHEMA, VERSION), []
    while f"{STRIPS}{len(strips)}_{fields(StripMemory)[0].name}" in arrays:
        strips.append(built(StripMemory, arrays, path, SCHEMA, f"{STRIPS}{len(strips)}_"))
    found = built(Recall, {**arrays, STRIPS: tuple(strips)}, path, SCHEMA)
    frames, features = found.known.shape if found.known.ndim == 2 else (0, 0)
    fits = frames > 0 and features == len(found.names) and found.vectors.shape == (frames, len(found.sheets))
    fits = fits and all(strip.fits() and strip.metric.shape[0] == features for strip in found.strips)
    require(fits and found.sheets.shape[1:] == (*found.trust.shape, 3), path, "it is no memory of a clip's frames")
    return found
