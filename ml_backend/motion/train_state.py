"""State of a training as safetensors, so that it can go on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ml_backend.errors import UserInputError
from ml_backend.motion.checkpoint import read_tensors, write_tensors

SCHEMA, VERSION = "parley.motion_training", "2"
Modules = Mapping[str, nn.Module]


def save(path: Path, modules: Modules, optimiser: torch.optim.Optimizer, plan: dict[str, Any], state: dict[str, Any]
         ) -> None:
    """Write everything that `restore` needs.

    Parameters
    ----------
    path : the file
    modules : networks by name (no dot in it)
    optimiser : of any of them
    plan : JSON-able: what has to be the same for the training to go on
    state : JSON-able: how far it has come
    """
    tensors = {f"{kind}.{name}": value for kind, module in modules.items()
               for name, value in module.state_dict().items()}
    for index, entry in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{name}": torch.as_tensor(value) for name, value in entry.items()}
    write_tensors({name: value.cpu() for name, value in tensors.items()},
                  {"schema": SCHEMA, "version": VERSION, "plan": json.dumps(plan, sort_keys=True),
                   "state": json.dumps(state)}, path)


def restore(path: Path, modules: Modules, optimiser: torch.optim.Optimizer, plan: dict[str, Any]) -> dict[str, Any]:
    """Bring the state at `path` back into `modules` and `optimiser`; returns how far the training had come.

    Raises
    ------
    UserInputError
        If it is of a training with another plan.
    """
    tensors, metadata = read_tensors(path, SCHEMA, VERSION)
    if metadata["plan"] != json.dumps(plan, sort_keys=True):
        raise UserInputError(f"{path} is of a training with other settings; give another folder, the same ones, "
                             "or start over with --fresh.")
    for kind, module in modules.items():
        module.load_state_dict(under(tensors, f"{kind}."))
    entries: dict[int, dict[str, Tensor]] = {}
    for name, value in under(tensors, "optimiser.").items():
        index, key = name.split(".")
        entries.setdefault(int(index), {})[key] = value
    optimiser.load_state_dict({"state": entries, "param_groups": optimiser.state_dict()["param_groups"]})
    return json.loads(metadata["state"])


def under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The `tensors` whose names begin with `prefix`, without it."""
    return {name[len(prefix):]: value for name, value in tensors.items() if name.startswith(prefix)}
