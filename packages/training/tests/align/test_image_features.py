"""Cached features of a batch: read once per step if they are needed twice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from edge_glass.encoders.files import DataError
from edge_glass.training.align.image_features import CachedFeatures

CPU = torch.device("cpu")


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
    features = CachedFeatures(array, CPU, keep=keep)
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
    features = CachedFeatures(array, CPU, keep=keep)
    with pytest.raises(DataError, match="features of image 8 are not finite"):
        features.at(torch.tensor([3, 8]), step=0)
