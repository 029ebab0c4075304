"""How the processes of a run share one step: the launch that `params.yaml` selects.

The loop of the stage is the same for all launches. It goes through this process's microbatches of
the global batch and gives each microbatch's part of the loss (its sum divided by the labelled
tokens of the *whole* batch) to `backward`; then it takes the step. The launches differ in how they
combine the gradients of microbatches and processes:

    tree              summed in one fixed tree, a slice each: equal bytes at 1, 2, 4 ... processes
    ddp               accumulated, then averaged by DistributedDataParallel's all-reduce
    deepspeed_zero2   reduced to the process that owns that part of the optimizer's state

Accelerate prepares model, optimizer and loader for each of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from edge_glass.encoders.components import Component
from edge_glass.training.engine.processes import Processes
from edge_glass.training.engine.reduce import (
    TreeSum,
    filled_gradients,
    set_gradients,
    tree_sum_over_processes,
)
from edge_glass.training.loop.optim import clip_gradients
from edge_glass.training.loop.state import StateSaver

if TYPE_CHECKING:
    from accelerate import Accelerator


class Launch(StateSaver, ABC):
    """One way to share a step's microbatches.

    Args:
        accelerator: made for this launch, see `open_launch`.

    Attributes:
        microbatches: the numbers of this process's microbatches.
        objective: the prepared module, once `prepare` was called.
        optimizer: the prepared optimizer, likewise.
    """

    objective: nn.Module

    def __init__(
        self, accelerator: Accelerator, processes: Processes, num_microbatches: int
    ) -> None:
        self.accelerator, self.processes = accelerator, processes
        self.microbatches = processes.own_microbatches(num_microbatches)
        self.parameters: list[Tensor] = []
        self.frozen: list[Tensor] = []

    def prepare(self, objective: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Makes module and optimizer ready for training."""
        self.parameters = [each for each in objective.parameters() if each.requires_grad]
        self.objective, self.optimizer = self.accelerator.prepare(objective, optimizer)

    def prepare_loader(self, loader: DataLoader[Any]) -> Iterator[dict[str, Tensor]]:
        """Returns this process's microbatches, step after step, on its device."""
        return iter(cast("DataLoader[Any]", self.accelerator.prepare(loader)))

    def freeze(self, module: nn.Module | None) -> None:
        """Leaves the weights of a module as they are, until it is called with None."""
        self.frozen = [] if module is None else [p for p in module.parameters() if p.requires_grad]

    @property
    def active(self) -> list[Tensor]:
        """The weights that a step changes."""
        if not self.frozen:
            return self.parameters
        frozen = set(map(id, self.frozen))
        return [each for each in self.parameters if id(each) not in frozen]

    def mark(self, choice: Component) -> str:
        """Returns what must be equal for a resume, apart from the options of the stage."""
        return f"{choice.name} in {self.processes.size} processes"

    @abstractmethod
    def microbatch(self) -> AbstractContextManager[Any]:
        """Returns the context of one microbatch's forward and backward pass."""

    @abstractmethod
    def backward(self, loss: Tensor) -> None:
        """Takes one microbatch's part of the batch's loss, ()."""

    def step(self, max_grad_norm: float, where: str) -> Tensor:
        """Changes the weights, after the last microbatch; returns the gradient's norm, ()."""
        for each in self.frozen:
            each.grad = None  # the optimizer skips weights without a gradient
        norm = clip_gradients(self.active, max_grad_norm, where)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return norm

    def loss(self, local: TreeSum) -> float:
        """Returns the batch's loss from the parts of this process's microbatches."""
        return tree_sum_over_processes(local.total(), self.processes)[0].item()


class TreeLaunch(Launch):
    """Sums the microbatches' gradients in one fixed tree, in whichever process they were computed.

    The bytes of a sum depend on its order. With DDP and with plain accumulation that order depends
    on the number of processes. Here it does not, at the cost of one copy of the gradient per level
    of the tree.
    """

    def __init__(
        self, accelerator: Accelerator, processes: Processes, num_microbatches: int
    ) -> None:
        super().__init__(accelerator, processes, num_microbatches)
        self.whole = num_microbatches == 1  # nothing to sum: autograd may write to `grad` directly
        self.tree = TreeSum()

    def prepare(self, objective: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.parameters = [each for each in objective.parameters() if each.requires_grad]
        # evaluation_mode keeps accelerate from wrapping the module in DDP; it remains in train mode
        self.objective = self.accelerator.prepare_model(objective, evaluation_mode=True)
        self.optimizer = self.accelerator.prepare(optimizer)

    def mark(self, choice: Component) -> str:
        return choice.name  # a different number of processes may resume this run

    def microbatch(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def backward(self, loss: Tensor) -> None:
        if self.whole:
            loss.backward()
        else:
            active = self.active
            found = torch.autograd.grad(loss, active, allow_unused=True)
            self.tree.add(filled_gradients(found, active))

    def step(self, max_grad_norm: float, where: str) -> Tensor:
        if not self.whole:
            total = tree_sum_over_processes(self.tree.total(), self.processes)
            set_gradients(self.active, total)
            self.tree = TreeSum()
        return super().step(max_grad_norm, where)


class DdpLaunch(Launch):
    """Accumulates gradients over microbatches; the last backward pass averages over processes."""

    def microbatch(self) -> AbstractContextManager[Any]:
        context: AbstractContextManager[Any] = self.accelerator.accumulate(self.objective)
        return context

    def backward(self, loss: Tensor) -> None:
        # accelerate divides by the accumulated microbatches, DDP (and DeepSpeed) by the processes;
        # both are powers of two, so multiplying before changes no bit of the result
        self.accelerator.backward(loss * (len(self.microbatches) * self.processes.size))
