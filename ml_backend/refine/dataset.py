"""Pairs of composites and real crops, as windows of three, with the same crop and light in input and target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from ml_backend.errors import UserInputError
from ml_backend.refine.config import SIZE_MULTIPLE, Frames, TrainOptions
from ml_backend.refine.losses import feature_weights

MIN_FRAMES = 10


@dataclass(frozen=True)
class Batch:
    """Tensors of one step: window (B, 3·n, H, W) and target (B, 3, H, W) in [-1, 1], weight (B, 1, H, W) >= 1."""

    window: Tensor
    target: Tensor
    weight: Tensor

    def to(self, device: torch.device) -> Batch:
        """The batch on `device`, in the memory order that convolutions like best there."""
        form = torch.channels_last
        return Batch(*(t.to(device, memory_format=form) for t in (self.window, self.target, self.weight)))

    def cut(self, rows: slice, columns: slice) -> Batch:
        """A part of the pictures."""
        return Batch(*(t[..., rows, columns] for t in (self.window, self.target, self.weight)))

    def halved(self) -> Batch:
        """The batch at half resolution."""
        return Batch(*(torch.nn.functional.avg_pool2d(t, 2) for t in (self.window, self.target, self.weight)))


def window_indices(frame: int, size: int) -> list[int]:
    """Frames of the window that ends in `frame`, the oldest first; before the clip's start its first frame repeats.

    The published test code copies output 2 to outputs 0 and 1, which shows three equal pictures at every start; a
    repeated input is a still head instead, something the network has seen, and every frame gets its own output.
    """
    return [max(frame - k, 0) for k in range(size - 1, -1, -1)]


def to_network(frames: np.ndarray) -> Tensor:
    """Pictures (N, H, W, 3) uint8 as one tensor (3·N, H, W) float32 in [-1, 1], picture after picture."""
    stacked = np.ascontiguousarray(frames.transpose(0, 3, 1, 2)).reshape(-1, *frames.shape[1:3])
    return torch.from_numpy(stacked).float().div_(127.5).sub_(1)


def from_network(picture: Tensor) -> np.ndarray:
    """A picture (3, H, W) in [-1, 1] as (H, W, 3) uint8."""
    return picture.float().add(1).mul(127.5).round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()


class PairSequence:
    """A clip's composites and real crops in memory.

    Parameters
    ----------
    composites, real : T pictures (H, W, 3) uint8 RGB each, the same crop
    landmarks : (T, 478, 2 or 3) float, MediaPipe's points in the crop, pixels; None = no weighting of mouth and eyes
    options : for the weights and the augmentation

    Raises
    ------
    UserInputError
        If lengths or sizes differ, sides are no multiple of 32, or there are fewer than 10 pairs.
    """

    def __init__(self, composites: Frames, real: Frames, landmarks: np.ndarray | None, options: TrainOptions) -> None:
        check_pairs(composites, real, landmarks)
        self.composites, self.real = np.stack(list(composites)), np.stack(list(real))
        self.options = options
        shape = (self.real.shape[1], self.real.shape[2])
        self.weights = np.ones((len(self.real), *shape), np.float16)
        if landmarks is not None:
            for t, points in enumerate(landmarks[..., :2]):
                self.weights[t] = feature_weights(points, shape, mouth=options.mouth_weight, eyes=options.eye_weight)

    def __len__(self) -> int:
        return len(self.real)

    def batch(self, frames: Sequence[int], window: int, random: np.random.Generator | None = None) -> Batch:
        """Windows that end in `frames` with targets and weights; augmented if `random` is given."""
        parts = [self._sample(t, window, random) for t in frames]
        return Batch(*(torch.stack([part[i] for part in parts]) for i in range(3)))

    def _sample(self, t: int, window: int, random: np.random.Generator | None) -> tuple[Tensor, Tensor, Tensor]:
        pictures = np.concatenate([self.composites[window_indices(t, window)], self.real[t : t + 1]])
        weight = self.weights[t].astype(np.float32)
        gain = 1.0
        if random is not None:
            pictures, weight, gain = self._augment(pictures, weight, random)
        tensor = to_network(pictures)
        if gain != 1.0:
            tensor = tensor.add_(1).mul_(gain).sub_(1).clamp_(-1, 1)
        return tensor[:-3], tensor[-3:], torch.from_numpy(np.ascontiguousarray(weight))[None]

    def _augment(
        self, pictures: np.ndarray, weight: np.ndarray, random: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, float]:
        if self.options.flip and random.random() < 0.5:
            pictures, weight = pictures[:, :, ::-1], weight[:, ::-1]
        s = self.options.shift
        if s:
            dy, dx = random.integers(0, 2 * s + 1, 2)
            height, width = weight.shape
            rows, columns = slice(dy, dy + height), slice(dx, dx + width)
            pictures = np.pad(pictures, ((0, 0), (s, s), (s, s), (0, 0)), mode="edge")[:, rows, columns]
            weight = np.pad(weight, s, mode="edge")[rows, columns]
        return pictures, weight, 1.0 + float(random.uniform(-1, 1)) * self.options.gain


def check_pairs(composites: Frames, real: Frames, landmarks: np.ndarray | None) -> None:
    """Raise `UserInputError` unless the pairs can be trained on; see `PairSequence`."""
    if len(composites) != len(real):
        raise UserInputError(f"The refiner got {len(composites)} composites for {len(real)} real frames; give as many.")
    if len(real) < MIN_FRAMES:
        raise UserInputError(f"The refiner needs at least {MIN_FRAMES} frames and got {len(real)}; use a longer clip.")
    shapes = {np.shape(picture) for picture in (*composites, *real)}
    shape = shapes.pop()
    if shapes or len(shape) != 3 or shape[2] != 3 or shape[0] % SIZE_MULTIPLE or shape[1] % SIZE_MULTIPLE:
        raise UserInputError(
            f"The refiner's frames must be RGB of one size, sides multiples of {SIZE_MULTIPLE}; got {shape}."
        )
    if any(picture.dtype != np.uint8 for picture in (*composites, *real)):
        raise UserInputError("The refiner's frames must be uint8; convert them to values from 0 to 255.")
    if landmarks is not None and (len(landmarks) != len(real) or landmarks.shape[1] != 478):
        raise UserInputError(f"The refiner got landmarks {landmarks.shape} for {len(real)} frames; give (T, 478, 2).")


class PairFolder:
    """Pairs on disk: ``composites/000000.png`` beside ``real/000000.png``, and so on.

    Raises
    ------
    UserInputError
        If a folder is missing or empty, or the names differ.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        names = [sorted(p.name for p in (self.folder / part).glob("*.png")) for part in ("composites", "real")]
        if not names[0] or names[0] != names[1]:
            raise UserInputError(f"{folder} should hold the same .png names in composites/ and real/; make it again.")
        self.names = names[0]

    def __len__(self) -> int:
        return len(self.names)

    def load(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """All composites and all real frames, (H, W, 3) uint8 RGB."""
        return self._read("composites"), self._read("real")

    def _read(self, part: str) -> list[np.ndarray]:
        return [read_png(self.folder / part / name) for name in self.names]


def read_png(path: Path) -> np.ndarray:
    """A picture (H, W, 3) uint8 RGB.

    Raises
    ------
    UserInputError
        If it can't be read.
    """
    data = np.fromfile(path, np.uint8) if Path(path).is_file() else np.zeros(0, np.uint8)
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if picture is None:
        raise UserInputError(f"{path} can't be read as a picture; make it again.")
    return np.ascontiguousarray(picture[..., ::-1])
