"""Face shards: what a refiner learns from, a clip in a file.

Renders and real crops are kept apart, so that whoever reads them composes them as a film is composed today.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from ml_backend.artefacts.schema import load_fields, require, save_npz
from ml_backend.errors import UserInputError

SCHEMA, VERSION = "parley.face_shard", 1


@dataclass(frozen=True)
class FaceShard:
    """N frames of one clip in runs of consecutive ones, S pixels wide and high.

    Attributes
    ----------
    rgba : (N, S, S, 4) uint8, the face drawn with its tracked expression and pose, straight alpha
    real : (N, S, S, 3) uint8 RGB, the same crop of the clip's frame
    landmarks : (N, 478, 2) float32, MediaPipe's points in the crop, pixels
    run : (N,) int32, frames of one number follow each other in time and were drawn with one jitter
    frame : (N,) int32, numbers at 25 fps in the clip
    split : () str, "train" or "validate"
    speaker, source, rights : () str, as in the motion shards
    """

    rgba: np.ndarray
    real: np.ndarray
    landmarks: np.ndarray
    run: np.ndarray
    frame: np.ndarray
    split: np.ndarray
    speaker: np.ndarray
    source: np.ndarray
    rights: np.ndarray

    def __len__(self) -> int:
        return len(self.real)

    @property
    def side(self) -> int:
        """Pixels of a picture's side."""
        return int(self.real.shape[1])


def save(shard: FaceShard, path: Path) -> None:
    """Validate and write; raises `ArtefactError` or `UserInputError`."""
    _validate(shard, path)
    # Pictures of 8 bits hardly get smaller, and packing them takes as long as drawing them.
    values = {field.name: getattr(shard, field.name) for field in fields(shard)}
    save_npz(path, SCHEMA, VERSION, values, compress=False)


def load(path: Path) -> FaceShard:
    """Read and validate; raises `ArtefactError`."""
    shard = load_fields(FaceShard, path, SCHEMA, VERSION)
    _validate(shard, path)
    return shard


def find(folder: Path) -> list[Path]:
    """The shard files of `folder`, sorted by name.

    Raises
    ------
    UserInputError
        If there is none.
    """
    found = sorted(Path(folder).glob("*.npz"))
    if not found:
        raise UserInputError(f"There are no face shards in {folder}; make them with `parley prepare --faces`.")
    return found


def _validate(shard: FaceShard, path: Path) -> None:
    count, side = len(shard.real), shard.real.shape[1] if shard.real.ndim == 4 else 0
    require(count > 0 and shard.real.shape == (count, side, side, 3), path, "real is not (N, S, S, 3)")
    require(side % 32 == 0, path, "the pictures' side is no multiple of 32")
    require(shard.rgba.shape == (count, side, side, 4), path, "rgba is not (N, S, S, 4)")
    require(shard.real.dtype == shard.rgba.dtype == np.uint8, path, "the pictures are not uint8")
    require(shard.landmarks.shape == (count, 478, 2), path, "landmarks is not (N, 478, 2)")
    require(shard.run.shape == shard.frame.shape == (count,), path, "run or frame is not (N,)")
