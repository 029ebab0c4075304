"""A sum whose order is a fixed binary tree, so that its bits depend on nothing else.

Floating-point addition is not associative: ((a + b) + c) + d and (a + b) + (c + d) differ in the
last bits. Here shard 2i always meets shard 2i + 1 first, then pairs meet pairs, whether one process
holds all the shards or several hold an equal share each.
"""

from __future__ import annotations

import torch
from torch import Tensor

from edge_glass.training.engine.processes import Processes


class TreeSum:
    """Adds up tensors that come one after the other, keeping log2 of their number in memory."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, Tensor]] = []  # (height in the tree, sum)

    def add(self, value: Tensor) -> None:
        """Adds the next leaf of the tree; `value` may be written to."""
        height = 0
        while self._waiting and self._waiting[-1][0] == height:
            _, left = self._waiting.pop()
            value = left.add_(value)
            height += 1
        self._waiting.append((height, value))

    def total(self) -> Tensor:
        """Returns the sum.

        Raises:
            ValueError: where the number of leaves was no power of two.
        """
        if len(self._waiting) != 1:
            raise ValueError(
                "the number of shards must be a power of two, so that they add up in one tree"
            )
        return self._waiting[0][1]


def tree_sum_over_processes(local: Tensor, processes: Processes) -> Tensor:
    """Returns the sum over processes of their shards' sums, equal on each of them.

    Args:
        local: (K,) what `TreeSum` gave for this process's shards.
        processes: a power of two of them.
    """
    tree = TreeSum()
    for part in processes.gather(local[None]).unbind():
        tree.add(part)
    return tree.total()


def is_power_of_two(number: int) -> bool:
    """Tells whether a number of shards can be added up in a whole tree."""
    return number > 0 and number & (number - 1) == 0


def flat_gradient(gradients: tuple[Tensor | None, ...], parameters: list[Tensor]) -> Tensor:
    """Returns the gradients of all parameters in one vector (K,), zeros where there is none."""
    pairs = zip(gradients, parameters, strict=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g).reshape(-1) for g, p in pairs])


def set_gradients(parameters: list[Tensor], flat: Tensor) -> None:
    """Writes a vector of all parameters' gradients (K,) into their `grad`."""
    start = 0
    for parameter in parameters:
        count = parameter.numel()
        part = flat[start : start + count].view_as(parameter)
        parameter.grad = part.to(parameter.dtype)  # the part itself where nothing is to convert
        start += count
