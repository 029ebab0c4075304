"""A sum whose order is a fixed binary tree, so that its bits depend on nothing else.

Floating-point addition is not associative: ((a + b) + c) + d and (a + b) + (c + d) differ in the
last bits. Here microbatch 2i is always added to microbatch 2i + 1 first, then pairs to pairs,
whether one process holds all microbatches or several processes hold equal parts of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from edge_glass.training.engine.processes import Processes


class TreeSum:
    """Adds up leaves that arrive one after the other; log2 of their number stay in memory.

    A leaf is a list of tensors, such as the gradients of all parameters.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[int, list[Tensor]]] = []  # (height in the tree, sum)

    def add(self, leaf: Iterable[Tensor]) -> None:
        """Adds the next leaf of the tree."""
        height, leaf = 0, list(leaf)
        while self._waiting and self._waiting[-1][0] == height:
            _, left = self._waiting.pop()
            # not in place: two gradients of one backward pass may share their memory
            leaf = [first + second for first, second in zip(left, leaf, strict=True)]
            height += 1
        self._waiting.append((height, leaf))

    def total(self) -> list[Tensor]:
        """Returns the sum of a power of two of leaves."""
        if len(self._waiting) != 1:
            raise ValueError(
                "found a number of leaves that is not a power of two; expected 1, 2, 4 ..., so "
                "that they add up in one tree"
            )
        ((height, leaf),) = self._waiting
        # a sum is new memory; two tensors of a single leaf may share theirs
        return leaf if height else [each.clone() for each in leaf]


def tree_sum_over_processes(local: Sequence[Tensor], processes: Processes) -> list[Tensor]:
    """Returns the sums over a power of two of processes; the bits are the same in each.

    Each process adds up its own slice of all numbers and gives the sum to the others, so it sends
    and receives about two copies of `local` and holds two more, however many processes there are.
    """
    if processes.size == 1:
        return list(local)
    flat = torch.cat([each.reshape(-1) for each in local])
    each = len(flat) // processes.size
    main = flat[: each * processes.size]
    if each:
        # what an all-reduce sends, but the order of the additions is that of the tree
        slices = processes.exchange(main).view(processes.size, each)
        processes.gather_into(main, _tree_sum(slices))
    rest = flat[len(main) :]  # fewer numbers than processes
    if len(rest):
        rest.copy_(_tree_sum(processes.gather(rest[None])))
    parts = flat.split([each.numel() for each in local])
    # copies: a GPU's norm of a tensor depends on where its memory begins
    return [part.view(each.shape).clone() for part, each in zip(parts, local, strict=True)]


def _tree_sum(rows: Tensor) -> Tensor:
    tree = TreeSum()
    for row in rows.unbind():
        tree.add([row])
    return tree.total()[0]


def is_power_of_two(number: int) -> bool:
    """Returns whether so many tensors can be added up in one whole tree."""
    return number > 0 and number & (number - 1) == 0


def filled_gradients(
    gradients: Sequence[Tensor | None], parameters: Sequence[Tensor]
) -> list[Tensor]:
    """Returns the gradients of all parameters in float32, with zeros for None."""
    pairs = zip(gradients, parameters, strict=True)
    return [(torch.zeros_like(p) if g is None else g).float() for g, p in pairs]


def set_gradients(parameters: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
    """Sets each parameter's `grad`: in its dtype, and contiguous as the optimizer needs it."""
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.to(parameter.dtype).contiguous()
