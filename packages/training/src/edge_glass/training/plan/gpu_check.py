"""What is checked on a GPU before a stage loads weights."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from edge_glass.encoders.components import ConfigError
from edge_glass.training.plan.estimate import misfit, need_of
from edge_glass.training.plan.hardware import Hardware, find_hardware, occupied
from edge_glass.training.plan.networks import UnknownSizeError
from edge_glass.training.plan.workload import Workload, read_workload
from edge_glass.training.runtime.progress import say

if TYPE_CHECKING:
    from edge_glass.training.params import Params

IN_PROCESSES = ("align", "vlm_qa", "evaluate_vlm_qa")


def check_gpu(stage: str, params: Params) -> None:
    """Refuses a stage that needs more memory than its GPU has free, and names idle GPUs.

    Raises:
        ConfigError: with the options under which the stage fits.
    """
    if params.device == "cpu" or os.environ.get("RANK", "0") != "0":
        return
    started = int(os.environ.get("WORLD_SIZE", "0"))
    idle = idle_gpus(stage, params, torch.cuda.device_count(), started)
    if idle is not None:
        say(idle)
    free, _ = torch.cuda.mem_get_info(torch.device(params.device))
    hardware = find_hardware(params.device, gpu=None, gpus=None, disk=None, folder=Path())
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

    `started` is the number of processes that torchrun has started, 0 without it.
    """
    launch = params.launch
    shared = stage in IN_PROCESSES
    used = started or (launch.config.num_processes if shared else 1)
    if ":" in params.device or used >= gpus or not (shared or stage == "encode"):
        return None
    remedy = f"set launches.{launch.name}.num_processes: {gpus}"
    if stage == "encode":
        remedy = f"add --scheduler processes:{gpus}"
    return f"{stage}: uses {used} of {gpus} GPUs; to use all, {remedy}"
