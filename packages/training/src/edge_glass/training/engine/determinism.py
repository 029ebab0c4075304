"""The settings that bytes depend on, in one place."""

from __future__ import annotations

import hashlib
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# read by the libraries when torch loads, so they are set before it does
ENVIRONMENT = {
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    "TOKENIZERS_PARALLELISM": "false",
}


def set_environment() -> None:
    """Sets the variables that act only before torch loads.

    Raises:
        RuntimeError: where torch is already imported, as they would be ignored.
    """
    if "torch" in sys.modules:
        raise RuntimeError(
            "torch was imported before the environment was set: run stages by `edge-glass STAGE`, "
            "or call set_environment() first"
        )
    for name, value in ENVIRONMENT.items():
        found = os.environ.get(name, value)
        if found != value:
            sys.stderr.write(
                f"edge-glass: {name} was {found!r}, set to {value!r}: it changes bytes\n"
            )
        os.environ[name] = value


def make_deterministic(num_threads: int) -> None:
    """Pins threads, refuses non-deterministic kernels, fixes the attention kernel.

    Args:
        num_threads: CPU threads of torch; another count gives other bytes.
    """
    import torch
    from torch.backends import cuda

    torch.set_num_threads(num_threads)
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    if torch.cuda.is_available():
        # the memory-efficient and flash backward passes add in no fixed order
        cuda.enable_mem_efficient_sdp(False)
        cuda.enable_flash_sdp(False)


def counter_seed(*counters: int | str) -> int:
    """Returns a 63-bit seed that is a function of its arguments alone, e.g. (seed, stage, step)."""
    text = "/".join(map(str, counters))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def reseed(*counters: int | str) -> None:
    """Seeds torch's global generators by counter: noise of a step depends on nothing before it."""
    import torch

    torch.manual_seed(counter_seed(*counters))


def generator(*counters: int | str) -> torch.Generator:
    """Returns a CPU generator seeded by counter."""
    import torch

    return torch.Generator().manual_seed(counter_seed(*counters))
