"""Identity features (whose face is it) and spatial features (what does the composite look like).

The published system takes ArcFace for the first and ImageNet's ResNet-18 for the second. Neither set of weights may be
shipped, so both are used where the user has them, and the embedded encoder (`ml_backend.refine.encoder`) stands in
for both otherwise.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ml_backend import insightface_pack
from ml_backend.config import identity_weights
from ml_backend.errors import UserInputError
from ml_backend.refine.config import FEATURE_SIZE, Frames
from ml_backend.refine.encoder import FramedEncoder, align, five_points, load_encoder
from ml_backend.refine.resnet import ResNet18, load_resnet18

ENCODER_SEED = 20200924
ENCODER_INPUT = 96
BATCH = 16
LEARNED, FIXED = "embedded-2", "embedded-1"
"""Names of the learned encoder and of the fixed filters that stood in for it before."""
NONE = "none"
"""Choice of the ablation: no identity at all."""
RESNET = "PARLEY_RESNET18"
"""Names the user's file of ImageNet weights."""


class IdentityEncoder(Protocol):
    """Turns face crops into identity features."""

    name: str

    def encode(self, frames: Frames, landmarks: np.ndarray | None) -> np.ndarray:
        """(N, 512) float32, L2-normalised, of N crops (H, W, 3) uint8 RGB with their landmarks (N, 478, 2), pixels."""
        ...


