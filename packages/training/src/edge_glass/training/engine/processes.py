"""The processes of a run: one, or as many as `torchrun` started.

The library only gathers tensors of the processes and never sums them: the order of its sums depends
on the number of processes, which would change bytes (see `reduce.py`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch import distributed as dist


@dataclass(frozen=True, kw_only=True)
class Processes:
    """This process and how many others share the run.

    Attributes:
        rank: the number of this process, from 0.
        size: the number of processes.
        device: what this process computes on.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def main(self) -> bool:
        """Whether this process writes the files and prints."""
        return self.rank == 0

    def gather(self, value: Tensor, dim: int = 0) -> Tensor:
        """Returns all processes' tensors, of equal shape, concatenated along `dim` by rank."""
        if self.size == 1:
            return value
        parts = [torch.empty_like(value, memory_format=torch.contiguous_format)
                 for _ in range(self.size)]  # fmt: skip
        dist.all_gather(parts, value.contiguous())
        return torch.cat(parts, dim=dim)

    def own_microbatches(self, num_microbatches: int) -> range:
        """Returns the numbers of the microbatches that this process works on.

        Raises:
            ValueError: if the processes can't get equal numbers of microbatches.
        """
        if num_microbatches % self.size:
            raise ValueError(
                f"{num_microbatches} microbatches can't be divided among {self.size} processes: "
                f"start 1, 2, 4 ... up to {num_microbatches} processes, or raise num_microbatches "
                "in params.yaml"
            )
        each = num_microbatches // self.size
        return range(self.rank * each, (self.rank + 1) * each)

    def wait(self) -> None:
        """Waits until all processes have called this."""
        if self.size > 1:
            dist.barrier()


def find_device(device: str) -> torch.device:
    """Returns the CPU, or the GPU that belongs to this process.

    Args:
        device: "cpu" or "cuda".

    Raises:
        ValueError: if there is no GPU.
    """
    if device == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ValueError(
            "device is cuda, but torch sees no GPU: set device: cpu in params.yaml, or install a "
            "CUDA build of torch and the driver"
        )
    gpu = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(gpu)
    return gpu


@contextmanager
def join_processes(device: str) -> Iterator[Processes]:
    """Joins the processes that `torchrun` started, if any: by gloo on the CPU, by nccl on GPUs.

    Args:
        device: "cpu" or "cuda".

    Raises:
        ValueError: if the device does not exist.
    """
    size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    found = find_device(device)
    if size == 1:
        yield Processes(device=found)
        return
    dist.init_process_group("nccl" if device == "cuda" else "gloo", rank=rank, world_size=size)
    try:
        yield Processes(rank=rank, size=size, device=found)
    finally:
        dist.destroy_process_group()
