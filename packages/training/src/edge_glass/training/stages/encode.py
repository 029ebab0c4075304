"""Stage `encode`: the frozen encoders run once over every picture and text.

The cache is made in shards under `artifacts/state/encode`, each by a pure function of its task, in
this process or wherever the executor runs it. A restart skips the shards that are whole, and the
cache appears under `artifacts/features` when all are there.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import secrets
import shutil
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pyarrow.parquet as pq

from edge_glass.encoders.components import Component
from edge_glass.encoders.files import replace_folder, sync_tree, write_json
from edge_glass.training.engine.fingerprint import fingerprint
from edge_glass.training.features.cache import FeatureIndex
from edge_glass.training.features.config import EncodeConfig
from edge_glass.training.features.encoding import (
    FrozenEncoder,
    ShardTask,
    close_encoders,
    encode_shard,
    open_text_encoder,
    open_vision_encoder,
    settle,
)
from edge_glass.training.features.shards import (
    ShardEntry,
    ShardIndex,
    check_size,
    shard_bytes,
    shard_sizes,
)
from edge_glass.training.folders import FEATURES, PREPARED, STATE
from edge_glass.training.runtime.executor import SerialExecutor, is_serial
from edge_glass.training.runtime.progress import progress, say

if TYPE_CHECKING:
    from edge_glass.training.params import Params

METRICS = Path("metrics/encode.json")
FINGERPRINT = (
    "data_name", "num_threads", "reproducibility", "device", "vision_encoder", "text_encoder",
    "encode",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArrayPlan:
    """One array of the cache: where its index goes, its shape, and what makes its shards."""

    path: Path
    shape: tuple[int, ...]
    rows_per_shard: int
    tasks: list[ShardTask]


def run(params: Params, executor: Executor | None = None) -> None:
    """Runs the stage.

    Args:
        params: the configuration.
        executor: what runs the shards, see `engine/executor.py`; this process where None.

    Raises:
        DataError: where a prepared file is not what it was, or is not seen by a worker.
        OSError: where the disk has no room.
    """
    executor = executor or SerialExecutor()
    quiet = not is_serial(executor)
    config, work = params.encode, _work_folder(params)
    sizes = {"captions": config.caption_image_size, "questions": config.question_image_size}
    start = secrets.token_hex(8)
    text_encoder = _frozen(params, params.text_encoder, start)
    settle(text_encoder)

    # what is to be written, and whether there is room for it
    plans: list[ArrayPlan] = []
    grids: dict[str, tuple[int, int]] = {}
    splits: dict[str, list[str]] = {}
    for subset, size in sizes.items():
        encoder = _frozen(params, params.vision_encoder, start, size)
        vision = open_vision_encoder(encoder)
        grids[subset] = vision.grid
        paths = sorted((PREPARED / subset).glob("*.images.parquet"))
        splits[subset] = [path.name.removesuffix(".images.parquet") for path in paths]
        places = vision.grid[0] * vision.grid[1]
        found = [
            _plan(
                "vision", encoder, path, (pq.read_metadata(path).num_rows, places, vision.width),
                config.rows_per_shard, config, work / "features" / subset / split, quiet,
            )
            for split, path in zip(splits[subset], paths, strict=True)
        ]  # fmt: skip
        announce(subset, found, vision.grid)
        plans += found
    texts = {split: write_texts(work, split) for split in splits["captions"]}
    text_width = open_text_encoder(text_encoder).width
    for split, distinct in texts.items():
        folder = work / "features" / "captions" / split
        plans.append(
            _plan(
                "text", text_encoder, folder / "texts.json", (len(distinct), text_width),
                config.texts_per_shard, config, folder, quiet,
            )
        )  # fmt: skip
    tasks = [task for plan in plans for task in plan.tasks if whole_shard(task) is None]
    done = sum(len(plan.tasks) for plan in plans) - len(tasks)
    if done:
        say(f"encode: {done} of {done + len(tasks)} shards are whole already, {len(tasks)} to do")
    check_room(work, sum(shard_bytes(task.shape, task.dtype) for task in tasks))

    # the work; in this process each shard has a bar of its own
    results = executor.map(encode_shard, tasks)
    if quiet:
        results = progress(results, "encode", total=len(tasks))
    for task, written in zip(tasks, results, strict=True):
        check_size(task.path.parent, written)  # as seen from here

    # the index, and the cache to its place
    for plan in plans:
        ShardIndex(
            shape=plan.shape,
            dtype=plan.tasks[0].dtype,
            rows_per_shard=plan.rows_per_shard,
            shards=tuple(entry for task in plan.tasks if (entry := whole_shard(task))),
        ).save(plan.path)
    index = FeatureIndex(
        vision_encoder=params.vision_encoder.name,
        text_encoder=params.text_encoder.name,
        vision_width=vision.width,
        text_width=text_width,
        grids=grids,
        image_sizes=sizes,
        splits=splits,
        texts_sha256={
            split: sha256_of(work / "features" / "captions" / split / "texts.json")
            for split in texts
        },
    )
    write_json(work / "features" / "index.json", dataclasses.asdict(index))
    encoder_of_texts = open_text_encoder(text_encoder)
    truncated = {split: encoder_of_texts.share_truncated(each) for split, each in texts.items()}
    close_encoders()
    sync_tree(work / "features")
    FEATURES.parent.mkdir(parents=True, exist_ok=True)
    replace_folder(work / "features", FEATURES)
    shutil.rmtree(work.parent)
    write_json(METRICS, {"share_of_texts_truncated": truncated})


def _work_folder(params: Params) -> Path:
    """Returns the folder of this configuration, code and data; those of others are removed.

    Its name is what it belongs to: a worker of an older start that is still at a shard can't put
    it into a newer one.
    """
    mark = fingerprint(params, *FINGERPRINT)
    for path in sorted(PREPARED.rglob("*.parquet")):  # what prepare wrote
        mark += f"\n{path.relative_to(PREPARED)} {path.stat().st_size} {path.stat().st_mtime_ns}"
    folder = (STATE / "encode").resolve() / hashlib.sha256(mark.encode()).hexdigest()[:16]
    (folder / "features").mkdir(parents=True, exist_ok=True)
    for other in folder.parent.iterdir():
        if other != folder:
            shutil.rmtree(other) if other.is_dir() else other.unlink()
    shutil.rmtree(folder / "scratch", ignore_errors=True)
    return folder


def _frozen(params: Params, choice: Component, start: str, image_size: int = 0) -> FrozenEncoder:
    return FrozenEncoder(
        component=choice,
        device=params.device,
        num_threads=params.num_threads,
        reproducibility=params.reproducibility,
        start=start,
        image_size=image_size,
        pool=params.encode.pool if image_size else "none",
    )


def _plan(
    kind: Literal["vision", "text"],
    encoder: FrozenEncoder,
    source: Path,
    shape: tuple[int, ...],
    rows_per_shard: int,
    config: EncodeConfig,
    folder: Path,
    quiet: bool,
) -> ArrayPlan:
    """Cuts an array in shards."""
    work = folder.parents[2]
    tasks = [
        ShardTask(
            kind=kind,
            encoder=encoder,
            source=source.resolve(),
            first=number * rows_per_shard,
            shape=(rows, *shape[1:]),
            batch_size=config.batch_size,
            dtype=config.dtype if kind == "vision" else "float32",
            path=folder / f"{kind}-{number:05d}.npy",
            entry=work / "whole" / folder.parent.name / folder.name / f"{kind}-{number:05d}.json",
            scratch=work / "scratch",
            quiet=quiet,
        )
        for number, rows in enumerate(shard_sizes(shape[0], rows_per_shard))
    ]
    return ArrayPlan(
        path=folder / f"{kind}.json", shape=shape, rows_per_shard=rows_per_shard, tasks=tasks
    )


def whole_shard(task: ShardTask) -> ShardEntry | None:
    """Returns the entry of a shard that an earlier start has written, None where there is none."""
    if not task.entry.is_file():
        return None
    entry = ShardEntry(**json.loads(task.entry.read_text()))
    there = task.path.is_file() and task.path.stat().st_size == entry.bytes
    return entry if there else None


def announce(subset: str, plans: list[ArrayPlan], grid: tuple[int, int]) -> None:
    """Says how large the cache will be before the work starts."""
    tasks = [task for plan in plans for task in plan.tasks]
    size = sum(shard_bytes(task.shape, task.dtype) for task in tasks)
    pictures = sum(plan.shape[0] for plan in plans)
    say(
        f"encode {subset}: {pictures} pictures x {grid[0]} x {grid[1]} places x "
        f"{plans[0].shape[2]} = {readable(size)} in {len(tasks)} shards"
    )


def check_room(work: Path, needed: int) -> None:
    """Checks that the shards still to be written have room on their disk.

    Raises:
        OSError: with what they need, what is free, and what to do.
    """
    free = shutil.disk_usage(work).free
    if needed > free:
        raise OSError(
            errno.ENOSPC,
            f"the features to be written take {readable(needed)}, and {readable(free)} are free "
            f"below {work}: free some space, keep fewer tokens (encode.pool: mean, or tokens a "
            "side), or put artifacts/ on a larger disk; a cache that lies in artifacts/features "
            "is replaced only at the end, and can be deleted before",
        )


def readable(size: int) -> str:
    """Returns a number of bytes as a person reads it."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"


def write_texts(work: Path, split: str) -> list[str]:
    """Writes and returns the distinct texts of a caption split, sorted."""
    texts: set[str] = set()
    path = PREPARED / "captions" / f"{split}.rows.parquet"
    columns = ["caption", "transcripts", "canonical_caption"]
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=columns):
            for row in batch.to_pylist():
                texts.update((row["caption"], *row["transcripts"], row["canonical_caption"]))
    ordered = sorted(texts)
    write_json(work / "features" / "captions" / split / "texts.json", ordered)
    return ordered


def sha256_of(path: Path) -> str:
    """Returns a file's checksum in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
