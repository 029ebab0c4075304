"""Workers have numbers and GPUs of their own, and a dead one is one line."""

from __future__ import annotations

import os
import time

import pytest
from torch.utils.data import DataLoader, Dataset

from edge_glass.encoders.files import DataError
from edge_glass.training.runtime import worker
from edge_glass.training.runtime.dask_cluster import numbers_on_machines
from edge_glass.training.runtime.executor import open_executor
from edge_glass.training.runtime.worker import (
    WorkerError,
    explained_loaders,
    own_device,
    worker_device,
    worker_number,
)


@pytest.mark.parametrize(
    ("device", "number", "num_gpus", "expected"),
    [
        ("cuda", 0, 8, "cuda:0"),
        ("cuda", 7, 8, "cuda:7"),
        ("cuda", 9, 8, "cuda:1"),
        ("cuda", 3, 1, "cuda:0"),
        ("cuda:2", 3, 8, "cuda:2"),
        ("cpu", 3, 8, "cpu"),
        ("cuda", 3, 0, "cuda"),  # whoever opens it reports that there is none
    ],
)
def test_workers_take_the_gpus_in_turn(
    device: str, number: int, num_gpus: int, expected: str
) -> None:
    assert worker_device(device, number, num_gpus) == expected


def test_only_a_worker_has_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    assert own_device("cuda") == "cuda"
    monkeypatch.setattr(worker, "_number", 5)
    assert own_device("cuda") == "cuda:1"


def test_dask_workers_are_numbered_on_each_machine() -> None:
    addresses = ["tcp://10.0.0.2:7", "tcp://10.0.0.1:9", "tcp://10.0.0.1:8", "tcp://[::1]:5"]
    assert numbers_on_machines(addresses) == {
        "tcp://10.0.0.1:8": 0,
        "tcp://10.0.0.1:9": 1,
        "tcp://10.0.0.2:7": 0,
        "tcp://[::1]:5": 0,
    }


@pytest.mark.slow
def test_processes_are_numbered_from_0() -> None:
    with open_executor("processes:3") as pool:
        for _ in range(3):  # otherwise one process could take all tasks
            pool.submit(time.sleep, 4)
        done = []
        for _ in range(3):
            done.append(pool.submit(worker_number))
            pool.submit(time.sleep, 1)
        assert sorted(each.result() for each in done) == [0, 1, 2]


class Dying(Dataset[int]):
    """Its worker ends in the middle of a batch."""

    def __getitem__(self, index: int) -> int:
        os._exit(3)


class Damaged(Dataset[int]):
    """Its rows can't be read."""

    def __getitem__(self, index: int) -> int:
        raise DataError(f"a.npy, row {index}: damaged: run `dvc repro encode`")


def test_a_dead_loader_is_one_line_with_the_remedy() -> None:
    with (
        pytest.raises(WorkerError, match=r"^a process of vlm_qa .*lower num_workers of") as caught,
        explained_loaders("vlm_qa"),
    ):
        list(DataLoader(Dying(), sampler=range(4), num_workers=1))
    assert "\n" not in str(caught.value)
    with (
        pytest.raises(DataError, match=r"^a\.npy, row 0: damaged") as damaged,
        explained_loaders(""),
    ):
        list(DataLoader(Damaged(), sampler=range(4), num_workers=1))
    assert "\n" not in str(damaged.value)
    with pytest.raises(RuntimeError, match="other"), explained_loaders("vlm_qa"):
        raise RuntimeError("other")
