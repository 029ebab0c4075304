"""One shard of features, computed from prepared rows by this process or by a worker.

The result is a pure function of the task: the encoder's config, and the rows by file and number.
Which process runs a task, and how often, changes nothing.
"""

from __future__ import annotations

import dataclasses
import json
import os
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge_glass.encoders.base import TextEncoder, VisionEncoder
from edge_glass.encoders.components import Component
from edge_glass.encoders.device import place_model
from edge_glass.encoders.files import DataError, write_json
from edge_glass.encoders.images import BadImageError, decode_image, to_rgb
from edge_glass.encoders.towers.grid_average import with_grid
from edge_glass.encoders.towers.preprocessing import ImageTransform
from edge_glass.training.engine.allocator import keep_freed_memory
from edge_glass.training.engine.determinism import environment, make_deterministic
from edge_glass.training.features.config import Pool, pooled_grid
from edge_glass.training.features.gpu_encoder import GpuEncoder
from edge_glass.training.features.shards import ShardEntry, write_shard
from edge_glass.training.runtime.executor import SerialExecutor, ordered_map
from edge_glass.training.runtime.progress import progress
from edge_glass.training.runtime.worker import own_device

# a process shares its torch threads and the memory of its encoders: one shard at a time
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class FrozenEncoder:
    """An encoder that any process can build; equal ones are built once per process.

    Attributes:
        component: the encoder's name and config.
        device, num_threads, reproducibility: as in params.yaml.
        image_size: pixels per side; a text encoder ignores it.
        pool: all patches of the encoder ("none"), their mean, or the means of a coarser grid.
        start: random per start; a cache key that keeps long-lived workers from reusing a model of
            an earlier start.
    """

    component: Component
    device: str
    num_threads: int
    reproducibility: str
    start: str
    image_size: int = 0
    pool: Pool = "none"


@dataclass(frozen=True, kw_only=True)
class ShardTask:
    """The rows of a shard, their encoder, and the files to write.

    Attributes:
        kind: "vision" or "text"; also the name of the array.
        source: the prepared images (Parquet) or the distinct texts (JSON).
        first: the shard's first row in the source.
        rows: the shard's rows in the source, None for all from `first` on.
        entry: of the file that marks the shard as finished.
        num_workers: threads that decode images ahead.
        scratch: a folder on the same disk.
        quiet: shows no progress bar.
    """

    kind: Literal["vision", "text"]
    encoder: FrozenEncoder
    source: Path
    first: int
    rows: tuple[int, ...] | None
    shape: tuple[int, ...]
    batch_size: int
    num_workers: int
    dtype: str
    path: Path
    entry: Path
    scratch: Path
    quiet: bool


def encode_shard(task: ShardTask) -> ShardEntry:
    """Encodes and writes one shard."""
    if not task.source.is_file():
        raise DataError(
            f"{task.source}: process {os.getpid()} does not see this file: the project's folder "
            "must have the same path on every machine"
        )
    # closed here: it holds the lock while it is open
    with closing(_images(task) if task.kind == "vision" else _texts(task)) as parts:
        entry = write_shard(task.path, task.scratch, task.shape, task.dtype, parts)
    write_json(task.entry, dataclasses.asdict(entry))
    return entry


def apply_settings(encoder: FrozenEncoder) -> None:
    """Applies the settings that bytes depend on to this process."""
    make_deterministic(encoder.num_threads, encoder.reproducibility)
    keep_freed_memory()
    wanted = environment(encoder.reproducibility)
    found = {name: os.environ.get(name) for name in wanted}
    if encoder.reproducibility == "portable" and found != wanted:
        raise RuntimeError(
            f"reproducibility is portable, but this process started with {found}: start it with "
            + " ".join(f"{name}={value}" for name, value in wanted.items())
        )


@lru_cache(maxsize=2)  # of captions and of questions
def open_vision_encoder(encoder: FrozenEncoder) -> VisionEncoder:
    """Builds a vision encoder, once per process."""
    built: VisionEncoder = encoder.component.config.build(image_size=encoder.image_size)
    placed = with_grid(built, pooled_grid(built.grid, encoder.pool))
    return place_model(placed, own_device(encoder.device))


@lru_cache(maxsize=2)
def open_gpu_encoder(encoder: FrozenEncoder, batch_size: int, dtype: str) -> GpuEncoder:
    """Returns a vision encoder that a GPU runs batch by batch."""
    return GpuEncoder(open_vision_encoder(encoder), batch_size, getattr(torch, dtype))


