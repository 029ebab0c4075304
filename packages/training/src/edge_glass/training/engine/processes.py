"""The processes of a run: one, or as many as `torchrun` started.

What they say to each other is only gathered, never summed by the library: a sum in an order that
depends on the number of processes would change bytes (see `reduce.py`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch import distributed as dist

from edge_glass.encoders.device import find_device


@dataclass(frozen=True, kw_only=True)
class Processes:
    """This process among its peers.

    Attributes:
        rank: its number, from 0.
        size: how many there are.
        device: what it computes on.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def main(self) -> bool:
        """Whether this process writes the files and talks."""
        return self.rank == 0

    def gather(self, value: Tensor, dim: int = 0) -> Tensor:
        """Returns all processes' tensors, of equal shape, put together along `dim` by rank."""
        if self.size == 1:
            return value
        parts = [torch.empty_like(value, memory_format=torch.contiguous_format)
                 for _ in range(self.size)]  # fmt: skip
        dist.all_gather(parts, value.contiguous())
        return torch.cat(parts, dim=dim)

    def own_shards(self, num_shards: int) -> range:
        """Returns the numbers of the logical shards that this process works on.

        Raises:
            ValueError: where the shards can't be dealt out evenly.
        """
        if num_shards % self.size:
            raise ValueError(
                f"{num_shards} shards can't be dealt out to {self.size} processes: start 1, 2, 4 "
                f"... up to {num_shards} processes, or raise num_shards in params.yaml"
            )
        each = num_shards // self.size
        return range(self.rank * each, (self.rank + 1) * each)

    def wait(self) -> None:
        """Returns when all processes are here."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def join_processes(device: str) -> Iterator[Processes]:
    """Joins the processes that `torchrun` started, if it did; gloo on the CPU, nccl on GPUs.

    Args:
        device: see `find_device`.

    Raises:
        ValueError: The device does not exist, or several processes would share one GPU.
    """
    size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    if size > 1 and ":" in device:
        raise ValueError(
            f"device is {device}, one GPU for {size} processes: set device: cuda, which gives each "
            "process its own"
        )
    place = find_device(device)
    if size == 1:
        yield Processes(device=place)
        return
    dist.init_process_group("gloo" if device == "cpu" else "nccl", rank=rank, world_size=size)
    try:
        yield Processes(rank=rank, size=size, device=place)
    finally:
        dist.destroy_process_group()