class FixedTrunk(nn.Module):
    """A small convolutional encoder with fixed orthogonal random filters; never trained.

    Weights of refiners that were trained with it need it still. It keeps colour, texture and coarse layout, which
    separates the takes of one training set; it was never shown a face and knows nobody under other light.
    Same seed, same weights, on every machine.
    """

    def __init__(self) -> None:
        super().__init__()
        random = np.random.Generator(np.random.PCG64(ENCODER_SEED))
        shapes = ((32, 3, 5), (64, 32, 3), (128, 64, 3))
        self.filters = nn.ParameterList(nn.Parameter(_orthogonal(random, s), requires_grad=False) for s in shapes)
        self.project = nn.Parameter(
            _orthogonal(random, (FEATURE_SIZE, 128 * 4 + 3 * 16, 1))[..., 0, 0], requires_grad=False
        )

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, 512), L2-normalised, of pictures (B, 3, H, W), RGB in [0, 1]."""
        x = F.interpolate(x, size=(ENCODER_INPUT, ENCODER_INPUT), mode="bilinear", antialias=True, align_corners=False)
        h = x - 0.5
        for weight in self.filters:
            h = F.relu(F.conv2d(h, weight, stride=2, padding=weight.shape[-1] // 2))
            h = h / h.square().mean((1, 2, 3), keepdim=True).add(1e-8).sqrt()
        texture = F.adaptive_avg_pool2d(h, 2).flatten(1)
        # All filters see the same average picture; without that common part the cosines tell pictures apart.
        texture = texture - texture.mean(1, keepdim=True)
        colour = F.adaptive_avg_pool2d(x, 4).flatten(1)
        colour = colour - colour.mean(1, keepdim=True)
        parts = [F.normalize(texture, dim=1), F.normalize(colour, dim=1)]
        return F.normalize(torch.cat(parts, 1) @ self.project.T, dim=1)


def _orthogonal(random: np.random.Generator, shape: tuple[int, int, int]) -> Tensor:
    """Filters (out, in, k, k) whose rows, or columns if there are more rows, are orthonormal."""
    out, inputs, k = shape
    wide = random.standard_normal((max(out, inputs * k * k), min(out, inputs * k * k)))
    q = np.linalg.qr(wide)[0]
    matrix = q.T if out < inputs * k * k else q
    return torch.from_numpy(matrix[:out].reshape(out, inputs, k, k).astype(np.float32))


def to_batch(frames: Frames) -> Tensor:
    """Pictures (H, W, 3) uint8 as a tensor (N, 3, H, W) float32 in [0, 1]."""
    return torch.from_numpy(np.stack(list(frames))).permute(0, 3, 1, 2).float() / 255


class EmbeddedIdentity:
    """Identity features by the embedded encoder: faces are aligned by their landmarks, or as crops usually lie."""

    name = LEARNED

    def __init__(self) -> None:
        self.trunk = FramedEncoder(load_encoder(identity_weights())).eval()

    @torch.no_grad()
    def encode(self, frames: Frames, landmarks: np.ndarray | None = None) -> np.ndarray:
        """See `IdentityEncoder.encode`; a frame without finite landmarks is taken as crops of clips usually lie."""
        known = np.zeros(len(frames), bool) if landmarks is None else np.isfinite(landmarks[..., :2]).all((1, 2))
        features = np.zeros((len(frames), FEATURE_SIZE), np.float32)
        for network, rows in ((self.trunk.encoder, np.flatnonzero(known)), (self.trunk, np.flatnonzero(~known))):
            for first in range(0, len(rows), BATCH):
                part = rows[first:first + BATCH]
                pictures = [self._picture(frames[t], None if landmarks is None or not known[t] else landmarks[t])
                            for t in part]
                features[part] = network(to_batch(pictures)).numpy()
        return features

    @staticmethod
    def _picture(frame: np.ndarray, landmarks: np.ndarray | None) -> np.ndarray:
        return frame if landmarks is None else align(frame, five_points(landmarks))


class NoIdentity:
    """The same feature for everybody: what the refiner is without identity and memory."""

    name = NONE

    def encode(self, frames: Frames, landmarks: np.ndarray | None = None) -> np.ndarray:
        """See `IdentityEncoder.encode`."""
        features = np.zeros((len(frames), FEATURE_SIZE), np.float32)
        features[:, 0] = 1
        return features


class ArcFaceIdentity:
    """ArcFace's recognition network from an insightface model pack, aligned and run by insightface.

    Parameters
    ----------
    network : insightface's object

    Raises
    ------
    UserInputError
        Unless it gives 512 numbers.
    """

    def __init__(self, network: Any) -> None:
        if network.output_shape[-1] != FEATURE_SIZE:
            raise UserInputError(f"{network.model_file} gives no {FEATURE_SIZE} numbers; take another model pack.")
        self.network = network
        self.name = f"arcface-{Path(network.model_file).stem}"

    def encode(self, frames: Frames, landmarks: np.ndarray | None) -> np.ndarray:
        """See `IdentityEncoder.encode`; frames without finite landmarks get the mean feature of the others.

        Raises
        ------
        UserInputError
            If no frame has landmarks.
        """
        if landmarks is None or not np.isfinite(landmarks).all((1, 2)).any():
            raise UserInputError("ArcFace needs face landmarks and got none; give a clip in which the face is found.")
        good = np.isfinite(landmarks).all((1, 2))
        features = np.zeros((len(frames), FEATURE_SIZE), np.float32)
        for i in np.flatnonzero(good):
            features[i] = self._feature(frames[i], landmarks[i])
        features[good] /= np.linalg.norm(features[good], axis=1, keepdims=True) + 1e-8
        features[~good] = features[good].mean(0)
        return features / (np.linalg.norm(features, axis=1, keepdims=True) + 1e-8)

    def _feature(self, frame: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        from insightface.app.common import Face

        # insightface takes its own five points and OpenCV's order of colours.
        picture = np.ascontiguousarray(frame[..., ::-1])
        with warnings.catch_warnings():
            # scikit-image warns of a call that insightface makes.
            warnings.simplefilter("ignore", FutureWarning)
            return self.network.get(picture, Face(kps=five_points(landmarks)))


def identity_encoder(choice: str = "auto") -> IdentityEncoder:
    """The identity encoder `choice`: "arcface", "embedded", or "auto" = ArcFace if the user named a pack's folder.

    Raises
    ------
    UserInputError, DependencyError
        If ArcFace is asked for and the pack or insightface is missing, or a network is damaged.
    """
    if choice == NONE:
        return NoIdentity()
    if choice not in ("auto", "arcface", "embedded"):
        raise UserInputError(f"There is no identity encoder {choice!r}; use 'auto', 'arcface' or 'embedded'.")
    if choice == "embedded" or (choice == "auto" and not insightface_pack.chosen()):
        return EmbeddedIdentity()
    return ArcFaceIdentity(insightface_pack.load(insightface_pack.RECOGNITION, "ArcFace"))


def resnet_weights() -> Path | None:
    """The user's ImageNet weights of ResNet-18: what ``PARLEY_RESNET18`` names, else none."""
    named = os.environ.get(RESNET)
    return Path(named).expanduser() if named else None


def spatial_trunk(resnet: Path | None = None, *, name: str | None = None) -> tuple[str, nn.Module]:
    """Name and network of the memory's spatial features, pictures (B, 3, H, W) in [0, 1] to (B, 512).

    ResNet-18 from the user's file (`resnet`, else where ``PARLEY_RESNET18`` points; ``.safetensors`` in torchvision's
    naming), else the embedded encoder.

    Parameters
    ----------
    name : the one that given weights were trained with: "resnet18", "embedded-2" or "embedded-1"

    Raises
    ------
    UserInputError
        If the file is no ResNet-18, or the one asked for by name is not there.
    """
    resnet = resnet or resnet_weights()
    if name == FIXED:
        return FIXED, FixedTrunk().eval()
    if name == ResNet18.NAME and resnet is None:
        raise UserInputError("The refiner was trained with ResNet-18's features; let "
                             f"{RESNET} name torchvision's ImageNet weights as a .safetensors file, or train it again.")
    if name == LEARNED or resnet is None:
        return LEARNED, FramedEncoder(load_encoder(identity_weights())).eval()
    return ResNet18.NAME, load_resnet18(resnet)
