"""What is checked on a GPU before a stage loads weights."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from edge_glass.encoders.components import ConfigError
from edge_glass.training.plan.estimate import IN_PROCESSES, misfit, need_of
from edge_glass.training.plan.hardware import Hardware, find_hardware, occupied
from edge_glass.training.plan.networks import UnknownSizeError
from edge_glass.training.plan.workload import Workload, read_workload
from edge_glass.training.runtime.executor import PROCESSES
from edge_glass.training.runtime.progress import say
from edge_glass.training.vlm_qa.torchrun import sharing_processes

if TYPE_CHECKING:
    from edge_glass.training.params import Params


def check_gpu(stage: str, params: Params, scheduler: str | None) -> None:
    """Refuses a stage that needs more memory than its GPU has free, and names idle GPUs.

    `scheduler` is None, or `processes:N`: then so many processes of `encode` share the GPUs.

    Raises:
        ConfigError: with the options under which the stage fits.
    """
    if params.device == "cpu" or os.environ.get("RANK", "0") != "0":
        return
    number = (scheduler or "").removeprefix(PROCESSES)
    workers = int(number) if number.isdecimal() else 0  # what opens it refuses others
    started = workers or int(os.environ.get("WORLD_SIZE", "0"))
    gpus = torch.cuda.device_count()
    idle = idle_gpus(stage, params, gpus, started)
    if idle is not None:
        say(idle)
    free, _ = torch.cuda.mem_get_info(torch.device(params.device))
    free //= math.ceil(max(1, workers) / (1 if ":" in params.device else gpus))
    hardware = find_hardware(params.device)
    try:
        work = read_workload(params, images=None, questions=None, tokens=None)
        found = too_small(stage, params, work, replace(hardware, memory=free))
    except UnknownSizeError as error:
        say(f"{stage}: whether the GPU's memory is enough is not known: {error}")
        return
    if found is not None:
        raise ConfigError(found)


def too_small(stage: str, params: Params, work: Workload, hardware: Hardware) -> str | None:
    """Returns why a stage does not fit and what to change; None if it fits."""
    need = need_of(stage, params, work)
    peak = occupied(need.peak, hardware)
    if peak <= hardware.memory:
        return None
    return misfit(stage, peak, need.at, params, work, hardware)


def idle_gpus(stage: str, params: Params, gpus: int, started: int) -> str | None:
    """Returns the line that names GPUs which a stage leaves idle; None if there are none.

    `started` is the number of processes that torchrun or a scheduler starts, 0 without them.
    """
    if ":" in params.device or not (stage in IN_PROCESSES or stage == "encode"):
        return None
    if stage == "encode":
        used, most = started or 1, gpus
        remedy = f"add --scheduler {PROCESSES}{gpus}"
    else:
        launch = params.launch
        used, microbatches = started or launch.config.num_processes, params.vlm_qa.num_microbatches
        if stage == "align":  # both stages must be able to share the number
            microbatches = min(microbatches, params.align.num_microbatches)
            used = started or sharing_processes(used, params.align.num_microbatches)
        most = sharing_processes(gpus, microbatches)
        remedy = f"set launches.{launch.name}.num_processes: {most}"
        if started:
            remedy = f"start torchrun with --nproc_per_node={most}"
    if used >= most:
        return None
    return f"{stage}: uses {used} of {gpus} GPUs; to use {most}, {remedy}"
