"""Apply trained refiner weights to composites: PNG in, PNG out, resumable, each frame cached by its content."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ml_backend.errors import StageError, UserInputError
from ml_backend.progress import Progress, silent
from ml_backend.refine.config import Frames
from ml_backend.refine.dataset import from_network, to_network, window_indices
from ml_backend.refine.device import autocast, best_device, calm_threads
from ml_backend.refine.frame_cache import FrameCache, weights_hash
from ml_backend.refine.identity import spatial_trunk, to_batch
from ml_backend.refine.memory import anchors, interpolate_anchors
from ml_backend.refine.weights import RefinerWeights, load_weights

BATCH = {"cpu": 4, "cuda": 16}
"""Frames at a time: a CPU gains nothing from more, and its caches hold no more."""


@dataclass(frozen=True)
class ApplyReport:
    """What `apply` did.

    Attributes
    ----------
    frames, made : frames in all, and those that were not there already
    pass_through : the weights say that refining does not help; the frames are the composites
    attention : mean of A over the made frames, 1 = nothing refined; NaN if none were made
    batch : frames at a time at the end
    notes : sentences for the user, e.g. that memory did not suffice for larger batches
    """

    frames: int
    made: int
    pass_through: bool
    attention: float
    batch: int = 1
    notes: tuple[str, ...] = ()


class Refiner:
    """Weights ready for use on one device.

    Parameters
    ----------
    weights : from `ml_backend.refine.weights.load_weights`
    resnet : ImageNet ResNet-18 weights, if the refiner was trained with them; None = where PARLEY_RESNET18 points
    compiled : let ``torch.compile`` make the network faster: takes a minute at first and needs a C++ compiler

    Raises
    ------
    UserInputError
        If the weights were trained with ResNet-18's features and the file is missing, or the other way round.
    """

    def __init__(
        self,
        weights: RefinerWeights,
        *,
        resnet: Path | None = None,
        device: torch.device | None = None,
        compiled: bool = False,
    ) -> None:
        wanted = str(weights.meta["spatial"]) if "spatial" in weights.meta else None
        name, self.spatial = spatial_trunk(resnet, name=wanted)
        if wanted not in (None, name):
            raise UserInputError(f"The refiner was trained with {wanted} features, not {name}; use those.")
        self.device = device or best_device()
        self.generator = weights.generator.to(self.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.network: Callable[..., tuple[Tensor, ...]] = self.generator
        if compiled:
            self.network = torch.compile(self.generator)
        self.memory = weights.memory
        self.config = weights.config

    @torch.no_grad()
    def identities(self, composites: Frames) -> Tensor:
        """Identity features (T, 512) of T composites: read from the memory at the anchor frames, linear in between."""
        positions = anchors(len(composites))
        spatial = torch.cat([self.spatial(to_batch([composites[int(t)]])) for t in positions])
        return interpolate_anchors(self.memory.read(self.memory.query(spatial)), positions, len(composites))

    @torch.no_grad()
    def refine(self, window: np.ndarray, identity: Tensor, strength: float = 1.0) -> tuple[np.ndarray, float]:
        """The last frame of `window` (3, H, W, 3) uint8, refined, and its mean attention; see `refine_batch`."""
        return self.refine_batch([window], identity[None], strength)[0]

    @torch.no_grad()
    def refine_batch(
        self, windows: list[np.ndarray], identity: Tensor, strength: float = 1.0
    ) -> list[tuple[np.ndarray, float]]:
        """The last frames of B windows (3, H, W, 3) uint8, refined (H, W, 3), and their mean attentions.

        Parameters
        ----------
        identity : (B, 512), rows of `identities`
        strength : 0 = the composites, 1 = as refined, in between a blend
        """
        tensor = torch.stack([to_network(window) for window in windows])
        tensor = tensor.to(self.device, memory_format=torch.channels_last)
        with autocast(self.device):
            refined, _, attention = self.network(tensor, identity.to(self.device))
        now = tensor[:, -3:]
        means = attention.float().mean((1, 2, 3)).tolist()
        if strength < 1:
            refined = now + strength * (refined.float() - now)
        return [(from_network(picture), mean) for picture, mean in zip(refined, means, strict=True)]


def apply(
    composites: Frames,
    weights: Path,
    out_folder: Path,
    *,
    progress: Progress = silent,
    strength: float = 1.0,
    resnet: Path | None = None,
    batch: int | None = None,
    compiled: bool = False,
    say: Callable[[str], None] | None = None,
) -> ApplyReport:
    """Refine all `composites` and write them as ``%06d.png``.

    A frame that is there already, made from the same three composites and the same identity with the same weights and
    strength, is left.

    Parameters
    ----------
    composites : T pictures (H, W, 3) uint8 RGB of the size trained on; any sequence, read one at a time
    weights : file of `ml_backend.refine.train.fine_tune`
    out_folder : is made if missing; ``refined.json`` in it holds the frames' keys
    progress : called with frames done and in total
    strength : 0 = the composite, 1 = as refined
    resnet, compiled : see `Refiner`
    batch : frames at a time; None = what suits the device. Halved when memory runs out
    say : is told each note of the report at once

    Raises
    ------
    UserInputError
        If there is no frame, frames have another size than the refiner was trained on, or the folder can't be written.
    StageError
        If the memory has no entries, or memory does not suffice for a single frame.
    """
    if not 0 <= strength <= 1:
        raise UserInputError(f"A refiner strength of {strength} is not possible; use 0 to 1.")
    if not len(composites):
        raise UserInputError("There are no frames to refine; render some first.")
    loaded = load_weights(weights)
    through = bool(loaded.meta.get("pass_through", False)) or strength == 0
    refiner = None if through else Refiner(loaded, resnet=resnet, compiled=compiled)
    cache = FrameCache(Path(out_folder), f"{weights_hash(weights)} {0.0 if through else strength}")
    run = _Run(composites, refiner, cache, strength, loaded.config.window, loaded.config.image, say or _nobody)
    run.batch = _batch(batch, refiner)
    try:
        with calm_threads():
            run.all(progress)
    finally:
        cache.save()
    mean = float(np.mean(run.attention)) if run.attention else float("nan")
    return ApplyReport(len(composites), run.made, through, mean, run.batch, tuple(run.notes))


class _Run:
    """One `apply`."""

    def __init__(self, composites: Frames, refiner: Refiner | None, cache: FrameCache, strength: float, window: int,
                 side: int, say: Callable[[str], None]) -> None:
        self.composites, self.refiner, self.cache, self.strength = composites, refiner, cache, strength
        self.window, self.side, self.say = window, side, say
        self.identities = refiner.identities(composites) if refiner is not None else None
        self.batch, self.made = 1, 0
        self.attention: list[float] = []
        self.notes: list[str] = []

    def all(self, progress: Progress) -> None:
        """Make every frame that is not there."""
        total, waiting = len(self.composites), []
        for t, window in enumerate(self._windows()):
            key = b"" if self.identities is None else self.identities[t].numpy().round(4).tobytes()
            if not self.cache.has(t, window, key):
                waiting.append((t, window, key))
            if len(waiting) >= self.batch or t == total - 1:
                self._make(waiting)
                waiting = []
            progress(t + 1, total)

    def _windows(self) -> Iterator[np.ndarray]:
        """Each frame's window (window, H, W, 3); every composite is read once."""
        recent: dict[int, np.ndarray] = {}
        for t in range(len(self.composites)):
            indices = window_indices(t, self.window)
            recent = {k: recent[k] if k in recent else self._read(k) for k in sorted(set(indices))}
            yield np.stack([recent[k] for k in indices])

    def _read(self, t: int) -> np.ndarray:
        frame = np.asarray(self.composites[t])
        if frame.shape != (self.side, self.side, 3) or frame.dtype != np.uint8:
            raise UserInputError(f"The refiner was trained on {self.side}x{self.side} RGB frames and frame {t} is "
                                 f"{'x'.join(map(str, frame.shape[1::-1]))}; render at that size, or train again.")
        return frame

    def _make(self, waiting: list[tuple[int, np.ndarray, bytes]]) -> None:
        done = 0
        while done < len(waiting):
            part = waiting[done:done + self.batch]
            try:
                pictures = self._refined(part)
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
                self._smaller()
                continue
            for (t, window, key), picture in zip(part, pictures, strict=True):
                self.cache.put(t, window, key, picture)
            self.made += len(part)
            done += len(part)

    def _refined(self, part: list[tuple[int, np.ndarray, bytes]]) -> list[np.ndarray]:
        if self.refiner is None or self.identities is None:
            return [window[-1] for _, window, _ in part]
        rows = [t for t, _, _ in part]
        made = self.refiner.refine_batch([window for _, window, _ in part], self.identities[rows], self.strength)
        self.attention += [mean for _, mean in made]
        return [picture for picture, _ in made]

    def _smaller(self) -> None:
        if self.batch == 1:
            raise StageError("There is not enough memory to refine a single frame; close other programs, or use "
                             "smaller frames (--size).") from None
        self.batch //= 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        note = f"There is not enough memory for {2 * self.batch} frames at a time; the refiner goes on with " \
               f"{self.batch}."
        self.notes.append(note)
        self.say(note)


def out_of_memory(error: Exception) -> bool:
    """Whether `error` says that memory ran out; torch's CPU allocator has no type of its own for it."""
    text = str(error)
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "DefaultCPUAllocator" in text \
        or "not enough memory" in text


def _batch(wanted: int | None, refiner: Refiner | None) -> int:
    if wanted is not None and wanted < 1:
        raise UserInputError(f"A batch of {wanted} frames is not possible; use 1 or more.")
    return wanted or BATCH.get(refiner.device.type if refiner else "cpu", 1)


def _nobody(note: str) -> None:
    """Notes are in the report anyway."""
