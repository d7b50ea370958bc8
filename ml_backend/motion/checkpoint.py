"""Motion weights as safetensors: tensors, and in the metadata configuration, statistics and origin. Never pickled."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch import Tensor

from ml_backend.errors import ArtefactError, UserInputError
from ml_backend.motion.adapter import Adapter
from ml_backend.motion.network import MotionConfig, MotionEnsemble, build
from ml_backend.motion.statistics import Statistics

SCHEMA, VERSION = "parley.motion", "1"
_OPERATOR, _ADAPTER = "lip_operator", "adapter."


@dataclass(frozen=True)
class MotionWeights:
    """A network ready to run and what belongs to it.

    Attributes
    ----------
    network : in eval mode
    statistics : of the people it was trained on
    gain : (K,) float32, how many times further than the network says a channel really moves (an MSE network is timid)
    operator : (K, M) float32, mm per unit weight, what each expression does to the lips (`measure.lip_operator`)
    provenance : JSON-able dict: seed, steps, scores, shards
    identifier : first 16 hex digits of the file's SHA-256, "" before it is saved
    adapter : what was learned of one person, None in general weights
    """

    network: MotionEnsemble
    statistics: Statistics
    gain: np.ndarray
    operator: np.ndarray
    provenance: dict = field(default_factory=dict)
    identifier: str = ""
    adapter: Adapter | None = None


def save_weights(weights: MotionWeights, path: Path, *, half: bool = True) -> None:
    """Write `weights` to `path` as fp16 (or fp32) safetensors; raises `UserInputError` if that is impossible."""
    kind = torch.float16 if half else torch.float32
    tensors = {name: value.to(kind) if value.is_floating_point() else value
               for name, value in weights.network.state_dict().items()}
    tensors[_OPERATOR] = torch.from_numpy(weights.operator)
    if weights.adapter is not None:
        tensors |= {_ADAPTER + name: torch.as_tensor(value) for name, value in vars(weights.adapter).items()}
    metadata = {"schema": SCHEMA, "version": VERSION, "config": weights.network.config.to_json(),
                "statistics": weights.statistics.to_json(),
                "gain": json.dumps(np.round(weights.gain.astype(float), 4).tolist()),
                "provenance": json.dumps(weights.provenance, sort_keys=True)}
    write_tensors(tensors, metadata, path)


def load_weights(path: Path) -> MotionWeights:
    """Read the motion weights at `path`; raises `ArtefactError` if they are missing, damaged or of another kind."""
    tensors, metadata = read_tensors(path, SCHEMA, VERSION)
    config = MotionConfig.from_json(metadata.get("config", ""))
    statistics = Statistics.from_json(metadata.get("statistics", ""))
    network = build(config)
    try:
        operator = tensors.pop(_OPERATOR).numpy()
        own = {name: tensors.pop(name).numpy() for name in list(tensors) if name.startswith(_ADAPTER)}
        adapter = Adapter(**{name[len(_ADAPTER):]: value for name, value in own.items()}) if own else None
        network.load_state_dict({name: value.float() if value.is_floating_point() else value
                                 for name, value in tensors.items()})
        gain = np.array(json.loads(metadata["gain"]), np.float32)
        provenance = json.loads(metadata["provenance"])
    except (RuntimeError, KeyError, ValueError, TypeError) as error:
        raise ArtefactError(f"{path} does not fit its own configuration; make the motion weights again.") from error
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]
    return MotionWeights(network.eval(), statistics, gain, operator, provenance, digest, adapter)


def write_tensors(tensors: dict[str, Tensor], metadata: dict[str, str], path: Path) -> None:
    """Write safetensors whole or not at all; raises `UserInputError` if that is impossible."""
    path = Path(path)
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(_ordered(serialise({name: value.contiguous() for name, value in tensors.items()}, metadata)))
        os.replace(part, path)
    except (OSError, SafetensorError) as error:
        part.unlink(missing_ok=True)
        raise UserInputError(f"Can't write {path} ({error}); free some space or choose another folder.") from error


def _ordered(data: bytes) -> bytes:
    """Safetensors `data` with the entries of its header sorted: their order is random otherwise, and so are hashes."""
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8:start]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data[start:]


def read_tensors(path: Path, schema: str, version: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file of that schema; raises `ArtefactError`."""
    if not Path(path).is_file():
        raise ArtefactError(f"{path} does not exist; it should be a {schema} file.")
    try:
        with safe_open(str(path), "pt") as data:
            metadata = data.metadata() or {}
            tensors = {name: data.get_tensor(name) for name in data.keys()}  # noqa: SIM118  (no mapping)
    except (SafetensorError, OSError) as error:
        raise ArtefactError(f"{path} can't be read as safetensors ({error}); make it again.") from error
    found = (metadata.get("schema"), metadata.get("version"))
    if found != (schema, version):
        raise ArtefactError(f"{path} is {found[0]} version {found[1]}, needed is {schema} version {version}; "
                            "make it again.")
    return tensors, metadata
