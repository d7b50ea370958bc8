"""The refiner's weights file: safetensors with everything needed to use them in its metadata."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ml_backend.errors import ArtefactError, UserInputError
from ml_backend.refine.config import RefinerConfig
from ml_backend.refine.discriminator import PatchDiscriminator
from ml_backend.refine.generator import Generator
from ml_backend.refine.memory import Memory

SCHEMA, VERSION = "parley.refiner", "1"
SLOT_TENSORS = ("keys", "values", "ages")


@dataclass
class RefinerWeights:
    """Networks and what is known about them.

    Attributes
    ----------
    config : sizes
    generator, memory : for use
    discriminator : for further training; None if the file has none
    meta : JSON-ready; always there: identity (encoder's name), spatial (trunk's name), pass_through (bool)
    """

    config: RefinerConfig
    generator: Generator
    memory: Memory
    discriminator: PatchDiscriminator | None = None
    meta: dict[str, Any] = field(default_factory=dict)


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file whole or not at all.

    Raises
    ------
    UserInputError
        If the folder can't be written or the disk is full.
    """
    path = Path(path)
    part = path.with_name(path.name + f".{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({k: t.detach().cpu().contiguous().clone() for k, t in tensors.items()}, str(part), metadata)
        os.replace(part, path)
    except (OSError, SafetensorError) as error:
        raise UserInputError(f"Can't write {path} ({error}); free some space or choose another folder.") from error
    finally:
        part.unlink(missing_ok=True)


def load_tensors(path: Path, schema: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file of ours.

    Raises
    ------
    ArtefactError
        If it is missing, damaged, or of another schema or version.
    """
    if not Path(path).is_file():
        raise ArtefactError(f"{path} does not exist; it should be a {schema} file.")
    try:
        with safe_open(str(path), framework="pt") as stream:
            metadata = stream.metadata() or {}
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 (not a mapping)
    except (OSError, SafetensorError) as error:
        raise ArtefactError(f"{path} is damaged ({error}); make it again.") from error
    if metadata.get("schema") != schema or metadata.get("version") != VERSION:
        found = f"{metadata.get('schema')} version {metadata.get('version')}"
        raise ArtefactError(f"{path} is {found}, needed is {schema} version {VERSION}; make it again.")
    return tensors, metadata


def pack(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """`state` with ``prefix.`` before each name."""
    return {f"{prefix}.{name}": tensor for name, tensor in state.items()}


def unpack(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with ``prefix.``, without it."""
    return {name[len(prefix) + 1 :]: t for name, t in tensors.items() if name.startswith(prefix + ".")}


def memory_state(memory: Memory) -> dict[str, Tensor]:
    """The memory's tensors, only slots in use."""
    used = int(memory.filled)
    return {name: t[:used] if name in SLOT_TENSORS else t for name, t in memory.state_dict().items()}


def restore_memory(memory: Memory, state: dict[str, Tensor]) -> None:
    """Inverse of `memory_state`; `RuntimeError` or `KeyError` if `state` does not fit."""
    full = dict(state)
    for name in SLOT_TENSORS:
        target = torch.zeros_like(getattr(memory, name))
        target[: len(state[name])] = state[name]
        full[name] = target
    memory.load_state_dict(full)


def save_weights(path: Path, weights: RefinerWeights, *, half: bool = False, with_discriminator: bool = True) -> None:
    """Write `weights`; with `half` the floats are stored as float16.

    Raises
    ------
    UserInputError
        If the file can't be written.
    """
    tensors = pack("generator", weights.generator.state_dict()) | pack("memory", memory_state(weights.memory))
    if with_discriminator and weights.discriminator is not None:
        tensors |= pack("discriminator", weights.discriminator.state_dict())
    if half:
        tensors = {k: t.half() if t.is_floating_point() else t for k, t in tensors.items()}
    save_tensors(
        path,
        tensors,
        {
            "schema": SCHEMA,
            "version": VERSION,
            "config": json.dumps(weights.config.as_dict()),
            "meta": json.dumps(weights.meta),
        },
    )


def load_weights(path: Path) -> RefinerWeights:
    """Read what `save_weights` wrote; float32, in evaluation mode, on the CPU.

    Raises
    ------
    ArtefactError
        If it is missing, damaged, of another schema or version, or its tensors don't fit its config.
    """
    tensors, metadata = load_tensors(path, SCHEMA)
    tensors = {k: t.float() if t.is_floating_point() else t for k, t in tensors.items()}
    try:
        config = RefinerConfig.from_dict(json.loads(metadata["config"]))
        generator, memory = Generator(config), Memory(config)
        generator.load_state_dict(unpack("generator", tensors))
        restore_memory(memory, unpack("memory", tensors))
        discriminator = None
        if any(name.startswith("discriminator.") for name in tensors):
            discriminator = PatchDiscriminator(config)
            discriminator.load_state_dict(unpack("discriminator", tensors))
        meta = json.loads(metadata["meta"])
    except (KeyError, ValueError, TypeError, RuntimeError, UserInputError) as error:
        # torch's messages have several lines.
        reason = " ".join(str(error).split())[:99]
        raise ArtefactError(f"{path}'s tensors don't fit its config ({reason}); train again.") from error
    return RefinerWeights(config, generator.eval(), memory.eval(), discriminator, meta)
