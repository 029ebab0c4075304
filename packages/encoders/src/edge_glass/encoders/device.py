"""The device that a model computes on, by the name that `params.yaml` and notebooks use."""

from __future__ import annotations

import os
import re
from typing import TypeVar

import torch
from torch import nn

DEVICES = r"cpu|cuda(:\d+)?"
ModelT = TypeVar("ModelT", bound=nn.Module)


def find_device(name: str | None) -> torch.device:
    """Returns a device that exists.

    `cuda` is this process's own GPU, by `LOCAL_RANK` under torchrun; `cuda:N` is one by its number.
    None is the GPU if there is one, and the CPU otherwise.
    """
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    check_device(name)
    if name == "cpu":
        return torch.device("cpu")
    device = torch.device("cuda", _gpu_index(name))
    torch.cuda.set_device(device)
    return device


def check_device(name: str) -> None:
    """Checks that a device exists, and leaves a GPU as it is."""
    if not re.fullmatch(DEVICES, name):
        raise ValueError(f"device is {name!r}, expected cpu, cuda or one GPU such as cuda:1")
    if name == "cpu":
        return
    if not torch.cuda.is_available():
        raise ValueError(
            f"device is {name}, but torch sees no GPU: set device to cpu, or install a CUDA build "
            "of torch and the driver"
        )
    index = _gpu_index(name)
    if index >= torch.cuda.device_count():
        raise ValueError(
            f"device is {name}, but GPU {index} does not exist: torch sees "
            f"{torch.cuda.device_count()}, numbered from 0"
        )


def _gpu_index(name: str) -> int:
    return int(name.partition(":")[2] or os.environ.get("LOCAL_RANK", "0"))


def place_model(model: ModelT, name: str | None = None) -> ModelT:
    """Moves a model to the device of this name, see `find_device`, and returns it."""
    return model.to(find_device(name))
