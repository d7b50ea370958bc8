"""A small network that reads a mouth's expression from its view and from what the landmarks say, for single pictures.

MediaPipe's points hardly see a pucker (r = .55 on drawn heads) that anybody sees in the picture. Five convolutions and
a few dense layers, learned from drawn heads and from frames of people (`blender_assets.head.learn_mouth`), evaluated
here in NumPy: one picture costs a few milliseconds and no import of torch. Where a view is unlike all that were learned
from (a hand, a microphone), the reader isn't believed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ml_backend.artefacts.schema import require
from ml_backend.config import head_model
from ml_backend.errors import ArtefactError
from ml_backend.reconstruct.mouth_view import HEIGHT, WIDTH
from ml_backend.reconstruct.points import Rig

SCHEMA, VERSION = "parley.mouth_reader", 1
TOLD = ("expression_names", "names", "guessed", "strides")
"""What the file's metadata hold, as JSON; the rest are tensors."""
SPREAD = 0.03
"""Share of full brightness added to a view's contrast, by which it is divided."""
SCALE = 2.0
"""Of all numbers that the network is told."""
DOUBT = 1.3
"""How many times as unlike as the limit a view may be, before the reader counts for nothing; at the limit it counts
wholly."""
BLOCK, MODES = 4, 48
"""Pixels of a view that count as one where its likeness is asked for, and how many directions have a spread of their
own."""


@dataclass(frozen=True)
class MouthReader:
    """The network for one face model. L landmarks, K expressions, C channels read, H hidden numbers.

    Attributes
    ----------
    mean : (L, 3) float32 metres, the model's landmarks, by which the model is known again
    expression_names : (K,) str; names : (C,) str, those that are read
    guessed : (G,) str, those of which a guess is told
    kernels : (O, I, 3, 3) each, with one pixel of zeros around; strides : of each; shifts : (O,) each
    dense, dense_shift : (H, P), (H,) from the last kernel's output
    told, told_shift : (S, K + 4 + G), (S,) from channels, angles and guesses
    out, out_shift : (C, H + S + K + 4 + G), (C,)
    usual : (D,), modes : (M, D), unlike : (M + 1,), limit : (1,), see `unlikeness`
    """

    mean: np.ndarray
    expression_names: np.ndarray
    names: np.ndarray
    guessed: np.ndarray
    kernels: tuple[np.ndarray, ...]
    strides: tuple[int, ...]
    shifts: tuple[np.ndarray, ...]
    dense: np.ndarray
    dense_shift: np.ndarray
    told: np.ndarray
    told_shift: np.ndarray
    out: np.ndarray
    out_shift: np.ndarray
    usual: np.ndarray
    modes: np.ndarray
    unlike: np.ndarray
    limit: np.ndarray

    def read(self, views: np.ndarray, expression: np.ndarray, angles: np.ndarray, guess: np.ndarray
             ) -> tuple[np.ndarray, np.ndarray]:
        """(N, C) weights in [0, 1] and (N,) how far to believe them, in [0, 1].

        Each view is read as it is and mirrored.

        Parameters
        ----------
        views : (N, `HEIGHT`, `WIDTH`, 3) uint8, see `mouth_view`
        expression : (N, K) as solved from landmarks; angles : (N, 3) radians, as solved
        guess : (N, G) what is guessed without the mouth's view, see `photo_prior`
        """
        all_names, names, guessed = (part.tolist() for part in (self.expression_names, self.names, self.guessed))
        plain = self.forward(views, told(expression, angles, guess))
        other = self.forward(views[:, :, ::-1], told(expression[:, others(all_names)], angles * [1, -1, -1],
                                                     guess[:, others(guessed)]))
        found = np.clip((plain + other[:, others(names)]) / 2, 0, 1)
        far = self.unlikeness(views) / float(self.limit[0])
        return found, np.clip((DOUBT - far) / (DOUBT - 1), 0, 1)

    def forward(self, views: np.ndarray, known: np.ndarray) -> np.ndarray:
        """(N, C) what the network makes of `views` and of what it is `told` (N, K + 4 + G)."""
        layer = normalised(views).transpose(0, 3, 1, 2)
        for kernel, shift, stride in zip(self.kernels, self.shifts, self.strides, strict=True):
            layer = np.maximum(_convolved(layer, kernel, stride) + shift[:, None, None], 0)
        hidden = np.maximum(layer.reshape(len(layer), -1) @ self.dense.T + self.dense_shift, 0)
        small = np.maximum(known @ self.told.T + self.told_shift, 0)
        return np.concatenate([hidden, small, known], 1) @ self.out.T + self.out_shift

    def unlikeness(self, views: np.ndarray) -> np.ndarray:
        """(N,) how far `views` lie from those learned from.

        Mahalanobis distance of the `coarse` view, whose spread is that of some modes and alike in all other directions
        (probabilistic principal components, Tipping and Bishop, 1999).
        """
        away = coarse(views) - self.usual
        along = away @ self.modes.T
        squares = self.unlike[-1] * (away**2).sum(1) - (along**2 * (self.unlike[-1] - self.unlike[:-1])).sum(1)
        return np.sqrt(np.maximum(squares, 0))


