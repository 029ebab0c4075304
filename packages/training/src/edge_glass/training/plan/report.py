"""The plan as a table, and a line for each stage that does not fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_glass.training.params import parse_params
from edge_glass.training.plan.estimate import POOLED, duration, gb, make_plan, misfit
from edge_glass.training.plan.hardware import Hardware
from edge_glass.training.plan.overrides import addition, overridden
from edge_glass.training.plan.workload import Workload
from edge_glass.training.vlm_qa.torchrun import sharing_processes

if TYPE_CHECKING:
    from edge_glass.training.params import Params


def report(
    params: Params, work: Workload, hardware: Hardware, *, cores: int
) -> tuple[list[str], bool]:
    """Returns the lines of the plan, and whether all stages fit."""
    rows = make_plan(params, hardware, work, cores)
    cards = f"{hardware.num_gpus} x " if hardware.num_gpus else ""
    lines = [
        f"{cards}{gb(hardware.memory)} ({hardware.name}), {gb(hardware.disk)} of disk; "
        f"{work.captions:,} + {work.questions:,} images, {work.asked:,} questions, at most "
        f"{work.tokens} tokens per image; estimates",
        f"{'stage':16} {'at rest':>9} {'longest batch':>14} {'time':>8} {'disk':>10} "
        f"{'with DVC':>10}",
    ]
    for row in rows:
        sizes = (row.rest, row.peak, row.disk.outputs + row.disk.state, row.disk.needed())
        rest, peak, disk, copied = (gb(size) if size else "" for size in sizes)
        lines.append(
            f"{row.stage:16} {rest:>9} {peak:>14} {duration(row.seconds):>8} {disk:>10} "
            f"{copied:>10}"
        )
    problems = too_many_processes(params, hardware)
    total = sum(row.disk.needed() for row in rows)
    for row in rows:
        if row.peak > hardware.memory:
            problems.append(misfit(row.stage, row.peak, row.at, params, work, hardware))
    if total > hardware.disk:
        problems.append(_disk_line(params, work, hardware, total, cores))
    return [*lines, *problems], not problems


def too_many_processes(params: Params, hardware: Hardware) -> list[str]:
    """Returns a line if the launch starts more processes than there are GPUs."""
    processes, name = params.launch.config.num_processes, params.launch.name
    if hardware.num_gpus and processes > hardware.num_gpus:
        number = sharing_processes(hardware.num_gpus, params.vlm_qa.num_microbatches)
        change = addition(params.raw, [f"launches.{name}.num_processes={number}"])
        return [
            f"launch {name} starts {processes} processes, more than GPUs ({hardware.num_gpus}): "
            f"{change}"
        ]
    return []


def _disk_line(params: Params, work: Workload, hardware: Hardware, total: int, cores: int) -> str:
    """Names the first change with which the disk is large enough."""
    start = (
        f"the disk does not fit: {gb(total)} with DVC's copies, and {gb(hardware.disk)} are free"
    )
    for change in (f"encode.{params.scale}.pool={POOLED}", "features=live"):
        try:
            changed = parse_params(overridden(params.raw, [change]), where="params.yaml")
        except ValueError:  # the encoder's grid can't be divided so
            continue
        rows = make_plan(changed, hardware, work, cores)
        if sum(row.disk.needed() for row in rows) <= hardware.disk:
            return f"{start}: {addition(params.raw, [change])}"
    return f"{start}: use a larger disk, or fewer images"
