"""A take folder: every stage's files, what they were made from, and what can be skipped or resumed.

Each stage has a key, the hash of its inputs' content and settings. A stage whose key is unchanged and whose outputs
are all there, as large as they were, does no work; one that was interrupted under the same key, or lost a part of its
outputs, finds what is whole and resumes; under another key its old outputs are removed first.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ml_backend.errors import UserInputError

SCHEMA, VERSION = "parley.take", 1
OWN_PRODUCTS = ("take.mp4", "sheet.png")
"""Files of the take that products are copies of."""
PNG_END = b"IEND\xaeB`\x82"


def file_hash(path: Path) -> str:
    """SHA-256 of the file's content, hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def settings_key(settings: Any) -> str:
    """Short hash of JSON-able `settings`, independent of key order."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:24]


@dataclass
class Take:
    """One take; make it with `Take.open`, release it with `close`.

    Attributes
    ----------
    folder : Path
    state : dict, what ``take.json`` holds: stages (key, complete, seconds) and products (path → hash when written)
    seconds : dict, stage → seconds this run spent on it; 0.0 where nothing had to be done
    """

    folder: Path
    state: dict
    seconds: dict[str, float] = field(default_factory=dict)
    _lock: Any = None

    @classmethod
    def open(cls, folder: Path) -> Take:
        """Open or make the take at `folder` and lock it against a second run.

        Raises
        ------
        UserInputError
            If the folder can't be written, is in use by another run, or holds files that are no take.
        """
        folder = Path(folder)
        index = folder / "take.json"
        if folder.is_dir() and not index.exists() and any(p.name != ".lock" for p in folder.iterdir()):
            raise UserInputError(f"{folder} holds files that are no Parley take; give --keep an empty or new folder.")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = open(folder / ".lock", "w")  # noqa: SIM115 - held for the life of the take
        except OSError as error:
            raise UserInputError(
                f"The take folder {folder} can't be written ({error.strerror}); give --out or --keep "
                "a place in a folder of yours."
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserInputError(
                f"{folder} is in use by another run of Parley; wait for it or choose another --keep."
            ) from error
        take = cls(folder, _read_state(index), _lock=lock)
        take._write()
        return take

    def close(self) -> None:
        """Release the lock."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def path(self, name: str) -> Path:
        """Path of `name` inside the take."""
        return self.folder / name

    def key(self, stage: str) -> str:
        """Key of a stage that has run; part of the next stage's settings."""
        return self.state["stages"][stage]["key"]

    def run(self, stage: str, settings: dict, outputs: list[str], action: Callable[[], dict | None]) -> dict:
        """Run `action` unless `stage` is complete under the same settings; return the facts it reported.

        Parameters
        ----------
        stage : name in take.json
        settings : JSON-able; everything that the outcome depends on, content of files as hashes
        outputs : names inside the take that must exist afterwards; removed first if made from other settings
        action : does the work, returns JSON-able facts for the report (or None)
        """
        key = settings_key(settings)
        entry = self.state["stages"].get(stage, {})
        if entry.get("key") == key and entry.get("complete") and self._intact(entry, outputs):
            self.seconds[stage] = 0.0
            return entry.get("facts", {})
        self._clean(outputs, entry if entry.get("key") == key else None)
        self.state["stages"][stage] = {
            "key": key,
            "complete": False,
            "seconds": entry.get("seconds", 0.0) if entry.get("key") == key and not entry.get("complete") else 0.0,
        }
        self._write()
        start = time.monotonic()
        entry = self.state["stages"][stage]
        try:
            facts = action() or {}
            entry.update(complete=True, facts=facts, sizes={name: _measure(self.path(name)) for name in outputs})
        finally:
            self.seconds[stage] = time.monotonic() - start
            entry["seconds"] = round(entry["seconds"] + self.seconds[stage], 3)
            self._write()
        return facts

    def forget(self, stage: str) -> None:
        """Have `stage` run again although its key is unchanged."""
        self.state["stages"].pop(stage, None)

    def guard(self, product: Path, *, overwrite: bool) -> None:
        """Refuse to replace a file that this take did not write or that was edited since.

        Raises
        ------
        UserInputError
            If `product` exists and is not, byte for byte, what this take last wrote there.
        """
        if overwrite or not product.exists():
            return
        if not product.is_file():
            raise UserInputError(f"{product} is a folder; give a file name.")
        written = self.state["products"].get(str(product.resolve()))
        content = file_hash(product)
        if content != written and content in self._own_content():
            return  # the take, or the film in it, was moved or its index lost: what lies there is still ours
        if written is None:
            raise UserInputError(
                f"{product} exists and was not made by this take; choose another name or add --overwrite."
            )
        if written != content:
            raise UserInputError(
                f"{product} was changed since Parley wrote it; save it elsewhere, choose another name "
                "or add --overwrite."
            )

    def record(self, product: Path) -> None:
        """Remember the content of a file that this take wrote for the user."""
        self.state["products"][str(product.resolve())] = file_hash(product)
        self._write()

    def _intact(self, entry: dict, outputs: list[str]) -> bool:
        """Whether `outputs` are there and as large as when their stage was done."""
        sizes = entry.get("sizes", {})
        found = {name: _measure(self.path(name)) for name in outputs}
        return all(size is not None and sizes.get(name, size) == size for name, size in found.items())

    def _clean(self, outputs: list[str], entry: dict | None) -> None:
        """Remove old outputs; what the stage of `entry`, interrupted or damaged later, can go on with stays."""
        sizes = entry.get("sizes", {}) if entry is not None else {}
        try:
            for name in outputs:
                path = self.path(name)
                if entry is None or (path.is_file() and sizes.get(name, _measure(path)) != _measure(path)):
                    _remove(path)
                elif path.is_dir():
                    _remove_damaged(path)
        except OSError as error:
            raise UserInputError(
                f"Can't remove old files from {self.folder} ({error.strerror}); choose another --keep."
            ) from error

    def _own_content(self) -> set[str]:
        copies = (self.path(name) for name in OWN_PRODUCTS)
        return {*self.state["products"].values(), *(file_hash(path) for path in copies if path.is_file())}

    def _write(self) -> None:
        part = self.folder / "take.json.part"
        try:
            part.write_text(json.dumps(self.state, indent=1, sort_keys=True))
            os.replace(part, self.folder / "take.json")
        except OSError as error:
            raise UserInputError(
                f"Can't write in {self.folder} ({error.strerror}); free some space and run the same "
                "command again: it resumes."
            ) from error


