"""How the processes of a run work together on a step: the launch that `params.yaml` chooses.

The loop of a stage is the same for all. It goes through this process's shards of the global batch,
gives each shard's part of the loss (its sum divided by the labelled tokens of the *whole* batch) to
`backward`, and takes the step. What differs is how gradients of shards and processes meet:

    tree              gathered, and summed in one fixed tree: equal bytes at 1, 2, 4 ... processes
    ddp               accumulated, then averaged by DistributedDataParallel's all-reduce
    deepspeed_zero2   reduced to the process that owns the part of the optimizer's state

Accelerate prepares model, optimizer and loader for each of them.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from edge_glass.encoders.components import Component
from edge_glass.training.engine.processes import Processes
from edge_glass.training.engine.reduce import (
    TreeSum,
    flat_gradient,
    set_gradients,
    tree_sum_over_processes,
)
from edge_glass.training.loop.optim import clip_gradients
from edge_glass.training.loop.state import RunState, StateFile
from edge_glass.training.runtime.progress import say

if TYPE_CHECKING:
    from accelerate import Accelerator
    from accelerate.utils import DeepSpeedPlugin

PROMISES = {
    "tree": "the bytes are those of any other number of processes (R0 to R3)",
    "ddp": "no bytes are promised: values are tested, bytes are not",
    "deepspeed_zero2": "the bytes are those of this number of processes only (R0, R1)",
}


class Launch(ABC):
    """One way to share a step's shards.

    Args:
        accelerator: made for this launch, see `open_launch`.
        processes: those that share the shards.
        num_shards: logical parts of a batch.

    Attributes:
        shards: the numbers of this process's shards.
        objective: the prepared module, once `prepare` was called.
        optimizer: the prepared optimizer.
    """

    objective: nn.Module
    optimizer: torch.optim.Optimizer

    def __init__(self, accelerator: Accelerator, processes: Processes, num_shards: int) -> None:
        self.accelerator, self.processes = accelerator, processes
        self.shards = processes.own_shards(num_shards)
        self.parameters: list[Tensor] = []

    def prepare(self, objective: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Makes module and optimizer ready for training."""
        self.parameters = [each for each in objective.parameters() if each.requires_grad]
        self.objective, self.optimizer = self.accelerator.prepare(objective, optimizer)

    def prepare_loader(self, loader: DataLoader[Any]) -> Iterator[dict[str, Tensor]]:
        """Returns this process's shards, step after step, on its device."""
        return iter(cast("DataLoader[Any]", self.accelerator.prepare(loader)))

    def mark(self, choice: Component) -> str:
        """Returns what a saved state must agree in beside the stage's own options."""
        return f"{choice.name} in {self.processes.size} processes"

    @abstractmethod
    def shard(self) -> AbstractContextManager[Any]:
        """Returns the context of one shard's forward and backward."""

    @abstractmethod
    def backward(self, loss: Tensor) -> None:
        """Takes one shard's part of the batch's loss, ()."""

    @abstractmethod
    def step(self, max_grad_norm: float, where: str) -> Tensor:
        """Changes the weights, after the last shard; returns the gradient's norm, ().

        Raises:
            ValueError: where the norm is not finite.
        """

    def loss(self, local: TreeSum) -> float:
        """Returns the batch's loss from the parts of this process's shards."""
        return tree_sum_over_processes(local.total(), self.processes).item()

    def save(
        self,
        file: StateFile,
        state: RunState,
        weights: Mapping[str, Tensor],
        others: Mapping[str, Tensor],
    ) -> None:
        """Saves what a restart needs: trained weights, other tensors, the optimizer's state."""
        if self.processes.main:
            file.save(state, {**weights, **others}, self.optimizer)

    def restore(
        self, file: StateFile, weights: Mapping[str, Tensor], others: Mapping[str, Tensor]
    ) -> RunState:
        """Fills all that `save` saved, in place, and returns the state to go on from."""
        return file.restore({**weights, **others}, self.optimizer)