@lru_cache(maxsize=1)
def open_text_encoder(encoder: FrozenEncoder) -> TextEncoder:
    """Builds a text encoder, once per process."""
    built: TextEncoder = encoder.component.config.build()
    return place_model(built, own_device(encoder.device))


def close_encoders() -> None:
    """Frees the encoders of this process."""
    open_gpu_encoder.cache_clear()
    open_vision_encoder.cache_clear()
    open_text_encoder.cache_clear()


def _images(task: ShardTask) -> Generator[NDArray[Any]]:
    with _ONE_AT_A_TIME:
        apply_settings(task.encoder)
        encoder = open_vision_encoder(task.encoder)
    device = next(encoder.parameters()).device
    on_gpu = device.type == "cuda"
    if on_gpu:  # it is chosen per thread
        torch.cuda.set_device(device)
    chosen = task.rows or range(task.first, task.first + task.shape[0])
    read = image_batches(task.source, chosen[0], chosen[-1] + 1 - chosen[0], task.batch_size)
    every, kept = enumerate(chain.from_iterable(read), chosen[0]), set(chosen)
    images = (each for each in every if each[0] in kept)
    number = task.num_workers
    with ThreadPoolExecutor(number) if number else SerialExecutor() as executor:
        # besides the batch that is encoded, pixels of at most two more are in memory
        decoded = ordered_map(
            partial(_pixels, task, encoder.transform, on_gpu),
            images,
            executor,
            in_flight=2 * task.batch_size,
        )
        batches = iter(lambda: list(islice(decoded, task.batch_size)), [])
        # decoded while a different thread still encodes the shard before
        batches = chain(list(islice(batches, 1)), batches)
        if not task.quiet:
            batches = progress(
                batches,
                f"encode {task.path.parent.name} {task.path.name}",
                total=-(-task.shape[0] // task.batch_size),
            )
        with _ONE_AT_A_TIME:
            apply_settings(task.encoder)
            # a GPU begins with a batch before the batch before it is copied
            before: Callable[[], NDArray[Any]] | None = None
            for pixels in batches:
                with torch.inference_mode():
                    if on_gpu:
                        started = open_gpu_encoder(task.encoder, task.batch_size, task.dtype).start(
                            pixels
                        )
                    else:
                        started = encoder.encode(torch.stack(pixels)).numpy
                if before is not None:
                    yield before()
                before = started
            if before is not None:
                yield before()


def _pixels(
    task: ShardTask, transform: ImageTransform, as_bytes: bool, image: tuple[int, bytes]
) -> Tensor:
    """Returns the input of the encoder, or a square that a GPU normalises."""
    row, data = image
    try:
        decoded = decode_image(data)
        if as_bytes and type(transform) is ImageTransform:
            return torch.from_numpy(transform.square(decoded))
        return transform(to_rgb(decoded))
    except BadImageError as error:
        raise DataError(
            f"{task.source}, row {row}: {error}; `prepare` could use it, so this machine lacks a "
            "plug-in or has a different version of Pillow: install it, or run `prepare` here"
        ) from None


def _texts(task: ShardTask) -> Generator[NDArray[Any]]:
    texts = json.loads(task.source.read_text())[task.first : task.first + task.shape[0]]
    with _ONE_AT_A_TIME:
        apply_settings(task.encoder)
        with torch.inference_mode():
            found = open_text_encoder(task.encoder).encode(texts)
    yield found.float().cpu().numpy()


def image_batches(path: Path, first: int, rows: int, batch_size: int) -> Iterator[list[bytes]]:
    """Yields the bytes of `rows` images, from row `first` of a prepared file on, in batches."""
    with pq.ParquetFile(path) as file:
        groups: list[int] = []
        begin, skip = 0, first
        for number in range(file.num_row_groups):
            end = begin + file.metadata.row_group(number).num_rows
            if begin < first + rows and end > first:
                skip = skip if groups else first - begin
                groups.append(number)
            begin = end
        waiting: list[bytes] = []
        for batch in file.iter_batches(batch_size, row_groups=groups, columns=["bytes"]):
            column = batch.column("bytes").slice(min(skip, batch.num_rows))
            for data in column.to_pylist():
                waiting.append(data)
                rows -= 1
                if len(waiting) == batch_size or not rows:
                    yield waiting
                    waiting = []
                if not rows:
                    return
            skip = max(0, skip - batch.num_rows)
        if waiting:  # the file has fewer rows than before: the writer of the shard reports it
            yield waiting
