"""One process or several: the part of a training that knows about devices, half precision and `torchrun`.

A single process is a world of one: it runs the same lines as one of many, on whatever device there is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn

from ml_backend.errors import UserInputError


@dataclass(frozen=True)
class World:
    """The processes that train together, seen from one of them.

    Attributes
    ----------
    rank : number of this process, 0 for the one that scores and writes
    size : how many there are
    device : where this one computes
    half : whether to compute in half precision where that is safe (automatic mixed precision)
    """

    rank: int
    size: int
    device: torch.device
    half: bool

    @property
    def leads(self) -> bool:
        """Whether this process scores and writes."""
        return self.rank == 0

    def average_gradients(self, network: nn.Module) -> None:
        """Replace the gradients of `network` by their mean over all processes (synchronous data parallelism).

        All of them travel as one message after the backward pass; torch's own wrapper would overlap the two, which
        networks of a few million weights don't need, but keeps Gloo's threads alive past the end of the group: one
        that then waits for Python's lock aborts a process that is leaving.
        """
        if self.size == 1:
            return
        gradients = [value.grad for value in network.parameters() if value.grad is not None]
        whole = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(whole)
        whole /= self.size
        for gradient, mean in zip(gradients, whole.split([item.numel() for item in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    @contextmanager
    def precision(self) -> Iterator[None]:
        """Half precision inside, if wanted; bfloat16 where the device has it, whose range needs no care."""
        with torch.autocast(self.device.type, self.kind, enabled=self.half):
            yield

    @property
    def kind(self) -> torch.dtype:
        """The half precision that the device is good at."""
        fits = self.device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if fits else torch.float16

    def scaler(self) -> torch.amp.GradScaler:
        """Scales losses so that their gradients fit into float16; does nothing where none are."""
        return torch.amp.GradScaler(self.device.type, enabled=self.half and self.kind == torch.float16)

    def agreed(self, value: bool) -> bool:
        """What rank 0 says."""
        if self.size == 1:
            return value
        told = torch.tensor([float(value)], device=self.device)
        distributed.broadcast(told, 0)
        return bool(told.item())

    def mean(self, value: float) -> float:
        """Mean of `value` over all processes."""
        if self.size == 1:
            return value
        total = torch.tensor([value], device=self.device)
        distributed.all_reduce(total)
        return float(total.item()) / self.size

    def moved(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """`tensors` on this process's device."""
        return tuple(tensor.to(self.device, non_blocking=True) for tensor in tensors)


@contextmanager
def world(device: str = "auto", half: bool | None = None) -> Iterator[World]:
    """The world that `torchrun` set up, or a world of one; ends the group afterwards.

    Parameters
    ----------
    device : "auto", "cpu" or "cuda"
    half : mixed precision; by default where there is a GPU

    Raises
    ------
    UserInputError
        If a GPU is asked for and there is none.
    """
    count, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    chosen = _device(device, int(os.environ.get("LOCAL_RANK", "0")))
    begun = count > 1 and not distributed.is_initialized()
    if begun:
        distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield World(rank, count, chosen, chosen.type == "cuda" if half is None else half)
        if begun:
            # Rank 0 holds the store that the others talk through: nobody leaves before everybody is done.
            distributed.barrier()
    finally:
        if begun:
            distributed.destroy_process_group()


def _device(name: str, local: int) -> torch.device:
    if name not in ("auto", "cpu", "cuda"):
        raise UserInputError(f"The device {name} is unknown; give auto, cpu or cuda.")
    if name == "cuda" and not torch.cuda.is_available():
        raise UserInputError("There is no GPU that this torch can use; leave --device out or give cpu.")
    if name != "cpu" and torch.cuda.is_available():
        torch.cuda.set_device(local)
        return torch.device("cuda", local)
    return torch.device("cpu")
