"""Identity features (whose face is it) and spatial features (what does the composite look like).

The published system takes ArcFace for the first and ImageNet's ResNet-18 for the second. Neither set of weights may be
shipped, so both are used where the user has them, and an embedded encoder stands in otherwise.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ml_backend.errors import DependencyError, UserInputError
from ml_backend.refine.config import FEATURE_SIZE, Frames
from ml_backend.refine.resnet import ResNet18, load_resnet18

ARCFACE_ROOT = "PARLEY_INSIGHTFACE_ROOT"
ARCFACE_SIZE = 112
ARCFACE_POINTS = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]], np.float32
)
"""Where ArcFace wants eyes (image left, image right), nose tip and mouth corners in its 112x112 picture, pixels."""

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
    """ArcFace's recognition network from an insightface model pack, by onnxruntime.

    Parameters
    ----------
    path : an ONNX file with input (N, 3, 112, 112) and output (N, 512)
    """

    def __init__(self, path: Path) -> None:
        self.session = _session(path)
        self.input = self.session.get_inputs()[0].name
        self.name = f"arcface-{path.stem}"

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
            face = align_face(frames[i], landmarks[i])
            blob = ((face.astype(np.float32) - 127.5) / 127.5).transpose(2, 0, 1)[None]
            features[i] = self.session.run(None, {self.input: blob})[0][0]
        features[good] /= np.linalg.norm(features[good], axis=1, keepdims=True) + 1e-8
        features[~good] = features[good].mean(0)
        return features / (np.linalg.norm(features, axis=1, keepdims=True) + 1e-8)


def five_points(landmarks: np.ndarray) -> np.ndarray:
    """Eyes, nose tip and mouth corners (5, 2), in the order of `ARCFACE_POINTS`, from MediaPipe's points (478, 2)."""
    eyes = [landmarks[list(pair)].mean(0) for pair in EYE_CORNERS]
    return np.stack([*eyes, landmarks[NOSE_TIP], *landmarks[list(MOUTH_CORNERS)]]).astype(np.float32)


def align_face(frame: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """The face of `frame` (H, W, 3) uint8 moved, turned and scaled to ArcFace's 112x112 template, uint8."""
    matrix = similarity(five_points(landmarks), ARCFACE_POINTS)
    return cv2.warpAffine(frame, matrix, (ARCFACE_SIZE, ARCFACE_SIZE), flags=cv2.INTER_LINEAR)


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Least-squares similarity transform (2, 3) that takes points `source` (N, 2) to `target` (N, 2)."""
    a, b = source - source.mean(0), target - target.mean(0)
    # As complex numbers a turn with a scale is one factor, and its least squares one division.
    x, y = a[:, 0] + 1j * a[:, 1], b[:, 0] + 1j * b[:, 1]
    factor = (np.conj(x) * y).sum() / (np.abs(x) ** 2).sum()
    turn = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    return np.column_stack([turn, target.mean(0) - turn @ source.mean(0)])


def _session(path: Path) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise DependencyError("ArcFace needs onnxruntime; install it with: pip install 'parley[identity]'.") from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises its own types, which it does not export
        raise UserInputError(f"{path} can't be loaded as an ONNX network; fetch the insightface pack again.") from error


def find_arcface(root: Path) -> Path:
    """The recognition network among the ``.onnx`` files under `root`: 112x112 pixels in, 512 numbers out.

    Raises
    ------
    UserInputError
        If there is none.
    """
    for path in sorted(Path(root).rglob("*.onnx")):
        session = _session(path)
        shape_in, shape_out = session.get_inputs()[0].shape, session.get_outputs()[0].shape
        if list(shape_in[1:]) == [3, ARCFACE_SIZE, ARCFACE_SIZE] and shape_out[-1] == FEATURE_SIZE:
            return path
    raise UserInputError(f"{root} has no ArcFace network; let {ARCFACE_ROOT} name an insightface pack.")


def identity_encoder(choice: str = "auto") -> IdentityEncoder:
    """The identity encoder `choice`: "arcface", "embedded", or "auto" = ArcFace if a pack is installed.

    Raises
    ------
    UserInputError, DependencyError
        If ArcFace is asked for and the pack or onnxruntime is missing.
    """
    if choice not in ("auto", "arcface", "embedded"):
        raise UserInputError(f"There is no identity encoder {choice!r}; use 'auto', 'arcface' or 'embedded'.")
    root = os.environ.get(ARCFACE_ROOT, "")
    if choice == "arcface" and not root:
        raise DependencyError(f"ArcFace is asked for, but {ARCFACE_ROOT} names no insightface pack; set it.")
    if choice == "embedded" or not root:
        return EmbeddedIdentity()
    return ArcFaceIdentity(find_arcface(Path(root)))


def spatial_trunk(resnet: Path | None = None) -> tuple[str, EmbeddedTrunk | ResNet18]:
    """Name and network of the memory's spatial features: ResNet-18 from the user's file, else the embedded trunk."""
    if resnet is None:
        return EmbeddedIdentity.name, EmbeddedTrunk().eval()
    return "resnet18", load_resnet18(resnet)
