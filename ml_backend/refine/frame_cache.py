"""Refined frames on disk, each with the key of what it was made from, so that a stopped run goes on where it was."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import cv2
import numpy as np

from ml_backend.errors import UserInputError

KEYS_FILE = "refined.json"
SAVE_EVERY = 25
_LEVEL = 3


def weights_hash(path: Path) -> str:
    """Hash of a weights file's content."""
    return hashlib.blake2b(Path(path).read_bytes(), digest_size=12).hexdigest()


class FrameCache:
    """PNG files and the keys of what they were made from.

    Keys are noted every few frames only; a frame written after the last note is simply made again.

    Parameters
    ----------
    folder : is made if missing
    base : what all frames are made with: weights and settings

    Raises
    ------
    UserInputError
        If the folder can't be written.
    """

    def __init__(self, folder: Path, base: str) -> None:
        self.folder, self.base, self.unsaved = folder, base, 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserInputError(f"Can't write {folder}: {error.strerror}. Choose another folder.") from error
        self.keys: dict[str, str] = {}
        try:
            read = json.loads((folder / KEYS_FILE).read_text())
            self.keys = {str(k): str(v) for k, v in read.items()} if isinstance(read, dict) else {}
        except (OSError, ValueError):
            # No or broken notes: everything is made again, which is always right.
            self.keys = {}

    def path(self, t: int) -> Path:
        """The picture of frame `t`."""
        return self.folder / f"{t:06d}.png"

    def _key(self, window: np.ndarray, rest: bytes) -> str:
        digest = hashlib.blake2b(window.tobytes(), key=self.base.encode()[:64], digest_size=12)
        digest.update(rest)
        return digest.hexdigest()

    def has(self, t: int, window: np.ndarray, rest: bytes = b"") -> bool:
        """Whether the picture is there and was made from `window` and `rest` with these weights."""
        return self.path(t).is_file() and self.keys.get(self.path(t).name) == self._key(window, rest)

    def put(self, t: int, window: np.ndarray, rest: bytes, picture: np.ndarray) -> None:
        """Write a picture (H, W, 3) uint8 RGB whole or not at all."""
        ok, data = cv2.imencode(".png", np.ascontiguousarray(picture[..., ::-1]), [cv2.IMWRITE_PNG_COMPRESSION, _LEVEL])
        part = self.path(t).with_suffix(".part")
        try:
            part.write_bytes(data.tobytes() if ok else b"")
            os.replace(part, self.path(t))
        except OSError as error:
            raise UserInputError(f"Can't write {self.path(t)}: {error.strerror}. Free some space.") from error
        self.keys[self.path(t).name] = self._key(window, rest)
        self.unsaved += 1
        if self.unsaved >= SAVE_EVERY:
            self.save()

    def save(self) -> None:
        """Note the keys."""
        part = self.folder / (KEYS_FILE + ".part")
        try:
            part.write_text(json.dumps(self.keys))
            os.replace(part, self.folder / KEYS_FILE)
        except OSError as error:
            raise UserInputError(f"Can't write to {self.folder}: {error.strerror}. Free some space.") from error
        self.unsaved = 0
