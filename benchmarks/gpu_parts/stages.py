"""Stages of the pipeline, run and measured: `encode`, `align`, and `vlm_qa` at full size."""

from __future__ import annotations

import dataclasses
import os
import shutil
import statistics
import time
from contextlib import chdir
from pathlib import Path
from typing import Any

from gpu_parts.project import (
    NUM_WORKERS,
    Size,
    load,
    write_clip,
    write_data,
    write_mpnet,
    write_qwen,
)
from gpu_parts.stand_ins import Live


def only(params: Any, kind: str) -> Any:
    """Returns the parameters with only one kind of data."""
    other = {"captions": "questions", "questions": "captions"}[kind]
    return dataclasses.replace(params, data=dataclasses.replace(params.data, **{other: None}))


def data(scratch: Path, size: Size) -> dict[str, Any]:
    """Images, texts and the models but the largest, and the stage `prepare`."""
    from edge_glass.training.stages import prepare

    start = time.perf_counter()
    write_data(scratch / "data", size)
    write_clip(scratch / "clip", size, size.device)
    write_qwen(scratch / "small", size.small, size.device)
    found = {"seconds_to_write": time.perf_counter() - start}
    for kind in ("questions", "captions"):
        folder = scratch / kind
        folder.mkdir()
        with chdir(folder):
            prepare.run(only(load(scratch, size), kind))
    return found


def encode(scratch: Path, size: Size) -> dict[str, Any]:
    """The stage `encode` from JPEG bytes; the rate is that between its first and last shard."""
    from edge_glass.training.stages import encode as stage

    rows = max(4, size.images // 6)
    params = load(
        scratch, size,
        encode__paper__num_workers=min(NUM_WORKERS, os.cpu_count() or 1),
        encode__paper__rows_per_shard=rows, encode__paper__batch_size=min(64, rows),
    )  # fmt: skip
    with chdir(scratch / "questions"):
        stage.run(only(params, "questions"))
        shards = sorted(Path("artifacts/features/questions/train").glob("vision-*.npy"))
        # two shards are in work at a time, and may end in either order; the last may be shorter
        times = sorted(shard.stat().st_mtime for shard in shards[:-1])
    seconds = times[-1] - times[0]
    return {"images_per_second": rows * (len(times) - 1) / seconds if seconds > 0 else None,
            "workers": params.encode.num_workers}  # fmt: skip


def align(scratch: Path, size: Size) -> dict[str, Any]:
    """The stage `align` on cached features: steps per second after the first ones."""
    from edge_glass.training.stages import align as stage
    from edge_glass.training.stages import encode as encoding

    write_mpnet(scratch / "mpnet", size)
    steps = 4 * size.steps
    params = only(
        load(
            scratch, size, align__paper__steps=steps, align__paper__batch_size=size.align_batch,
            align__paper__log_steps=1, align__paper__optim__warmup_steps=1,
            align__paper__validation_steps=steps,
        ),
        "captions",
    )  # fmt: skip
    with chdir(scratch / "captions"):
        encoding.run(params)
        Live.records.clear()
        stage.run(params)
        shutil.rmtree("artifacts")
    pairs = logged("samples_per_second")
    return {"pairs_per_second": pairs, "steps_per_second": pairs / size.align_batch,
            "batch": size.align_batch}  # fmt: skip


def logged(name: str) -> float:
    """Returns the median of a value that a stage logged, without its first steps."""
    values = [value for _, _, key, value in Live.records if key == name]
    return statistics.median(values[2:] or values)


def train(
    scratch: Path, size: Size, *, quantization: str, checkpointing: bool | int
) -> dict[str, Any]:
    """The stage `vlm_qa` at full size: tokens/s, MFU and peak memory."""
    import torch

    from edge_glass.training.stages import vlm_qa as stage

    if not (scratch / "large").exists():
        write_qwen(scratch / "large", size.large, size.device)
    changes: dict[str, Any] = {"decoders__qwen2_5_7b__gradient_checkpointing": checkpointing}
    if quantization == "4bit":  # the documented recipe for a card of 24 GB: two images at once
        changes |= {
            "decoders__qwen2_5_7b__quantization": "4bit",
            "launch": "ddp", "launches__ddp__num_processes": 1,
            "vlm_qa__paper__num_microbatches": size.batch_size // max(1, size.microbatch // 4),
            # its peak counts too
            "vlm_qa__paper__validation_steps": size.steps,
            "vlm_qa__paper__validation_questions": 2 * size.microbatch,
            "vlm_qa__paper__max_new_tokens": 8,
        }  # fmt: skip
    params = load(scratch, size, **changes)
    if size.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with chdir(scratch / "questions"):
        Live.records.clear()
        stage.run(params)
    tokens, images = logged("tokens_per_second"), logged("samples_per_second")
    visual = (size.image_size // 14) ** 2
    positions = tokens + images * visual
    found = {
        "text_tokens_per_second": tokens, "images_per_second": images,
        "questions_per_second": 5 * images, "positions_per_second": positions,
        "peak_gb": max(value for _, _, key, value in Live.records if key == "peak_memory_gb"),
    }  # fmt: skip
    found |= model_flops(size, positions)
    return found


def model_flops(size: Size, positions: float) -> dict[str, Any]:
    """Returns MFU by 6N, the usual formula of full training, and by 4N, of a frozen base."""
    import torch

    from edge_glass.training.plan.hardware import CARDS

    q = size.large
    width, head = q["hidden_size"], q["hidden_size"] // q["num_attention_heads"]
    attention = 2 * width * width + 2 * width * head * q["num_key_value_heads"]
    layer = attention + 3 * width * q["intermediate_size"]
    number = q["num_hidden_layers"] * layer + q["vocab_size"] * width
    found: dict[str, Any] = {"parameters": number}
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    peak = next((rate for card, (rate, _) in CARDS.items() if card in name), None)
    for factor in (6, 4):
        used = factor * number * positions / 1e12
        found[f"mfu_{factor}n"] = used / peak if peak else None
    return found
