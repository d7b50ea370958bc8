"""Phone shards: speech and its phones, no face; what an encoder learns to hear from before it learns to move lips."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ml_backend.artefacts.schema import load_fields, require, save_fields
from ml_backend.audio.features import STEPS_PER_FRAME, frame_count
from ml_backend.audio.phones import PHONES
from ml_backend.errors import UserInputError

SCHEMA, VERSION = "parley.phone_shard", 1
FOLDER = "phones"
"""Folder of a data set in which its phone shards lie."""


@dataclass(frozen=True)
class PhoneShard:
    """Speech and its phones.

    Attributes
    ----------
    speech : (N,) int16, 16 kHz mono
    phones : (4 T,) uint8, places in `ml_backend.audio.phones.PHONES` per 10 ms, T = round(N / 640)
    speaker, source, rights : () str, as in `Shard`
    """

    speech: np.ndarray
    phones: np.ndarray
    speaker: np.ndarray
    source: np.ndarray
    rights: np.ndarray

    @property
    def samples(self) -> np.ndarray:
        """(N,) float32 in [-1, 1]."""
        return self.speech.astype(np.float32) / 32768


def save(shard: PhoneShard, path: Path) -> None:
    """Validate and write."""
    validate(shard, path)
    save_fields(shard, path, SCHEMA, VERSION)


def load(path: Path) -> PhoneShard:
    """Read and validate; raises `ArtefactError`."""
    shard = load_fields(PhoneShard, path, SCHEMA, VERSION)
    validate(shard, path)
    return shard


def load_folder(dataset: Path, rights: str = "") -> dict[str, PhoneShard]:
    """The phone shards of a data set by name, sorted; of those `rights` if given. Raises `UserInputError` if none."""
    found = {path.stem: load(path) for path in sorted((Path(dataset) / FOLDER).glob("*.npz"))}
    kept = {name: shard for name, shard in found.items() if not rights or str(shard.rights) == rights}
    if not kept:
        raise UserInputError(f"{dataset} holds no phone shard{f' with the rights {rights}' if rights else ''}; make "
                             "some with `parley prepare --speech` or `--text`.")
    return kept


def validate(shard: PhoneShard, path: Path | str = "phone shard") -> None:
    """Raise `ArtefactError` unless lengths agree and every phone is one."""
    require(len(shard.speech) > 0, path, "the shard is empty")
    steps = frame_count(len(shard.speech)) * STEPS_PER_FRAME
    require(shard.phones.shape == (steps,), path, "speech and phones differ in length")
    require(int(shard.phones.max(initial=0)) < len(PHONES), path, "a phone is unknown")
