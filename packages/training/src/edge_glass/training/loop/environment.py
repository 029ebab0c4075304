"""What a run's bytes depend on apart from its configuration: machine, libraries, variables."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import torch

from edge_glass.training.runtime.libraries import installed_versions

# prefixes of variables that libraries read when they load
VARIABLES = (
    "ATEN_", "CUBLAS_", "CUDA_VISIBLE_DEVICES", "DNNL_", "KMP_", "MKL_", "NCCL_", "NPY_", "OMP_",
    "ONEDNN_", "OPENBLAS_", "PYTHONHASHSEED", "TOKENIZERS_PARALLELISM", "TORCH_",
)  # fmt: skip
INSTRUCTIONS = ("avx", "avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni",
                "amx_tile")  # fmt: skip


def describe_environment(num_processes: int = 1) -> dict[str, Any]:
    """Returns versions, CPU and GPU, threads and variables of this process, sorted by name."""
    cpu, flags = _cpu()
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_available() else range(0)
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "libc": " ".join(platform.libc_ver()),
        "cpu": cpu,
        "instructions": [name for name in INSTRUCTIONS if name in flags],
        "kernels": torch.backends.cpu.get_cpu_capability(),
        "gpus": [torch.cuda.get_device_name(number) for number in gpus],
        "cuda": torch.version.cuda,
        **_gpu_libraries(),
        "threads": torch.get_num_threads(),
        "processes": num_processes,
        "versions": installed_versions(),
        "variables": {
            name: value for name, value in sorted(os.environ.items()) if name.startswith(VARIABLES)
        },
    }


def _gpu_libraries() -> dict[str, Any]:
    """Returns the versions of driver, cuDNN and NCCL on a machine with a GPU, nothing elsewhere."""
    if not torch.cuda.is_available():
        return {}
    driver = Path("/proc/driver/nvidia/version")
    return {
        "driver": driver.read_text().splitlines()[0] if driver.is_file() else "unknown",
        "cudnn": torch.backends.cudnn.version(),
        "nccl": ".".join(map(str, torch.cuda.nccl.version())),
    }


def _cpu() -> tuple[str, set[str]]:
    """Returns the name of the CPU and its instruction sets, from /proc/cpuinfo on Linux."""
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return platform.processor(), set()
    found: dict[str, str] = {}
    for line in path.read_text().splitlines():
        name, _, value = line.partition(":")
        found.setdefault(name.strip(), value.strip())
    return found.get("model name", platform.processor()), set(found.get("flags", "").split())
