"""Motion shards: one clip's speech and tracked motion at 25 fps, in one file, ready for training."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ml_backend.artefacts.schema import load_fields, require, save_fields
from ml_backend.errors import UserInputError

SCHEMA, VERSION = "parley.motion_shard", 1


@dataclass(frozen=True)
class Shard:
    """T frames at 25 fps; the speech is stored instead of its features, so that training can vary the voice.

    Attributes
    ----------
    speech : (N,) int16, 16 kHz mono, T = round(N / 640)
    expression : (T, K) float32 in [0, 1]
    names : (K,) str
    pose : (T, 6) float32, radians and metres
    measures : (T, 2) float32, inner-lip opening and mouth width from the landmarks, NaN where no face was seen
    confidence : (T,) float32 in [0, 1]
    speaker : () str, clips of one speaker share it
    split : () str, "train" or "validate"
    source : () str, what collection the clip is of, "" where nobody said
    known : (K + 6,) bool, which expressions and axes of the pose the clip tells anything about; () for all of them
    rights : () str, "open" where the licence lets what is learned from it be passed on, else "unclear" or a name
    """

    speech: np.ndarray
    expression: np.ndarray
    names: np.ndarray
    pose: np.ndarray
    measures: np.ndarray
    confidence: np.ndarray
    speaker: np.ndarray
    split: np.ndarray
    source: np.ndarray = field(default_factory=lambda: np.array(""))
    known: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    rights: np.ndarray = field(default_factory=lambda: np.array("unclear"))

    def __len__(self) -> int:
        return len(self.expression)

    @property
    def samples(self) -> np.ndarray:
        """(N,) float32 in [-1, 1]."""
        return self.speech.astype(np.float32) / 32768


def save(shard: Shard, path: Path) -> None:
    """Validate and write."""
    validate(shard, path)
    save_fields(shard, path, SCHEMA, VERSION)


def load(path: Path) -> Shard:
    """Read and validate; raises `ArtefactError`."""
    shard = load_fields(Shard, path, SCHEMA, VERSION)
    validate(shard, path)
    return shard


def load_folder(folder: Path) -> dict[str, Shard]:
    """Every shard of `folder` by name, sorted; raises `UserInputError` if there is none."""
    paths = sorted(Path(folder).glob("*.npz"))
    if not paths:
        raise UserInputError(f"{folder} holds no motion shard; make some with `parley prepare`.")
    return {path.stem: load(path) for path in paths}


def validate(shard: Shard, path: Path | str = "shard") -> None:
    """Raise `ArtefactError` unless lengths agree and every target is a number."""
    frames = len(shard.expression)
    require(frames > 0, path, "the shard has no frame")
    require(shard.expression.shape == (frames, len(shard.names)), path, "expression is not (T, K)")
    require(shard.pose.shape == (frames, 6), path, "pose is not (T, 6)")
    require(shard.measures.shape == (frames, 2), path, "measures is not (T, 2)")
    require(shard.confidence.shape == (frames,), path, "confidence is not (T,)")
    require(shard.known.shape in ((0,), (len(shard.names) + 6,)), path, "known is not (K + 6,)")
    require(abs(len(shard.speech) / 640 - frames) <= 1, path, "speech and motion differ in length")
    require(bool(np.isfinite(shard.expression).all() and np.isfinite(shard.pose).all()), path, "a target is no number")
