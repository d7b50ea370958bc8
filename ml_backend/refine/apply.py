"""Apply trained refiner weights to composites: PNG in, PNG out, resumable, each frame cached by its content."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from ml_backend.errors import UserInputError
from ml_backend.progress import Progress, silent
from ml_backend.refine.config import Frames
from ml_backend.refine.dataset import from_network, to_network, window_indices
from ml_backend.refine.device import autocast, best_device, calm_threads
from ml_backend.refine.identity import spatial_trunk, to_batch
from ml_backend.refine.memory import anchors, interpolate_anchors
from ml_backend.refine.weights import RefinerWeights, load_weights

KEYS_FILE = "refined.json"
SAVE_EVERY = 25


@dataclass(frozen=True)
class ApplyReport:
    """What `apply` did.

    Attributes
    ----------
    frames, made : frames in all, and those that were not there already
    pass_through : the weights say that refining does not help; the frames are the composites
    attention : mean of A over the made frames, 1 = nothing refined; NaN if none were made
    """

    frames: int
    made: int
    pass_through: bool
    attention: float


class Refiner:
    """Weights ready for use on one device.

    Parameters
    ----------
    weights : from `ml_backend.refine.weights.load_weights`
    resnet : ImageNet ResNet-18 weights, needed if the refiner was trained with them

    Raises
    ------
    UserInputError
        If the weights were trained with ResNet-18 features and `resnet` is missing, or the other way round.
    """

    def __init__(
        self, weights: RefinerWeights, *, resnet: Path | None = None, device: torch.device | None = None
    ) -> None:
        name, self.spatial = spatial_trunk(resnet)
        if weights.meta.get("spatial", name) != name:
            raise UserInputError(
                f"The refiner was trained with {weights.meta['spatial']} features, not {name}; use those."
            )
        self.device = device or best_device()
        self.generator = weights.generator.to(self.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
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
        """The last frame of `window` (3, H, W, 3) uint8, refined, and its mean attention.

        Parameters
        ----------
        identity : (512,) from `identities`
        strength : 0 = the composite, 1 = as refined, in between a blend
        """
        tensor = to_network(window)[None].to(self.device, memory_format=torch.channels_last)
        with autocast(self.device):
            refined, _, attention = self.generator(tensor, identity[None].to(self.device))
        now = tensor[:, -3:]
        return from_network((now + strength * (refined.float() - now))[0]), float(attention.float().mean())


def apply(
    composites: Frames,
    weights: Path,
    out_folder: Path,
    *,
    progress: Progress = silent,
    strength: float = 1.0,
    resnet: Path | None = None,
) -> ApplyReport:
    """Refine all `composites` and write them as ``%06d.png``.

    A frame that is there already, made from the same three composites with the same weights and strength, is left.

    Parameters
    ----------
    composites : T pictures (H, W, 3) uint8 RGB of the size trained on; any sequence, read one at a time
    weights : file of `ml_backend.refine.train.fine_tune`
    out_folder : is made if missing; ``refined.json`` in it holds the frames' keys
    progress : called with frames done and in total
    strength : 0 = the composite, 1 = as refined

    Raises
    ------
    UserInputError
        If frames have another size than the refiner was trained on, or the folder can't be written.
    """
    if not 0 <= strength <= 1:
        raise UserInputError(f"A refiner strength of {strength} is not possible; use 0 to 1.")
    loaded = load_weights(weights)
    through = bool(loaded.meta.get("pass_through", False)) or strength == 0
    refiner = None if through else Refiner(loaded, resnet=resnet)
    base = f"{hashlib.blake2b(Path(weights).read_bytes(), digest_size=12).hexdigest()} {0.0 if through else strength}"
    cache = _FrameCache(Path(out_folder), base)
    identities = None
    attention: list[float] = []
    made, total = 0, len(composites)
    try:
        with calm_threads():
            for t in range(total):
                window = np.stack([composites[k] for k in window_indices(t, loaded.config.window)])
                _check_size(window, loaded.config.image)
                if not cache.has(t, window):
                    picture = window[-1]
                    if refiner is not None:
                        identities = refiner.identities(composites) if identities is None else identities
                        picture, mean = refiner.refine(window, identities[t], strength)
                        attention.append(mean)
                    cache.put(t, window, picture)
                    made += 1
                progress(t + 1, total)
    finally:
        cache.save()
    return ApplyReport(total, made, through, float(np.mean(attention)) if attention else float("nan"))


def _check_size(window: np.ndarray, side: int) -> None:
    if window.shape[1:] != (side, side, 3) or window.dtype != np.uint8:
        raise UserInputError(
            f"The refiner was trained on {side}x{side} RGB frames and got {window.shape[1:]}; train again."
        )


class _FrameCache:
    """PNG files and the keys of what they were made from.

    Keys are noted every few frames only; a frame written after the last note is simply made again.
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

    def _key(self, window: np.ndarray) -> str:
        return hashlib.blake2b(window.tobytes(), key=self.base.encode()[:64], digest_size=12).hexdigest()

    def has(self, t: int, window: np.ndarray) -> bool:
        """Whether the picture is there and was made from `window` with these weights."""
        return self.keys.get(self.path(t).name) == self._key(window) and self.path(t).is_file()

    def put(self, t: int, window: np.ndarray, picture: np.ndarray) -> None:
        """Write a picture whole or not at all."""
        ok, data = cv2.imencode(".png", np.ascontiguousarray(picture[..., ::-1]), [cv2.IMWRITE_PNG_COMPRESSION, 3])
        part = self.path(t).with_suffix(".part")
        try:
            part.write_bytes(data.tobytes() if ok else b"")
            os.replace(part, self.path(t))
        except OSError as error:
            raise UserInputError(f"Can't write {self.path(t)}: {error.strerror}. Free some space.") from error
        self.keys[self.path(t).name] = self._key(window)
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