class TreeLaunch(Launch):
    """Sums the shards' gradients in one fixed tree, whoever computed them.

    A sum's bytes depend on its order. DDP's and plain accumulation's orders depend on the number of
    processes; this one does not, at the cost of one copy of the gradient a level of the tree.
    """

    def __init__(self, accelerator: Accelerator, processes: Processes, num_shards: int) -> None:
        super().__init__(accelerator, processes, num_shards)
        self.whole = num_shards == 1  # nothing to sum: autograd may write to `grad` itself
        self.tree = TreeSum()

    def prepare(self, objective: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.parameters = [each for each in objective.parameters() if each.requires_grad]
        # evaluation mode is accelerate's way not to wrap the module in DDP; it stays in training
        self.objective = self.accelerator.prepare_model(objective, evaluation_mode=True)
        self.optimizer = self.accelerator.prepare(optimizer)

    def mark(self, choice: Component) -> str:
        return choice.name  # another number of processes goes on where this one stopped

    def shard(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def backward(self, loss: Tensor) -> None:
        if self.whole:
            loss.backward()
        else:
            found = torch.autograd.grad(loss, self.parameters, allow_unused=True)
            self.tree.add(flat_gradient(found, self.parameters))

    def step(self, max_grad_norm: float, where: str) -> Tensor:
        if not self.whole:
            total = tree_sum_over_processes(self.tree.total(), self.processes)
            set_gradients(self.parameters, total)
            self.tree = TreeSum()
        norm = clip_gradients(self.parameters, max_grad_norm, where)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return norm


class DdpLaunch(Launch):
    """Accumulates the shards' gradients, and averages over processes in the last backward pass."""

    def shard(self) -> AbstractContextManager[Any]:
        context: AbstractContextManager[Any] = self.accelerator.accumulate(self.objective)
        return context

    def backward(self, loss: Tensor) -> None:
        # accelerate divides by the accumulated shards, DDP (and DeepSpeed) by the processes; both
        # are powers of two, so that this takes nothing from the bits
        self.accelerator.backward(loss * (len(self.shards) * self.processes.size))

    def step(self, max_grad_norm: float, where: str) -> Tensor:
        norm = clip_gradients(self.parameters, max_grad_norm, where)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return norm


@contextmanager
def open_launch(
    choice: Component,
    processes: Processes,
    *,
    num_shards: int,
    shard_size: int,
    max_grad_norm: float,
) -> Iterator[Launch]:
    """Makes the chosen launch, says what it promises, and lets go of accelerate's state after it.

    Args:
        choice: of `launches`.
        processes: those that share a step.
        num_shards: logical parts of a batch.
        shard_size: samples a shard.
        max_grad_norm: what gradients are clipped to, which DeepSpeed wants to know before.

    Raises:
        ValueError: where the launch can't run here.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, GradientState
    from accelerate.utils import GradientAccumulationPlugin, InitProcessGroupKwargs

    kind: type[Launch] = TreeLaunch if choice.name == "tree" else DdpLaunch
    plugin: DeepSpeedPlugin | None = None
    each = len(processes.own_shards(num_shards))
    if choice.name == "deepspeed_zero2":
        from edge_glass.training.vlm_qa.launch_deepspeed import DeepSpeedLaunch, deepspeed_plugin

        kind = DeepSpeedLaunch
        plugin = deepspeed_plugin(
            choice.config.config,
            processes,
            shard_size=shard_size,
            shards_each=each,
            max_grad_norm=max_grad_norm,
        )
    elif os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() == "true":
        raise ValueError(
            f"launch is {choice.name}, but this process was started for DeepSpeed (environment "
            "ACCELERATE_USE_DEEPSPEED): set launch: deepspeed_zero2, or start it by torchrun"
        )
    threads = torch.get_num_threads()
    on_cpu = processes.device.type == "cpu"
    try:
        accelerator = Accelerator(
            # cpu=True would leave DeepSpeed out without a word
            cpu=on_cpu and plugin is None,
            mixed_precision="no",  # autocast is the objective's own, the same for every launch
            dynamo_backend="no",
            gradient_accumulation_plugin=GradientAccumulationPlugin(
                num_steps=each, sync_with_dataloader=False
            ),
            deepspeed_plugin=plugin,
            kwargs_handlers=[InitProcessGroupKwargs(backend="gloo" if on_cpu else "nccl")]
            if processes.size > 1
            else None,
        )
        torch.set_num_threads(threads)  # accelerate sets another number where OMP_NUM_THREADS lacks
        say(
            f"launch {choice.name}: {processes.size} of {num_shards} possible processes, {each} "
            f"shards a step each; {PROMISES[choice.name]}{'' if on_cpu else '; unproven on GPUs'}"
        )
        yield kind(accelerator, processes, num_shards)
    finally:
        # accelerate keeps one state a Python process: the next stage may want another
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
        if plugin is not None:
            os.environ.pop("ACCELERATE_USE_DEEPSPEED", None)
