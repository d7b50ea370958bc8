"""The refiner as one ONNX file, for those who have no torch (see `export` for how to run it)."""

from __future__ import annotations

import io
import os
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ml_backend.errors import StageError, UserInputError
from ml_backend.refine.config import FEATURE_SIZE
from ml_backend.refine.weights import RefinerWeights, load_weights

OPSET = 17
TOLERANCE = 1e-3
"""How far the exported network's pictures, in [0, 1], may lie from torch's."""
HOW = """import numpy as np, onnxruntime
network = onnxruntime.InferenceSession("model.onnx")
# frames: (T, S, S, 3) uint8 RGB composites; the window of frame t is t-2, t-1, t (before the start frame 0 repeats)
window = np.concatenate([frames[max(t - k, 0)] for k in (2, 1, 0)], 2).transpose(2, 0, 1)[None].astype(np.float32) / 255
refined, attention = network.run(None, {"window": window})          # with the identity baked in
picture = (refined[0].transpose(1, 2, 0) * 255 + 0.5).astype(np.uint8)"""
"""How to run the file; with the identity as an input, ``identity`` (B, 512) is given beside ``window``."""


@dataclass(frozen=True)
class ExportReport:
    """The file, its size in bytes, the picture's side, whether the identity is baked in, distance from torch."""

    path: Path
    size: int
    side: int
    baked: bool
    difference: float


class _Standalone(nn.Module):
    """The generator on pictures in [0, 1], with its own identity unless one is given."""

    def __init__(self, weights: RefinerWeights, identity: Tensor | None) -> None:
        super().__init__()
        self.generator = weights.generator.float().eval()
        self.register_buffer("identity", identity, persistent=False)

    def forward(self, window: Tensor, identity: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if identity is None:
            identity = self.identity.expand(window.shape[0], -1)  # type: ignore[operator]
        refined, _, attention = self.generator(2 * window - 1, identity)
        return ((refined + 1) / 2).clamp(0, 1), attention


def export(weights: Path, out: Path, *, identity_input: bool = False) -> ExportReport:
    """Write the refiner of `weights` as ONNX and compare it with torch on random pictures.

    The network takes ``window`` (B, 3·n, S, S) float32 RGB in [0, 1], the composites t-2, t-1, t along the channels,
    and gives ``refined`` (B, 3, S, S) in [0, 1] and ``attention`` (B, 1, S, S), 1 = the rendering stays. B is free.
    With `identity_input` it also takes ``identity`` (B, 512), L2-normalised; else the mean of the memory's identities
    is part of the file. `HOW` is a program that runs it.

    Parameters
    ----------
    weights : refiner weights
    out : the .onnx file

    Raises
    ------
    UserInputError
        If the refiner passes its frames through, so that there is nothing to export, or `out` can't be written.
    StageError
        If the memory has no entries to bake in, or the exported network's pictures differ from torch's.
    """
    loaded = load_weights(weights)
    if loaded.meta.get("pass_through"):
        raise UserInputError(f"{weights} was no better than the rendering and changes nothing; there is no use in "
                             "exporting it.")
    identity = mean_identity(loaded)
    network = _Standalone(loaded, None if identity_input else identity).eval()
    data = _traced(network, loaded, identity if identity_input else None)
    difference = compare(data, network, loaded, identity if identity_input else None)
    if not difference <= TOLERANCE:
        raise StageError(f"The exported network differs from torch's by {difference:.2g}; please report this.")
    part = Path(f"{out}.{os.getpid()}.part")
    try:
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        os.replace(part, out)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise UserInputError(f"Can't write {out} ({error.strerror}); choose another file.") from error
    return ExportReport(Path(out), len(data), loaded.config.image, not identity_input, difference)


def mean_identity(weights: RefinerWeights) -> Tensor:
    """(1, 512) L2-normalised mean of the identities in the memory; raises `StageError` if there are none."""
    used = int(weights.memory.filled)
    if not used:
        raise StageError("The refiner's memory has no entries, so there is no identity to bake in; use "
                         "--identity-input, or train the refiner first.")
    return F.normalize(weights.memory.values[:used].float().mean(0, keepdim=True), dim=1)


def _example(weights: RefinerWeights, identity: Tensor | None, count: int) -> tuple[Tensor, ...]:
    config = weights.config
    random = torch.Generator().manual_seed(count)
    window = torch.rand(count, 3 * config.window, config.image, config.image, generator=random)
    if identity is None:
        return (window,)
    return window, F.normalize(torch.randn(count, FEATURE_SIZE, generator=random), dim=1)


def _traced(network: nn.Module, weights: RefinerWeights, identity: Tensor | None) -> bytes:
    inputs = ["window"] + ["identity"] * (identity is not None)
    outputs = ["refined", "attention"]
    stream = io.BytesIO()
    with warnings.catch_warnings():
        # The newer exporter needs a library (onnxscript) that nothing else here does.
        warnings.simplefilter("ignore")
        torch.onnx.export(network, _example(weights, identity, 1), stream,  # type: ignore[arg-type]
                          dynamo=False, opset_version=OPSET, input_names=inputs, output_names=outputs,
                          dynamic_axes={name: {0: "batch"} for name in (*inputs, *outputs)})
    return stream.getvalue()


def compare(data: bytes, network: nn.Module, weights: RefinerWeights, identity: Tensor | None) -> float:
    """Largest difference of the exported network's pictures from those of `network`, for a batch of two."""
    import onnxruntime

    example = _example(weights, identity, 2)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]
    found = session.run(None, dict(zip(names, (part.numpy() for part in example), strict=True)))
    with torch.no_grad():
        wanted = network(*example)
    return max(float(np.abs(a - b.numpy()).max()) for a, b in zip(found, wanted, strict=True))
