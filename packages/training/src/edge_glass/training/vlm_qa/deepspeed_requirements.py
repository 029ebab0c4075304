"""What DeepSpeed needs of a machine, checked before processes start or weights are loaded.

DeepSpeed compiles an operator in its first run: by g++ and ninja, and on a GPU also by nvcc of the
CUDA toolkit, whose major version must be that of torch. torch's own wheels bring no nvcc.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import torch

from edge_glass.training.vlm_qa.launch_config import DeepSpeedLaunchConfig, LaunchConfig

OTHER = "or choose a different launch"


def check_deepspeed(launch: LaunchConfig, device: str) -> None:
    """Checks the requirements of a launch; only DeepSpeed has any.

    Raises:
        ValueError: names what is missing and how to install it.
    """
    if not isinstance(launch, DeepSpeedLaunchConfig):
        return
    found = missing_requirement(
        packages={name for name in ("deepspeed", "ninja") if find_spec(name) is not None},
        compiler=shutil.which(os.environ.get("CXX", "g++")),
        torch_cuda=None if device == "cpu" else torch.version.cuda,
        toolkit_cuda=None if device == "cpu" else toolkit_version(),
    )
    if found is not None:
        raise ValueError(f"launch deepspeed_zero2 {found}, {OTHER}")


def missing_requirement(
    *, packages: set[str], compiler: str | None, torch_cuda: str | None, toolkit_cuda: str | None
) -> str | None:
    """Returns what is missing and the remedy, or None if nothing is missing.

    Args:
        packages: those of deepspeed and ninja that are installed.
        compiler: the path of g++.
        torch_cuda: the CUDA version that torch was built for; None on a CPU.
        toolkit_cuda: the version of nvcc, None if there is none.
    """
    absent = sorted({"deepspeed", "ninja"} - packages)
    if absent:
        return (
            f"needs {' and '.join(absent)}, not installed here: pip install "
            "--no-build-isolation 'edge-glass-training[deepspeed]'"
        )
    if compiler is None:
        return "needs a C++ compiler, and there is no g++: apt-get install g++"
    if torch_cuda is None:
        return None
    major = torch_cuda.partition(".")[0]
    if toolkit_cuda is None:
        return (
            f"needs nvcc of CUDA {major}, and there is none: install the CUDA toolkit {torch_cuda} "
            "and set CUDA_HOME to its folder, or use the image's target zero2"
        )
    if toolkit_cuda.partition(".")[0] != major:
        return (
            f"needs nvcc of CUDA {major}, as torch was built for {torch_cuda}, and found "
            f"{toolkit_cuda}: set CUDA_HOME to the folder of a toolkit {torch_cuda}"
        )
    return None


def toolkit_version() -> str | None:
    """Returns the version of the nvcc that DeepSpeed would use, or None if there is none."""
    folder = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH") or "/usr/local/cuda"
    nvcc = Path(folder) / "bin/nvcc"
    path = str(nvcc) if nvcc.is_file() else shutil.which("nvcc")
    if path is None:
        return None
    printed = subprocess.run([path, "--version"], capture_output=True, text=True).stdout
    release = re.search(r"release (\d+\.\d+)", printed)
    return release[1] if release else None
