"""Worker processes: the number that decides the GPU of each, and the error if one dies.

`processes:N` and Dask number their workers when they start; other processes have no number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from edge_glass.encoders.files import DataError

DEAD_LOADER = r"DataLoader worker \(pid.*"  # torch's words

_number: int | None = None


def set_worker_number(number: int) -> None:
    """Gives this process its number, from 0 on each machine."""
    global _number
    _number = number


def worker_number() -> int | None:
    """Returns the number of this process, or None if it is not a worker."""
    return _number


def own_device(device: str) -> str:
    """Returns the device of this process for the `device` of params.yaml."""
    number = worker_number()
    if device != "cuda" or number is None:
        return device
    import torch

    return worker_device(device, number, torch.cuda.device_count())


def worker_device(device: str, number: int, num_gpus: int) -> str:
    """Returns the device of a worker: number 0 gets the first GPU, 1 the second, and so on.

    `device` is `cpu`, `cuda`, or one GPU that all workers use, such as `cuda:1`.
    """
    return f"cuda:{number % num_gpus}" if device == "cuda" and num_gpus else device


class WorkerError(OSError):
    """A worker process that died: names the likely reason and the remedy."""


@contextmanager
def explained_loaders(stage: str) -> Iterator[None]:
    """Turns the errors of a `DataLoader`'s workers into one line.

    torch can notice a dead worker at any moment of a stage, so this surrounds the whole stage.
    """
    try:
        yield
    except RuntimeError as error:
        found = re.match(DEAD_LOADER, str(error))
        if found is None:
            raise
        raise WorkerError(
            f"a process of {stage} that reads ahead died ({found[0].rstrip('. ')}), most likely "
            f"because the machine was out of memory: lower num_workers of {stage} in params.yaml "
            "and run again; finished work is kept"
        ) from error
    except DataError as error:
        if "DataLoader worker" not in str(error):
            raise
        # torch adds the worker's traceback in front of the message
        raise DataError(str(error).strip().rpartition("DataError: ")[2]) from error
