"""The settings that bytes depend on."""

from __future__ import annotations

import hashlib
import os
import sys
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    import torch

Reproducibility = Literal["portable", "native"]
REPRODUCIBILITIES: tuple[str, ...] = get_args(Reproducibility)

# libraries read these when they load, so they are set before
ENVIRONMENT = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8", "TOKENIZERS_PARALLELISM": "false"}
# Libraries choose kernels by CPU features. These settings pin them to AVX2, so that every x86-64
# CPU with AVX2 takes the same path.
PORTABLE_ENVIRONMENT = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_CBWR": "COMPATIBLE",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4,AVX512_ICL,AVX512_SPR",
    "OPENBLAS_CORETYPE": "Haswell",
}
# No byte depends on this one, so a user's own value stays. oneDNN would keep 1,024 compiled
# kernels, one per shape; rows of questions have few lengths (`vlm_qa/packing.py`).
NUM_KERNELS = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "512")
RESTARTED = "EDGE_GLASS_RESTARTED"  # set in a command that has restarted itself


def environment(reproducibility: str) -> dict[str, str]:
    """Returns the variables that bytes depend on."""
    if reproducibility == "native":
        return ENVIRONMENT
    return ENVIRONMENT | PORTABLE_ENVIRONMENT


def set_environment(reproducibility: str = "portable", *, restart: bool = False) -> None:
    """Sets the variables that act only before torch loads.

    Args:
        reproducibility: `portable` or `native`, see `make_deterministic`.
        restart: if torch is imported already (for example by a sitecustomize module), restarts this
            command with the variables set.
    """
    wanted = environment(reproducibility)
    if "torch" in sys.modules:
        if all(os.environ.get(name) == value for name, value in wanted.items()):
            return
        if restart and RESTARTED not in os.environ:
            sys.stderr.write("edge-glass: torch was imported before its settings: restarting\n")
            sys.stderr.flush()
            os.environ.setdefault(*NUM_KERNELS)
            os.environ.update(wanted, **{RESTARTED: "1"})
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
        raise RuntimeError(
            "torch was imported before the environment was set: run stages by `edge-glass STAGE`, "
            "or call set_environment() first"
        )
    os.environ.setdefault(*NUM_KERNELS)
    for name, value in wanted.items():
        found = os.environ.get(name, value)
        if found != value:
            sys.stderr.write(
                f"edge-glass: {name} was {found!r}, set to {value!r}: it changes bytes\n"
            )
        os.environ[name] = value


def make_deterministic(num_threads: int, reproducibility: str = "native") -> None:
    """Pins threads, refuses non-deterministic kernels, fixes the attention kernel.

    Args:
        num_threads: CPU threads of torch; a different number gives different bytes.
        reproducibility: `portable` for the same bytes on every x86-64 CPU with AVX2, `native` for
            the fastest kernels of this CPU, whose bytes differ from those of other CPUs.
    """
    import torch
    from torch.backends import cuda

    torch.set_num_threads(num_threads)
    torch.use_deterministic_algorithms(True)
    # otherwise torch fills every new tensor with NaN, which costs 5 % of a step and is not needed
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    if torch.cuda.is_available():
        # Flash and memory-efficient attention add in a fixed order under deterministic algorithms.
        # The backward pass of cuDNN's attention does not.
        cuda.enable_cudnn_sdp(False)
    if reproducibility == "portable":
        _make_portable()


def _make_portable() -> None:
    import torch

    from edge_glass.training.engine import portable_matmul

    for name, value in PORTABLE_ENVIRONMENT.items():
        if os.environ.get(name) != value:
            raise RuntimeError(
                f"reproducibility is portable, but {name} is {os.environ.get(name)!r} and not "
                f"{value!r}: run stages by `edge-glass STAGE`, or call set_environment() before "
                "torch is imported"
            )
    portable_matmul.install()
    # GELU and others use oneDNN too, with different bits for each instruction set
    torch.backends.mkldnn.set_flags(_enabled=False)


def counter_seed(*counters: int | str) -> int:
    """Returns a 63-bit seed that is a function of its arguments only, e.g. (seed, stage, step)."""
    text = "/".join(map(str, counters))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def reseed(*counters: int | str) -> None:
    """Seeds torch's global generators by counter: noise does not depend on earlier steps."""
    import torch

    torch.manual_seed(counter_seed(*counters))


def generator(*counters: int | str) -> torch.Generator:
    """Returns a CPU generator seeded by counter."""
    import torch

    return torch.Generator().manual_seed(counter_seed(*counters))
