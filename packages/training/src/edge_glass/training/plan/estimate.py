"""The plan: what each stage needs, compared with the hardware, and what to change."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge_glass.training.params import parse_params
from edge_glass.training.plan.alignment_memory import (
    align_need,
    encode_need,
    feature_index,
    retrieval_need,
)
from edge_glass.training.plan.answers_memory import evaluation_need, training_need
from edge_glass.training.plan.disk import Disk, disk_needs, feature_bytes
from edge_glass.training.plan.hardware import Hardware, occupied
from edge_glass.training.plan.need import HELD_OUT, Need
from edge_glass.training.plan.overrides import addition, overridden
from edge_glass.training.plan.workload import Workload

if TYPE_CHECKING:
    from edge_glass.training.params import Params

# Assumptions behind the times, apart from a device's speed.
DECODED = 46  # JPEGs of 2 megapixels per second and core (benchmarks/decoding.py)
READ = 2e9  # bytes per second from the feature cache
POOLED = 12  # tokens per side: a quarter of those of CLIP at 336 px
WORD = 0.03  # seconds per new word of a batch on a GPU, where starting kernels is what takes time


@dataclass(frozen=True, kw_only=True)
class StagePlan:
    """A stage's line of the plan.

    Attributes:
        rest, peak: bytes of memory of one process; 0 for `prepare`, which needs little.
        at: what the peak is, see `Need`.
    """

    stage: str
    disk: Disk
    seconds: float
    rest: int = 0
    peak: int = 0
    at: str = ""


NEEDS: dict[str, Callable[..., Need]] = {
    "encode": encode_need,
    "align": align_need,
    "evaluate_align": retrieval_need,
    "vlm_qa": training_need,
    "evaluate_vlm_qa": evaluation_need,
}
IN_PROCESSES = ("align", "vlm_qa", "evaluate_vlm_qa")  # these share their work by `launch`


def need_of(stage: str, params: Params, work: Workload) -> Need:
    """Returns what one process of a stage needs, without the device's own share."""
    index = feature_index(params)
    return NEEDS[stage](params, index, work)


def make_plan(params: Params, hardware: Hardware, work: Workload, cores: int) -> list[StagePlan]:
    """Plans all stages that compute on the device; so many cores decode images."""
    index = feature_index(params)
    needs = {stage: find(params, index, work) for stage, find in NEEDS.items()}
    disk = disk_needs(params, index, work, needs)
    on_gpu = hardware.num_gpus > 0
    processes = params.launch.config.num_processes if on_gpu else 1  # on a CPU they share cores
    parallel = {stage: processes if stage in IN_PROCESSES else 1 for stage in needs}
    seconds = {
        stage: need.flops / hardware.speed / parallel[stage] for stage, need in needs.items()
    }
    images = work.captions + work.questions
    encoded = sum(work.encoded(index.image_sizes).values())
    decoding = 1 / (DECODED * cores)
    seconds["align"] += _read_bytes(params, index, work) / READ
    if params.features == "live":
        each = seconds["encode"] / max(1, encoded)
        for stage, config in (("align", params.align), ("vlm_qa", params.vlm_qa)):
            seconds[stage] += config.steps * config.batch_size * each / parallel[stage]
            least = config.steps * config.batch_size * decoding
            seconds[stage] = max(seconds[stage], least)
        naming = params.vlm_qa.naming
        seconds["vlm_qa"] += naming.steps * naming.batch_size * max(each, decoding)
        seconds["encode"] = 0.0
    else:
        seconds["encode"] = max(seconds["encode"], encoded * decoding)
    if on_gpu:
        batches = 2 * HELD_OUT * work.asked / params.evaluate_vlm_qa.batch_size / processes
        seconds["evaluate_vlm_qa"] += batches * params.vlm_qa.max_new_tokens * WORD
    rows = [StagePlan(stage="prepare", disk=disk["prepare"], seconds=images * decoding)]
    for stage, need in needs.items():
        rest, peak = occupied(need.rest, hardware), occupied(need.peak, hardware)
        rows.append(
            StagePlan(
                stage=stage, disk=disk.get(stage, Disk()), rest=rest, peak=peak, at=need.at,
                seconds=seconds[stage],
            )
        )  # fmt: skip
    return rows


def _read_bytes(params: Params, index: Any, work: Workload) -> float:
    """Returns the bytes that `align` reads from the cache."""
    stored = feature_bytes(params, index, work) if params.features == "cache" else 0
    share = work.captions / max(1, sum(work.encoded(index.image_sizes).values()))
    config = params.align
    return stored * share * config.steps * config.batch_size / max(1, work.captions)


