"""Pose weights as safetensors: tensors, and in the metadata configuration, people's general manner and origin."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import torch

from ml_backend.errors import ArtefactError
from ml_backend.motion.checkpoint import read_tensors, write_tensors
from ml_backend.motion.pose_manner import Manner
from ml_backend.motion.pose_network import PoseConfig, PoseNetwork, build

SCHEMA, VERSION = "parley.pose", "1"


@dataclass(frozen=True)
class PoseWeights:
    """A pose network ready to run and what belongs to it.

    Attributes
    ----------
    network : in eval mode
    general : the manner of the people it was trained on
    provenance : JSON-able dict: seed, steps, scores
    identifier : first 16 hex digits of the file's SHA-256, "" before it is saved
    """

    network: PoseNetwork
    general: Manner
    provenance: dict = field(default_factory=dict)
    identifier: str = ""


def save_pose(weights: PoseWeights, path: Path) -> None:
    """Write `weights` to `path` as fp16 safetensors; raises `UserInputError` if that is impossible."""
    tensors = {name: value.to(torch.float16) for name, value in weights.network.state_dict().items()}
    metadata = {"schema": SCHEMA, "version": VERSION, "config": weights.network.config.to_json(),
                "manner": weights.general.to_json(), "provenance": json.dumps(weights.provenance, sort_keys=True)}
    write_tensors(tensors, metadata, path)


def load_pose(path: Path) -> PoseWeights:
    """Read the pose weights at `path`; raises `ArtefactError` if they are missing, damaged or of another kind."""
    tensors, metadata = read_tensors(path, SCHEMA, VERSION)
    config = PoseConfig.from_json(metadata.get("config", ""))
    general = Manner.from_json(metadata.get("manner", ""))
    network = build(config)
    try:
        network.load_state_dict({name: value.float() for name, value in tensors.items()})
        provenance = json.loads(metadata["provenance"])
    except (RuntimeError, KeyError, ValueError) as error:
        raise ArtefactError(f"{path} does not fit its own configuration; make the pose weights again.") from error
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]
    return PoseWeights(network.eval(), general, provenance, digest)


@lru_cache(maxsize=2)
def _load(path: Path, changed: int) -> PoseWeights:
    return load_pose(path)


def cached_pose(path: Path) -> PoseWeights:
    """The weights at `path`, read once as long as the file stays the same; raises `ArtefactError`."""
    return _load(path, path.stat().st_mtime_ns if path.exists() else 0)
