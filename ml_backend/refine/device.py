"""Where the networks run, in which precision, and with how many threads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def best_device() -> torch.device:
    """The GPU if torch sees one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast(device: torch.device) -> torch.autocast:
    """Mixed precision in bfloat16 where it is faster: on a GPU, and on CPUs that multiply bfloat16 in hardware."""
    check = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    fast = device.type == "cuda" or bool(check is not None and check())
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=fast)


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