def misfit(
    stage: str, peak: int, at: str, params: Params, work: Workload, hardware: Hardware
) -> str:
    """Returns the line for a stage that needs more memory than there is, with what to change."""
    return (
        f"{stage} does not fit: it needs {gb(peak)}{f' in {at}' if at else ''}, and there are "
        f"{gb(hardware.memory)}: {remedy(stage, params, work, hardware)}"
    )


def remedy(stage: str, params: Params, work: Workload, hardware: Hardware) -> str:
    """Returns the options under which a stage fits, as arguments of `dvc exp run`.

    Options are added one by one, at their most, until it fits; then each as little as possible.
    """
    options: dict[str, list[str]] = {}  # the values of each option that are tried, by its name
    for change in _changes(stage, params):
        options.setdefault(change.partition("=")[0], []).append(change)

    def fits(changes: Collection[str]) -> bool:
        changed = parse_params(overridden(params.raw, changes), where="params.yaml")
        return occupied(need_of(stage, changed, work).peak, hardware) <= hardware.memory

    chosen: dict[str, str] = {}
    for name, changes in options.items():
        chosen[name] = changes[-1]
        if fits(chosen.values()):
            break
    else:
        return "no option of params.yaml makes it fit: choose a smaller model or a larger device"
    for name in list(chosen):
        others = {each: value for each, value in chosen.items() if each != name}
        if others and fits(others.values()):
            chosen = others
            continue
        tried = [[*others.values(), each] for each in options[name][:-1]]
        chosen[name] = options[name][bisect_left(tried, True, key=fits)]
    return addition(params.raw, chosen.values())


def _changes(stage: str, params: Params) -> Iterator[str]:
    """Yields the options that need less memory, the least harmful first."""
    scale, name = params.scale, params.decoder.name
    decoder: Any = params.decoder.config
    if stage == "encode":
        yield from _halves(
            f"encode.{scale}.batch_size", params.encode.batch_size, params.encode.rows_per_shard
        )
        text: Any = params.text_encoder.config
        yield from _halves(f"text_encoders.{params.text_encoder.name}.batch_size", text.batch_size)
    elif stage == "align":
        yield f"align.{scale}.gradient_cache=true"
        yield from _doubles(f"align.{scale}", params.align, params.align.recycle)
    elif stage == "evaluate_align":
        yield from _halves(f"evaluate_align.{scale}.block_size", params.evaluate_align.block_size)
    else:
        if stage == "evaluate_vlm_qa":
            size = params.evaluate_vlm_qa.batch_size
            yield from _halves(f"evaluate_vlm_qa.{scale}.batch_size", size)
        else:
            size = params.vlm_qa.answers_at_once
            if params.vlm_qa.validation_steps:
                yield from _halves(f"vlm_qa.{scale}.validation_batch_size", size)
            yield from _doubles(f"vlm_qa.{scale}", params.vlm_qa)
            if getattr(decoder, "gradient_checkpointing", True) not in (True, 1):
                yield f"decoders.{name}.gradient_checkpointing=true"
            if params.vlm_qa.validation_steps:
                yield f"vlm_qa.{scale}.validation_steps=0"
        if getattr(decoder, "model", None) and decoder.quantization == "none":
            yield f"decoders.{name}.quantization=4bit"
        rows, columns = feature_index(params).grids["questions"]
        if stage == "vlm_qa" and rows > POOLED and not (rows % POOLED or columns % POOLED):
            yield f"encode.{scale}.pool={POOLED}"


def _halves(name: str, size: int, multiple: int = 0) -> Iterator[str]:
    """Yields smaller sizes; `multiple` must stay one of the size."""
    while size > 1:
        size //= 2
        if multiple % size == 0:
            yield f"{name}={size}"


def _doubles(name: str, config: Any, multiple: int = 0) -> Iterator[str]:
    """Yields larger numbers of microbatches that divide a batch, and what must stay a multiple."""
    number = config.num_microbatches * 2
    while config.batch_size % number == 0 and multiple % number == 0:
        yield f"{name}.num_microbatches={number}"
        number *= 2


def gb(size: float) -> str:
    """Returns a number of bytes in GB."""
    return f"{size / 1e9:.2f} GB" if size < 1e10 else f"{size / 1e9:,.0f} GB"


def duration(seconds: float) -> str:
    """Returns a time in the unit that people use for it."""
    if seconds < 90:
        return f"{math.ceil(seconds)} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
