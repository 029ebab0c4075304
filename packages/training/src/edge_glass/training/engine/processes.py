"""The processes of a run: one, or as many as `torchrun` started.

The library only moves tensors of the processes and never sums them: the order of its sums depends
on the number of processes, which would change bytes (see `reduce.py`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import torch
from torch import Tensor
from torch import distributed as dist

from edge_glass.encoders.device import find_device

# NCCL's own ten minutes are too short for the first process to save a state of billions of weights
TIMEOUT = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class Processes:
    """This process and how many others share the run.

    Attributes:
        rank: the number of this process, from 0.
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

    def exchange(self, value: Tensor) -> Tensor:
        """Returns this process's slice of each process's vector, by rank: (size * slice,).

        `value` (size * slice,) holds a slice for each process.
        """
        received = torch.empty_like(value)
        dist.all_to_all_single(received, value)
        return received

    def gather_into(self, output: Tensor, value: Tensor) -> None:
        """Writes the processes' vectors of equal length one after the other to `output`."""
        dist.all_gather_into_tensor(output, value)

    def gather_texts(self, texts: Sequence[str]) -> list[list[str]]:
        """Returns the texts of each process, by rank; their number may differ."""
        if self.size == 1:
            return [list(texts)]
        data = torch.frombuffer(bytearray(json.dumps(texts).encode()), dtype=torch.uint8)
        sizes = self.gather(torch.tensor([len(data)], device=self.device)).tolist()
        padded = torch.zeros(1, max(sizes), dtype=torch.uint8)
        padded[0, : len(data)] = data
        rows = self.gather(padded.to(self.device)).cpu()
        return [json.loads(bytes(row[:n].numpy())) for row, n in zip(rows, sizes, strict=True)]

    def own_microbatches(self, num_microbatches: int) -> range:
        """Returns the numbers of the microbatches that this process works on."""
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


@contextmanager
def join_processes(device: str) -> Iterator[Processes]:
    """Joins the processes that `torchrun` started, if any: by gloo on the CPU, by nccl on GPUs."""
    size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    if size > 1 and ":" in device:
        raise ValueError(
            f"device is {device}, one GPU for {size} processes: set device: cuda, which gives each "
            "process its own"
        )
    found = find_device(device)
    if size == 1:
        yield Processes(device=found)
        return
    on_cpu = found.type == "cpu"
    dist.init_process_group(
        "gloo" if on_cpu else "nccl",
        rank=rank,
        world_size=size,
        timeout=TIMEOUT,
        device_id=None if on_cpu else found,  # otherwise NCCL guesses it, with a warning
    )
    try:
        yield Processes(rank=rank, size=size, device=found)
    finally:
        dist.destroy_process_group()