def _read_state(index: Path) -> dict:
    fresh = {"schema": SCHEMA, "version": VERSION, "stages": {}, "products": {}}
    try:
        state = json.loads(index.read_text())
    except FileNotFoundError:
        return fresh
    except (OSError, ValueError):
        # A damaged index only costs time: every stage runs again.
        return fresh
    return state if _is_state(state) else fresh


def _is_state(state: Any) -> bool:
    if not isinstance(state, dict) or state.get("schema") != SCHEMA or state.get("version") != VERSION:
        return False
    stages, products = state.get("stages"), state.get("products")
    return (
        isinstance(stages, dict)
        and isinstance(products, dict)
        and all(isinstance(entry, dict) and "key" in entry for entry in stages.values())
    )


def _measure(path: Path) -> int | list[int] | None:
    """Bytes of a file, number and bytes of a folder's files, None where nothing is."""
    try:
        if not path.is_dir():
            return path.stat().st_size
        with os.scandir(path) as entries:
            sizes = [entry.stat().st_size for entry in entries if entry.is_file()]
    except OSError:
        return None
    return [len(sizes), sum(sizes)]


def _remove_damaged(folder: Path) -> None:
    """Remove frames of `folder` that were cut off, so that they are made again."""
    for frame in folder.glob("*.png"):
        if not _whole_png(frame):
            frame.unlink()


def _whole_png(path: Path) -> bool:
    with open(path, "rb") as stream:
        stream.seek(0, os.SEEK_END)
        stream.seek(max(0, stream.tell() - len(PNG_END)))
        return stream.read() == PNG_END


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    elif path.exists():
        path.unlink()
