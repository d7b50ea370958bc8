"""Identity features (whose face is it) and spatial features (what does the composite look like).

The published system takes ArcFace for the first and ImageNet's ResNet-18 for the second. Neither set of weights may be
shipped, so both are used where the user has them, and an embedded encoder stands in otherwise.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ml_backend import insightface_pack
from ml_backend.errors import UserInputError
from ml_backend.refine.config import FEATURE_SIZE, Frames
from ml_backend.refine.resnet import ResNet18, load_resnet18

EYE_CORNERS = ((33, 133), (362, 263))
NOSE_TIP, MOUTH_CORNERS = 1, (61, 291)
ENCODER_SEED = 20200924
ENCODER_INPUT = 96


class IdentityEncoder(Protocol):
    """Turns face crops into identity features."""

    name: str

    def encode(self, frames: Frames, landmarks: np.ndarray | None) -> np.ndarray:
        """(N, 512) float32, L2-normalised, of N crops (H, W, 3) uint8 RGB with their landmarks (N, 478, 2), pixels."""
        ...


class EmbeddedTrunk(nn.Module):
    """A small convolutional encoder with fixed orthogonal random filters; never trained.

    What it is and is not: three layers of random filters with rectification keep colour, texture and coarse layout,
    which separates the people and takes of one training set well enough to condition on and to retrieve by. It was
    never shown a face: it does not recognise a person under other light, and its cosines are no verification score.
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
    """Identity features from `EmbeddedTrunk`; see there for what they are worth."""

    name = "embedded-1"

    def __init__(self) -> None:
        self.trunk = EmbeddedTrunk()

    @torch.no_grad()
    def encode(self, frames: Frames, landmarks: np.ndarray | None = None) -> np.ndarray:
        """See `IdentityEncoder.encode`; landmarks are not used, the crop being steady already."""
        return torch.cat([self.trunk(to_batch(frames[i : i + 16])) for i in range(0, len(frames), 16)]).numpy()


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


def five_points(landmarks: np.ndarray) -> np.ndarray:
    """Eyes (image left, image right), nose tip and mouth corners (5, 2) from MediaPipe's points (478, 2)."""
    eyes = [landmarks[list(pair)].mean(0) for pair in EYE_CORNERS]
    return np.stack([*eyes, landmarks[NOSE_TIP], *landmarks[list(MOUTH_CORNERS)]]).astype(np.float32)


def identity_encoder(choice: str = "auto") -> IdentityEncoder:
    """The identity encoder `choice`: "arcface", "embedded", or "auto" = ArcFace if the user named a pack's folder.

    Raises
    ------
    UserInputError, DependencyError
        If ArcFace is asked for and the pack or insightface is missing, or a network is damaged.
    """
    if choice not in ("auto", "arcface", "embedded"):
        raise UserInputError(f"There is no identity encoder {choice!r}; use 'auto', 'arcface' or 'embedded'.")
    if choice == "embedded" or (choice == "auto" and not insightface_pack.chosen()):
        return EmbeddedIdentity()
    return ArcFaceIdentity(insightface_pack.load(insightface_pack.RECOGNITION, "ArcFace"))


def spatial_trunk(resnet: Path | None = None) -> tuple[str, EmbeddedTrunk | ResNet18]:
    """Name and network of the memory's spatial features: ResNet-18 from the user's file, else the embedded trunk."""
    if resnet is None:
        return EmbeddedIdentity.name, EmbeddedTrunk().eval()
    return "resnet18", load_resnet18(resnet)
