"""Image sequences for compositors: PNG with straight alpha, or OpenEXR, linear and premultiplied as is usual there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from ml_backend.data.frames import encode_png, write_whole
from ml_backend.errors import UserInputError
from ml_backend.progress import Progress, silent

FORMATS = ("png", "exr")
MARK = "parley_frames.json"
"""File in a folder of sequences that says whose they are and whether they are complete."""

Layer = Callable[[int], np.ndarray]
"""Gives picture `index` (H, W, 3) RGB or (H, W, 4) RGBA, uint8, straight alpha, display-encoded."""


def write_sequences(folder: Path, layers: Mapping[str, Layer], count: int, *, form: str, key: str,
                    progress: Progress = silent) -> None:
    """Write `layers` as ``folder/LAYER/000001.png`` onwards (or .exr); pictures of the same `key` are kept.

    Parameters
    ----------
    folder : made; must be `free` for them
    layers : name → pictures
    count : of each layer
    form : "png" or "exr"
    key : of everything that the pictures depend on
    progress : called with pictures done and all

    Raises
    ------
    UserInputError
        If the folder can't be written or the disk is full.
    """
    folder = Path(folder)
    if _mark(folder).get("key") != key:
        clear(folder)
    for name in layers:
        _make(folder / name)
    write_whole(folder / MARK, _encoded(key, False))
    encode = encode_exr if form == "exr" else encode_png
    for index in range(count):
        for place, (name, layer) in enumerate(layers.items()):
            path = folder / name / f"{index + 1:06d}.{form}"
            if not path.exists():
                write_whole(path, encode(layer(index)))
            progress(index * len(layers) + place + 1, count * len(layers))
    write_whole(folder / MARK, _encoded(key, True))


def complete(folder: Path, key: str, count: int, layers: tuple[str, ...], form: str) -> bool:
    """Whether `folder` holds all pictures that `write_sequences` would write."""
    mark = _mark(folder)
    return mark.get("key") == key and bool(mark.get("complete")) and all(
        (folder / name / f"{index + 1:06d}.{form}").exists() for name in layers for index in range(count))


def free(folder: Path) -> bool:
    """Whether sequences may be written to `folder`: it isn't there, is empty, or holds what Parley put there."""
    return not folder.exists() or (folder.is_dir() and (not any(folder.iterdir()) or bool(_mark(folder))))


def clear(folder: Path) -> None:
    """Remove the sequences that `write_sequences` put into `folder`, and nothing else."""
    if not _mark(folder):
        return
    for name in ("film", "face", "plate"):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / MARK).unlink(missing_ok=True)


def encode_exr(image: np.ndarray) -> bytes:
    """OpenEXR, half floats, ZIP, of (H, W, 3) or (H, W, 4) uint8 sRGB with straight alpha.

    Colours become linear light (IEC 61966-2-1) and are multiplied by the alpha, which is what programs expect of the
    format.
    """
    encoded = image[..., :3].astype(np.float32) / 255
    colour = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4).astype(np.float32)
    planes = [colour[..., 1], colour[..., 2], colour[..., 0]]  # FFmpeg's order
    if image.shape[2] == 4:
        alpha = image[..., 3].astype(np.float32) / 255
        planes = [*(plane * alpha for plane in planes), alpha]
    height, width = image.shape[:2]
    frame = VideoFrame(width, height, "gbrapf32le" if len(planes) == 4 else "gbrpf32le")
    for target, plane in zip(frame.planes, planes, strict=True):
        rows = np.zeros((height, target.line_size // 4), np.float32)
        rows[:, :width] = plane
        target.update(rows.tobytes())
    coder = VideoCodecContext.create("exr", "w")
    coder.width, coder.height, coder.pix_fmt = width, height, frame.format.name
    coder.time_base, coder.options = Fraction(1, 25), {"compression": "zip16", "format": "half"}
    frame.pts = 0
    return b"".join(bytes(packet) for packet in [*coder.encode(frame), *coder.encode(None)])


def _mark(folder: Path) -> dict:
    try:
        mark = json.loads((folder / MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return mark if isinstance(mark, dict) and "key" in mark else {}


def _encoded(key: str, whole: bool) -> bytes:
    return json.dumps({"made by": "Parley", "key": key, "complete": whole}).encode()


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserInputError(f"Can't make the folder {folder} ({error.strerror}); choose another one.") from error