def others(names: Sequence[str]) -> list[int]:
    """Place of the other side's channel for each of `names`; its own where there is none."""
    swap = {"Left": "Right", "Right": "Left"}
    ends = [next((side for side in swap if name.endswith(side)), "") for name in names]
    return [names.index(name.removesuffix(end) + swap[end]) if end else place
            for place, (name, end) in enumerate(zip(names, ends, strict=True))]


def normalised(views: np.ndarray) -> np.ndarray:
    """(N, H, W, 3) float32 of `views` uint8, freed of the colours' means and of the contrast."""
    plain = views.astype(np.float32) / 255
    centred = plain - plain.mean((1, 2), keepdims=True)
    return centred / (plain.std((1, 2, 3), keepdims=True, ddof=1) + SPREAD)


def told(expression: np.ndarray, angles: np.ndarray, guess: np.ndarray) -> np.ndarray:
    """(N, K + 4 + G) float32 of channels (N, K), angles (N, 3) and guesses (N, G): the network's second input."""
    return (SCALE * np.concatenate([expression, angles, np.abs(angles[:, 1:2]), guess], 1)).astype(np.float32)


def _convolved(layer: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    """(N, O, H', W') of `layer` (N, I, H, W) with one row and column of zeros around it."""
    padded = np.pad(layer, ((0, 0), (0, 0), (1, 1), (1, 1)))
    count, depth, height, width = padded.shape
    across, down = (width - 3) // stride + 1, (height - 3) // stride + 1
    windows = np.stack([padded[:, :, y:y + stride * down:stride, x:x + stride * across:stride]
                        for y in range(3) for x in range(3)], 2)
    flat = kernel.reshape(len(kernel), -1) @ windows.reshape(count, 9 * depth, down * across)
    return flat.reshape(count, len(kernel), down, across)


def coarse(views: np.ndarray) -> np.ndarray:
    """(N, D) float32 the `normalised` views in blocks."""
    blocks = normalised(views).reshape(len(views), HEIGHT // BLOCK, BLOCK, WIDTH // BLOCK, BLOCK, 3)
    return blocks.mean((2, 4)).reshape(len(views), -1)


def likeness(views: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`usual` (D,), `modes` (M, D) and `unlike` (M + 1,), one over the variances along the modes and beside them."""
    rows = coarse(views)
    usual = rows.mean(0)
    _, spread, modes = np.linalg.svd(rows - usual, full_matrices=False)
    count = min(MODES, len(spread) - 1)
    variance = np.maximum(spread**2 / len(rows), 1e-6)
    rest = max(float(variance[count:].sum()) / (rows.shape[1] - count), 1e-6)
    return usual, modes[:count], np.append(1 / np.maximum(variance[:count], rest), 1 / rest).astype(np.float32)


def beside(model: Path) -> Path:
    """The file that belongs to the face model at `model`."""
    return model.with_name("mouth.safetensors")


def reader_of(points: Rig) -> MouthReader | None:
    """The network for this face model, or None if none was learned for it or some of its landmarks are not seen."""
    found = _embedded()
    return found if found is not None and points.is_of(found.mean, found.expression_names) else None


@lru_cache(maxsize=1)
def _embedded() -> MouthReader | None:
    path = beside(head_model())
    return load(path) if path.exists() else None


def save(reader: MouthReader, path: Path) -> None:
    """Write `reader` to `path`, safetensors, its numbers as float16 but for the landmarks and the likeness."""
    exact, facts = ("mean", "unlike", "limit"), {"schema": SCHEMA, "version": str(VERSION)}
    facts |= {name: json.dumps(np.asarray(getattr(reader, name)).tolist()) for name in TOLD}
    arrays = {name: value.astype(np.float32 if name in exact else np.float16)
              for name, value in vars(reader).items() if isinstance(value, np.ndarray) and name not in TOLD}
    for place, (kernel, shift) in enumerate(zip(reader.kernels, reader.shifts, strict=True)):
        arrays |= {f"kernel_{place}": kernel.astype(np.float16), f"shift_{place}": shift.astype(np.float16)}
    save_file({name: np.ascontiguousarray(value) for name, value in arrays.items()}, path, facts)


def load(path: Path) -> MouthReader:
    """The network at `path`; raises `ArtefactError` if it is none."""
    arrays = _read(path)
    single = [name for name in MouthReader.__dataclass_fields__ if name not in ("kernels", "strides", "shifts")]
    strides = tuple(int(stride) for stride in arrays.get("strides", ()))
    wanted = [*single, *(f"{part}_{place}" for place in range(len(strides)) for part in ("kernel", "shift"))]
    missing = [name for name in wanted if name not in arrays]
    require(bool(strides) and not missing, path, f"the {SCHEMA} file lacks {', '.join(missing or ['strides'])}")
    kernels, shifts = (tuple(arrays[f"{part}_{place}"] for place in range(len(strides)))
                       for part in ("kernel", "shift"))
    found = MouthReader(kernels=kernels, strides=strides, shifts=shifts, **{name: arrays[name] for name in single})
    _check(found, path)
    return found


def _read(path: Path) -> dict[str, np.ndarray]:
    """What the file at `path` holds, tensors as float32."""
    try:
        with safe_open(path, "np") as file:
            facts = file.metadata() or {}
            require((facts.get("schema"), facts.get("version")) == (SCHEMA, str(VERSION)), path,
                    f"it holds no {SCHEMA} of version {VERSION}")
            arrays = {name: file.get_tensor(name).astype(np.float32) for name in file.keys()}  # noqa: SIM118
        return arrays | {name: np.array(json.loads(facts[name])) for name in TOLD if name in facts}
    except (OSError, SafetensorError, ValueError) as error:
        raise ArtefactError(f"{path} can't be read as {SCHEMA} ({error}); make it again.") from error


def _check(found: MouthReader, path: Path) -> None:
    """Raise `ArtefactError` unless the layers fit one on the other."""
    depth, height, width = 3, HEIGHT, WIDTH
    for kernel, shift, stride in zip(found.kernels, found.shifts, found.strides, strict=True):
        require(kernel.shape == (len(shift), depth, 3, 3) and stride in (1, 2), path, "a kernel fits no other")
        depth, height, width = len(shift), (height - 1) // stride + 1, (width - 1) // stride + 1
    hidden, known = len(found.dense_shift), len(found.expression_names) + 4 + len(found.guessed)
    small = len(found.told_shift)
    require(found.dense.shape == (hidden, depth * height * width), path, "the dense layer fits no picture")
    require(found.told.shape == (small, known), path, "weights and names differ in number")
    require(found.out.shape == (len(found.names), hidden + small + known), path, "weights and names differ in number")
    require(found.out_shift.shape == (len(found.names),), path, "weights and names differ in number")
    coarse_size = 3 * (HEIGHT // BLOCK) * (WIDTH // BLOCK)
    require(found.usual.shape == found.modes.shape[1:] == (coarse_size,), path, "likeness fits no view")
    require(found.unlike.shape == (len(found.modes) + 1,), path, "likeness fits no view")
    require(found.limit.shape == (1,) and float(found.limit[0]) > 0, path, "likeness has no limit")
    require({*found.names, *found.guessed} <= set(found.expression_names), path, "a channel is no expression")
    require(all(np.isfinite(value).all() for value in (*found.kernels, found.dense, found.out)), path,
            "some numbers are not finite")
