"""Cached features of a batch: read once per step if they are needed twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from edge_glass.encoders.files import DataError
from edge_glass.training.align.image_features import CachedFeatures

CPU = torch.device("cpu")


def not_read(step: int) -> Iterator[list[int]]:
    """The plan of images, which only a GPU's features read."""
    raise AssertionError(step)


class Counted:
    """Features (12, 2, 3) in float16 that count how often they are read."""

    def __init__(self) -> None:
        self.array = np.random.default_rng(0).normal(size=(12, 2, 3)).astype(np.float16)
        self.reads = 0

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, rows: Any) -> Any:
        self.reads += 1
        return self.array[rows]


@pytest.mark.parametrize("keep", [False, True])
def test_two_passes_of_a_step_read_once_if_they_keep(keep: bool) -> None:
    array = Counted()
    features = CachedFeatures(array, CPU, keep=keep, batches=not_read, num_workers=2)
    parts = [torch.tensor([3, 1]), torch.tensor([8, 8])]
    for step in range(3):
        for rows in (*parts, *parts):
            expected = torch.from_numpy(array.array[rows.numpy()]).float()
            assert torch.equal(features.at(rows, step=step), expected)
    assert array.reads == 3 * (2 if keep else 4)


@pytest.mark.parametrize("keep", [False, True])
def test_an_image_without_finite_features_is_named(keep: bool) -> None:
    array = Counted()
    array.array[8, 1, 0] = np.nan
    features = CachedFeatures(array, CPU, keep=keep, batches=not_read, num_workers=2)
    with pytest.raises(DataError, match="features of image 8 are not finite"):
        features.at(torch.tensor([3, 8]), step=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_threads_read_ahead_for_a_gpu() -> None:
    array, parts = Counted(), [[3, 1], [8, 8], [0, 2]]
    features = CachedFeatures(
        array,
        torch.device("cuda"),
        keep=False,
        batches=lambda step: iter(parts * (4 - step)),
        num_workers=2,
    )
    for step in range(1, 4):
        for rows in map(torch.tensor, (*parts, *parts)):
            expected = torch.from_numpy(array.array[rows.numpy()]).float()
            assert torch.equal(features.at(rows, step=step).cpu(), expected)
    assert array.reads == 3 * len(parts)
