"""Where the networks run, in which precision, and with how many threads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import distributed


def best_device() -> torch.device:
    """The GPU if torch sees one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast(device: torch.device) -> torch.autocast:
    """Mixed precision in bfloat16 where it is faster: on a GPU, and on CPUs that multiply bfloat16 in hardware."""
    check = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    fast = device.type == "cuda" or bool(check is not None and check())
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=fast)


def rank() -> int:
    """Number of this process among those that train together, 0 where it trains alone."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def agreed(value: bool) -> bool:
    """Whether every process says so: what one of them skips or ends, all have to."""
    return mean(float(value)) > 1 - 1e-6


def mean(value: float) -> float:
    """Mean of `value` over all processes."""
    if not distributed.is_initialized():
        return value
    total = torch.tensor([value], device=best_device())
    distributed.all_reduce(total)
    return float(total.item()) / distributed.get_world_size()


def average_gradients(optimiser: torch.optim.Optimizer) -> None:
    """Replace the gradients by their mean over all processes."""
    if not distributed.is_initialized():
        return
    for group in optimiser.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None:
                distributed.all_reduce(parameter.grad)
                parameter.grad /= distributed.get_world_size()


@contextmanager
def calm_threads() -> Iterator[None]:
    """One torch thread inside the block if the machine is busy with other work, else as many as before.

    OpenMP's threads wait for each other by spinning; where there are more of them than free cores, a network this small
    was measured twenty times slower with two threads than with one.
    """
    before = torch.get_num_threads()
    if _load() > 1.25 * (os.cpu_count() or 1):
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _load() -> float:
    """Runnable processes over the last minute; 0 where the system does not tell (Windows)."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
