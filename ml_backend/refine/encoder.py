"""The embedded identity encoder: whose face an aligned crop shows, as 512 numbers.

A small residual network, trained by ``parley train identity`` (see `ml_backend.recognise`). It takes faces that are
brought to `SIDE` x `SIDE` pixels with eyes, nose and mouth corners at `TEMPLATE`.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ml_backend.errors import ArtefactError
from ml_backend.refine.config import FEATURE_SIZE

SCHEMA, VERSION = "parley.identity", "1"
SIDE = 112
TEMPLATE = np.array([[38, 47], [74, 47], [56, 67], [42, 85], [70, 85]], np.float32)
"""Where the five points lie in an aligned crop, pixels: eyes (image left, right), nose tip, mouth corners."""
USUAL = np.array([[0.395, 0.425], [0.605, 0.425], [0.505, 0.56], [0.414, 0.667], [0.588, 0.667]], np.float32)
"""Where they lie in a tracked clip's square crop (`ml_backend.reconstruct.track.crop_square`), shares of its side."""
EYE_CORNERS = ((33, 133), (362, 263))
NOSE_TIP, MOUTH_CORNERS = 1, (61, 291)
WIDTHS = (32, 64, 128, 256)


class _Residual(nn.Module):
    """Two 3x3 convolutions with batch normalisation beside a short cut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.act = nn.PReLU(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.short = None
        if stride != 1 or inputs != outputs:
            self.short = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm2(self.conv2(self.act(self.norm1(self.conv1(self.norm(x))))))
        if self.short is None:
            return x + h
        return self.short(x) + h


class FaceEncoder(nn.Module):
    """Aligned faces (B, 3, 112, 112), RGB in [0, 1], to identity features (B, 512), L2-normalised.

    After Deng et al. 2019 (ArcFace): residual units with a batch norm before and PReLU between, and a last layer that
    keeps the place of things (its weights differ from pixel to pixel) instead of averaging over them.
    """

    def __init__(self, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.stem = nn.Conv2d(3, widths[0], 3, 2, 1, bias=False)
        self.stem_norm, self.stem_act = nn.BatchNorm2d(widths[0]), nn.PReLU(widths[0])
        units = [_Residual(a, b, 2) for a, b in pairwise(widths)]
        # One more where there is room for what parts look like together and it costs little.
        units.insert(len(units) - 1, _Residual(widths[-2], widths[-2], 1))
        self.units = nn.ModuleList(units)
        self.norm = nn.BatchNorm2d(widths[-1])
        self.places = nn.Conv2d(widths[-1], widths[-1], SIDE // 2 ** len(widths), groups=widths[-1], bias=False)
        self.places_norm = nn.BatchNorm2d(widths[-1])
        self.last = nn.Linear(widths[-1], FEATURE_SIZE, bias=False)
        self.last_norm = nn.BatchNorm1d(FEATURE_SIZE)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem_act(self.stem_norm(self.stem(2 * x - 1)))
        for unit in self.units:
            h = unit(h)
        h = self.places_norm(self.places(self.norm(h))).flatten(1)
        return F.normalize(self.last_norm(self.last(h)).float(), dim=1)


class FramedEncoder(nn.Module):
    """`FaceEncoder` on whole square crops of a clip, whose face lies about where `USUAL` says: the memory's keys."""

    def __init__(self, encoder: FaceEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        shift = similarity(USUAL, TEMPLATE)
        # grid_sample asks the other way round, in coordinates from -1 to 1: aligned crop → share of the frame.
        back = cv2.invertAffineTransform(shift)
        centre = SIDE / 2
        linear = back[:, :2] * centre
        offset = back @ np.array([centre - 0.5, centre - 0.5, 1.0])
        theta = np.concatenate([2 * linear, (2 * offset - 1)[:, None]], 1)
        self.register_buffer("theta", torch.from_numpy(theta.astype(np.float32))[None], persistent=False)
        self.theta: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, 512), L2-normalised, of pictures (B, 3, H, W), RGB in [0, 1]."""
        # Shrunk first: sampling a large picture sparsely would pick up its noise.
        side = 2 * SIDE
        if min(x.shape[-2:]) > side:
            x = F.interpolate(x, size=(side, side), mode="bilinear", antialias=True, align_corners=False)
        grid = F.affine_grid(self.theta.expand(len(x), -1, -1), [len(x), 3, SIDE, SIDE], align_corners=False)
        return self.encoder(F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False))


def five_points(landmarks: np.ndarray) -> np.ndarray:
    """Eyes (image left, image right), nose tip and mouth corners (5, 2) from MediaPipe's points (478, 2)."""
    eyes = [landmarks[list(pair), :2].mean(0) for pair in EYE_CORNERS]
    corners = [landmarks[i, :2] for i in (NOSE_TIP, *MOUTH_CORNERS)]
    return np.stack([*eyes, *corners]).astype(np.float32)


def similarity(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(2, 3) float64: turning, scale and shift that bring `points` (N, 2) nearest to `target` (N, 2).

    Least squares; as complex numbers, target = a · point + b with a = Σ p̄ t / Σ |p|² about the means (Umeyama 1991).
    """
    p, t = (values.astype(np.float64) @ np.array([1, 1j]) for values in (points, target))
    middle, goal = p.mean(), t.mean()
    spread = max(float((np.abs(p - middle) ** 2).sum()), 1e-12)
    a = complex((np.conj(p - middle) * (t - goal)).sum() / spread)
    b = complex(goal - a * middle)
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def align(frame: np.ndarray, points: np.ndarray, *, side: int = SIDE) -> np.ndarray:
    """(side, side, 3) uint8: the face of `frame` (H, W, 3) whose five `points` (5, 2) come to the template.

    A `side` above 112 leaves a margin around the template, at the same scale.
    """
    matrix = similarity(points, TEMPLATE + (side - SIDE) / 2)
    scale = float(np.hypot(*matrix[:, 0]))
    while scale < 0.5 and min(frame.shape[:2]) > 4:
        # Halved first, else fine detail turns into noise.
        frame = cv2.resize(frame, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        points = (points + 0.5) / 2 - 0.5
        matrix = similarity(points, TEMPLATE + (side - SIDE) / 2)
        scale *= 2
    return cv2.warpAffine(frame, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def load_encoder(path: Path) -> FaceEncoder:
    """The encoder whose weights `parley train identity` wrote, in evaluation mode, float32.

    Raises
    ------
    ArtefactError
        If the file is missing, damaged, of another schema or version, or its tensors don't fit.
    """
    if not Path(path).is_file():
        raise ArtefactError(f"{path} does not exist; install Parley again or train it with `parley train identity`.")
    try:
        with safe_open(str(path), framework="pt") as stream:
            metadata = stream.metadata() or {}
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 (not a mapping)
    except (OSError, SafetensorError) as error:
        raise ArtefactError(f"{path} is damaged ({error}); install Parley again or train it anew.") from error
    if metadata.get("schema") != SCHEMA or metadata.get("version") != VERSION:
        found = f"{metadata.get('schema')} version {metadata.get('version')}"
        raise ArtefactError(f"{path} is {found}, needed is {SCHEMA} version {VERSION}; use weights of this version.")
    try:
        encoder = FaceEncoder(tuple(int(width) for width in metadata["widths"].split()))
        encoder.load_state_dict({k: t.float() if t.is_floating_point() else t for k, t in tensors.items()})
    except (KeyError, ValueError, RuntimeError) as error:
        raise ArtefactError(f"{path}'s tensors are not those of an identity encoder; train it anew.") from error
    return encoder.eval()
