"""A sum whose order is a fixed binary tree, so that its bits depend on nothing else.

Floating-point addition is not associative: ((a + b) + c) + d and (a + b) + (c + d) differ in the
last bits. Here microbatch 2i is always added to microbatch 2i + 1 first, then pairs to pairs,
whether one process holds all microbatches or several processes hold equal parts of them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from edge_glass.training.engine.processes import Processes


class TreeSum:
    """Adds up tensors that arrive one after the other; log2 of their number stay in memory."""

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
        """Returns the sum of a power of two of tensors."""
        if len(self._waiting) != 1:
            raise ValueError(
                "found a number of tensors that is not a power of two; expected 1, 2, 4 ..., so "
                "that they add up in one tree"
            )
        return self._waiting[0][1]


def tree_sum_over_processes(local: Tensor, processes: Processes) -> Tensor:
    """Returns the sum, (K,), over a power of two of processes; the bits are the same in each.

    Each process adds up its own slice of all vectors and gives the sum to the others, so it sends
    and receives about two vectors and holds two, whatever their number. `local` is written to.
    """
    if processes.size == 1:
        return local
    each = len(local) // processes.size
    main = local[: each * processes.size]
    if each:
        # what an all-reduce sends, but the order of the additions is that of the tree
        slices = processes.exchange(main).view(processes.size, each)
        processes.gather_into(main, _tree_sum(slices))
    rest = local[len(main) :]  # fewer numbers than processes
    if len(rest):
        rest.copy_(_tree_sum(processes.gather(rest[None])))
    return local


def _tree_sum(rows: Tensor) -> Tensor:
    tree = TreeSum()
    for row in rows.unbind():
        tree.add(row)
    return tree.total()


def is_power_of_two(number: int) -> bool:
    """Returns whether so many tensors can be added up in one whole tree."""
    return number > 0 and number & (number - 1) == 0


def flat_gradient(gradients: tuple[Tensor | None, ...], parameters: list[Tensor]) -> Tensor:
    """Returns the gradients of all parameters in one vector (K,), with zeros for None."""
    pairs = zip(gradients, parameters, strict=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g).reshape(-1) for g, p in pairs])


def set_gradients(parameters: list[Tensor], flat: Tensor) -> None:
    """Writes a vector of all parameters' gradients (K,) into their `grad`."""
    start = 0
    for parameter in parameters:
        count = parameter.numel()
        part = flat[start : start + count].view_as(parameter)
        parameter.grad = part.to(parameter.dtype)  # a view if the types are equal
        start += count
