"""Weights replaced for a moment, to validate or save them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def swapped(weights: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> Iterator[None]:
    """Copies `values` into `weights` for the duration of the block, then the old values back."""
    kept = {name: weight.detach().clone() for name, weight in weights.items()}
    copy_into(weights, values)
    try:
        yield
    finally:
        copy_into(weights, kept)


@torch.no_grad()
def copy_into(weights: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    """Copies each value into the weight of the same name, in place."""
    for name, weight in weights.items():
        weight.copy_(values[name])
