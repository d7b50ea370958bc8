"""Reading safetensors: a length, a header in JSON, raw arrays. Checked throughout, nothing in it is ever run."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ArtefactError
from ..npz import require

KINDS = {"F16": np.float16, "F32": np.float32, "F64": np.float64, "I64": np.int64, "I32": np.int32, "U8": np.uint8}
HEADER_LIMIT = 16 << 20


@dataclass(frozen=True)
class Weights:
    """What a file holds: arrays by name, floats as float32, and the metadata's text."""

    path: Path
    arrays: dict[str, np.ndarray]
    metadata: dict[str, str]

    def array(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """The array `name`, which has to have `shape`; raises `ArtefactError`."""
        found = self.arrays.get(name)
        require(found is not None and found.shape == shape, self.path,
                f"{name} is {'missing' if found is None else found.shape}, needed is {shape}")
        return self.arrays[name]

    def json(self, name: str) -> Any:
        """What the metadata's text `name` holds; raises `ArtefactError` if it is no JSON."""
        try:
            return json.loads(self.metadata[name])
        except (KeyError, ValueError) as error:
            raise ArtefactError(f"{self.path}: its {name} can't be read ({error}); make the file again.") from error


def load(path: Path | str, schema: str, version: str = "1") -> Weights:
    """All arrays of the safetensors file at `path`.

    Raises
    ------
    ArtefactError
        If the file is missing, damaged, or of another schema or version.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ArtefactError(f"{path} can't be read ({error.strerror}); it should be a {schema} file.") from error
    header, start = _header(data, path)
    metadata = header.pop("__metadata__", {})
    require(isinstance(metadata, dict) and all(isinstance(text, str) for text in metadata.values()), path,
            "its metadata is no table of text")
    found = (metadata.get("schema"), metadata.get("version"))
    require(found == (schema, version), path, f"it is {found[0]} version {found[1]}, needed is {schema} {version}")
    body = memoryview(data)[start:]
    return Weights(path, {name: _array(entry, body, path, name) for name, entry in header.items()}, metadata)


def _header(data: bytes, path: Path) -> tuple[dict[str, Any], int]:
    """The header and where the arrays begin."""
    length = int.from_bytes(data[:8], "little")
    require(len(data) >= 8 and length <= min(HEADER_LIMIT, len(data) - 8), path, "it is no whole safetensors file")
    try:
        header = json.loads(data[8:8 + length])
    except ValueError as error:
        raise ArtefactError(f"{path} is no safetensors file ({error}); make it again.") from error
    require(isinstance(header, dict), path, "its header is no table")
    return header, 8 + length


def _array(entry: Any, body: memoryview, path: Path, name: str) -> np.ndarray:
    """One array, copied out of the file, which must hold exactly as many bytes as its shape needs."""
    try:
        kind, shape = np.dtype(KINDS[entry["dtype"]]), tuple(int(size) for size in entry["shape"])
        first, last = (int(offset) for offset in entry["data_offsets"])
    except (KeyError, TypeError, ValueError) as error:
        raise ArtefactError(f"{path}: {name} is not described as an array ({error}); make the file again.") from error
    size = math.prod(shape) * kind.itemsize
    require(min(shape, default=0) >= 0 and 0 <= first <= last <= len(body) and last - first == size, path,
            f"{name} lies outside the file")
    values = np.frombuffer(body[first:last], kind.newbyteorder("<")).reshape(shape)
    if kind.kind != "f":
        return values.copy()
    result = values.astype(np.float32)
    require(bool(np.isfinite(result).all()), path, f"{name} holds values that are no numbers")
    return result
