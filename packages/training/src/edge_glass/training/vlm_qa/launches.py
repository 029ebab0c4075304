"""The launches by name, and how one is opened and closed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from edge_glass.encoders.components import Component
from edge_glass.training.engine.processes import Processes
from edge_glass.training.runtime.progress import say
from edge_glass.training.vlm_qa.launch import DdpLaunch, Launch, TreeLaunch
from edge_glass.training.vlm_qa.launch_deepspeed import DeepSpeedLaunch, deepspeed_plugin

if TYPE_CHECKING:
    from accelerate.utils import DeepSpeedPlugin

LAUNCHES: dict[str, type[Launch]] = {
    "tree": TreeLaunch,
    "ddp": DdpLaunch,
    "deepspeed_zero2": DeepSpeedLaunch,
}
GUARANTEES = {
    "tree": "the bytes are those of any other number of processes (R0 to R3)",
    "ddp": "no bytes are guaranteed: values are tested, bytes are not",
    "deepspeed_zero2": "the bytes are those of this number of processes only (R0, R1)",
}


@contextmanager
def open_launch(
    choice: Component,
    processes: Processes,
    *,
    num_microbatches: int,
    microbatch_size: int,
    max_grad_norm: float,
) -> Iterator[Launch]:
    """Makes the selected launch, prints its guarantee, and resets accelerate's state afterwards.

    Args:
        choice: of `launches`.
        processes: those that share a step.
        num_microbatches: parts of a batch.
        microbatch_size: samples per microbatch.
        max_grad_norm: gradients are clipped to this norm; DeepSpeed needs it in advance.

    Raises:
        ValueError: if the launch can't run here.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, GradientState
    from accelerate.utils import GradientAccumulationPlugin, InitProcessGroupKwargs

    plugin: DeepSpeedPlugin | None = None
    each = len(processes.own_microbatches(num_microbatches))
    if choice.name == "deepspeed_zero2":
        plugin = deepspeed_plugin(
            choice.config.config,
            processes,
            microbatch_size=microbatch_size,
            microbatches_each=each,
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
            # cpu=True would ignore DeepSpeed without a message
            cpu=on_cpu and plugin is None,
            mixed_precision="no",  # the objective has its own autocast, the same for every launch
            dynamo_backend="no",
            gradient_accumulation_plugin=GradientAccumulationPlugin(
                num_steps=each, sync_with_dataloader=False
            ),
            deepspeed_plugin=plugin,
            kwargs_handlers=[InitProcessGroupKwargs(backend="gloo" if on_cpu else "nccl")]
            if processes.size > 1
            else None,
        )
        torch.set_num_threads(threads)  # accelerate changes it if OMP_NUM_THREADS is not set
        say(
            f"launch {choice.name}: {processes.size} of {num_microbatches} possible processes, "
            f"microbatches per step and process: {each}; {GUARANTEES[choice.name]}"
            f"{'' if on_cpu else '; unproven on GPUs'}"
        )
        yield LAUNCHES[choice.name](accelerator, processes, num_microbatches)
    finally:
        # accelerate keeps one state per Python process: the next stage may need a different one
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
        if plugin is not None:
            os.environ.pop("ACCELERATE_USE_DEEPSPEED", None)
