"""Where the networks run, and in which precision."""

from __future__ import annotations

import torch


def best_device() -> torch.device:
    """The GPU if torch sees one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast(device: torch.device) -> torch.autocast:
    """Mixed precision in bfloat16 where it is faster: on a GPU, and on CPUs that multiply bfloat16 in hardware."""
    check = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    fast = device.type == "cuda" or bool(check is not None and check())
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=fast)
