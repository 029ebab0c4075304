"""The hardware that a plan is for: detected, or given on the command line."""

from __future__ import annotations

import math
import os
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import torch

GB = 10**9
UNITS = {"MB": 10**6, "GB": GB, "TB": 10**12, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
# Dense bfloat16 TFLOP/s of NVIDIA's data sheets, with the memory of the card in GB.
CARDS = {
    "H200": (989, 141), "H100": (989, 80), "A100": (312, 80), "L40S": (362, 48),
    "A10": (125, 24), "L4": (121, 24), "RTX 4090": (165, 24), "RTX 3090": (71, 24),
}  # fmt: skip
USED = 0.3  # share of the data sheet's speed that a stage reaches; an assumption
# What a process takes on a card before its first tensor: CUDA's context and the libraries' kernels.
CONTEXT = int(0.8 * GB)
FRAGMENTS = 1.05  # memory that the allocator can't give out again; an assumption
# The same on a CPU: torch, transformers and pyarrow, and what malloc keeps. Both are fitted to the
# stages of benchmarks/plan.py.
LIBRARIES, KEPT = int(0.52 * GB), 1.2


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """What the stages run on.

    Attributes:
        name: of the device, for the table.
        memory: bytes that one process can use: of one GPU, or of the machine.
        num_gpus: 0 for a CPU.
        disk: free bytes.
        speed: FLOP/s of one device, as far as stages reach it.
    """

    name: str
    memory: int
    num_gpus: int
    disk: int
    speed: float


def parse_size(text: str, name: str) -> int:
    """Returns the bytes of a size such as `24GB` or `1.5TiB`, the value of the option `name`."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*", text)
    unit = UNITS.get(found[2].upper()) if found else None
    if found is None or unit is None or not 0 < float(found[1]) < math.inf:
        shown = text if len(text) < 40 else f"{text[:40]}..."
        raise ValueError(f"{name} is {shown!r}, expected a number with MB, GB or TB, such as 24GB")
    return int(float(found[1]) * unit)


def find_hardware(
    device: str, *, gpu: str | None = None, gpus: int | None = None, disk: str | None = None
) -> Hardware:
    """Returns what the arguments describe; what they leave out is that of this machine.

    Raises:
        ValueError: if `device` is a GPU, none is here and `gpu` is None.
    """
    free = parse_size(disk, "--disk") if disk is not None else shutil.disk_usage(Path()).free
    if device == "cpu":
        if gpu or gpus:
            raise ValueError(
                "device is cpu in params.yaml, so --gpu and --gpus change nothing: add "
                "-S device=cuda"
            )
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return Hardware(name="CPU", memory=total, num_gpus=0, disk=free, speed=_cpu_speed())
    if gpu is not None:
        memory = parse_size(gpu, "--gpu")
        larger = (card for card, (_, size) in CARDS.items() if 24 * GB < size * GB <= memory)
        name = next(larger, "RTX 4090")  # of several cards of 24 GB
        speed, number = CARDS[name][0], gpus or 1
    elif torch.cuda.is_available():
        facts = torch.cuda.get_device_properties(torch.device(device))
        memory, number, name = facts.total_memory, gpus or torch.cuda.device_count(), facts.name
        speed = next((rate for card, (rate, _) in CARDS.items() if card in name), 165)
    else:
        raise ValueError(
            f"device is {device}, but torch sees no GPU here: describe it, for example "
            "--gpu 24GB --gpus 1"
        )
    return Hardware(name=name, memory=memory, num_gpus=number, disk=free, speed=speed * 1e12 * USED)


def _cpu_speed() -> float:
    """Returns the FLOP/s of a matrix product of torch, measured in a moment."""
    size, rounds = 512, 8
    a = torch.ones(size, size)
    a @ a
    start = time.perf_counter()
    for _ in range(rounds):
        a @ a
    return USED * rounds * 2 * size**3 / (time.perf_counter() - start)


def occupied(size: int, hardware: Hardware) -> int:
    """Returns the memory that a process takes for tensors of so many bytes."""
    own, factor = (CONTEXT, FRAGMENTS) if hardware.num_gpus else (LIBRARIES, KEPT)
    return own + int(size * factor)
