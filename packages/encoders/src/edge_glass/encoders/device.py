"""The device that a model computes on, by the name that `params.yaml` and notebooks use."""

from __future__ import annotations

import os
import re
from typing import TypeVar

import torch
from torch import nn

DEVICES = r"cpu|cuda(:\d+)?"
ModelT = TypeVar("ModelT", bound=nn.Module)


def find_device(name: str) -> torch.device:
    """Returns a device that exists.

    Args:
        name: `cpu`; `cuda` for this process's own GPU, by `LOCAL_RANK` under torchrun; `cuda:N` for
            one GPU by its number.

    Raises:
        ValueError: The name is not a device, or there is no such GPU.
    """
    if not re.fullmatch(DEVICES, name):
        raise ValueError(f"device is {name!r}, expected cpu, cuda or one GPU such as cuda:1")
    if name == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ValueError(
            f"device is {name}, but torch sees no GPU: set device to cpu, or install a CUDA build "
            "of torch and the driver"
        )
    index = int(name.partition(":")[2] or os.environ.get("LOCAL_RANK", "0"))
    if index >= torch.cuda.device_count():
        raise ValueError(
            f"device is {name}, but GPU {index} does not exist: torch sees "
            f"{torch.cuda.device_count()}, numbered from 0"
        )
    device = torch.device("cuda", index)
    torch.cuda.set_device(device)
    return device


def place_model(model: ModelT, name: str | None = None) -> ModelT:
    """Moves a model to a device and returns it.

    Args:
        model: any module.
        name: see `find_device`; None for the GPU if there is one and the CPU otherwise.

    Raises:
        ValueError: There is no such device.
    """
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return model.to(find_device(name))
