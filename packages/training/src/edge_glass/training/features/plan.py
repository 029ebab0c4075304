"""The plan of the feature cache: its arrays, and the tasks that make their shards."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pyarrow.parquet as pq

from edge_glass.encoders.components import Component
from edge_glass.training.features.encoding import (
    FrozenEncoder,
    ShardTask,
    open_text_encoder,
    open_vision_encoder,
)
from edge_glass.training.features.shards import ShardEntry, ShardIndex, shard_sizes
from edge_glass.training.features.shared_array import find_places, own_rows, write_places
from edge_glass.training.folders import PREPARED

if TYPE_CHECKING:
    from edge_glass.training.params import Params


@dataclass(frozen=True, kw_only=True)
class ArrayPlan:
    """One array of the cache: its index file, its shape, and the tasks that make its shards."""

    path: Path
    shape: tuple[int, ...]
    rows_per_shard: int
    tasks: list[ShardTask]

    def write_index(self) -> None:
        """Writes the index of the array, once all shards exist."""
        ShardIndex(
            shape=self.shape,
            dtype=self.tasks[0].dtype,
            rows_per_shard=self.rows_per_shard,
            shards=tuple(entry for task in self.tasks if (entry := finished_shard(task))),
        ).save(self.path)


@dataclass(frozen=True, kw_only=True)
class ImagePlan:
    """The images of one sub-set: one array (M, P, D) per split.

    Attributes:
        arrays: in the order of `splits`.
        shared: how many images have the features of a different sub-set.
        grid: rows and columns of the P patches.
        width: D.
    """

    splits: list[str]
    arrays: list[ArrayPlan]
    grid: tuple[int, int]
    width: int
    shared: int


@dataclass(frozen=True, kw_only=True)
class Planner:
    """Plans the arrays of one start of the stage.

    Attributes:
        work: the folder of unfinished work.
        quiet: shards are encoded without a progress bar of their own.
        start: random per start; a cache key that keeps long-lived workers from reusing a model of
            an earlier start.
    """

    params: Params
    work: Path
    quiet: bool
    start: str = field(default_factory=lambda: secrets.token_hex(8))

    def text_encoder(self) -> FrozenEncoder:
        """Returns the chosen text encoder."""
        return self._encoder(self.params.text_encoder)

    def images(self, subset: str, image_size: int, other: str | None = None) -> ImagePlan:
        """Plans the features of a sub-set's images, `image_size` pixels per side.

        Images that the sub-set `other` has too are not encoded again.
        """
        encoder = self._encoder(self.params.vision_encoder, image_size)
        vision = open_vision_encoder(encoder)
        paths = sorted((PREPARED / subset).glob("*.images.parquet"))
        splits = [path.name.removesuffix(".images.parquet") for path in paths]
        num_patches = vision.grid[0] * vision.grid[1]
        others = {
            f"{other}/{path.name.removesuffix('.images.parquet')}": path
            for path in sorted((PREPARED / other).glob("*.images.parquet") if other else ())
        }
        arrays = []
        shared = 0
        for split, path in zip(splits, paths, strict=True):
            folder, rows = self.features / subset / split, None
            number = pq.read_metadata(path).num_rows
            places = find_places(path, others, self.params.encode.batch_size) if others else None
            if places is not None:
                write_places(folder, list(others), places)
                rows = own_rows(places)
                shared += number - len(rows)
            arrays.append(
                self._array(
                    "vision",
                    encoder,
                    source=path,
                    shape=(number if rows is None else len(rows), num_patches, vision.width),
                    rows_per_shard=self.params.encode.rows_per_shard,
                    folder=folder,
                    rows=rows,
                )
            )
        return ImagePlan(
            splits=splits, arrays=arrays, grid=vision.grid, width=vision.width, shared=shared
        )

    def texts(self, split: str, number: int) -> ArrayPlan:
        """Plans the features of a split's distinct texts, which lie in its `texts.json`."""
        encoder = self.text_encoder()
        folder = self.features / "captions" / split
        return self._array(
            "text",
            encoder,
            source=folder / "texts.json",
            shape=(number, open_text_encoder(encoder).width),
            rows_per_shard=self.params.encode.texts_per_shard,
            folder=folder,
        )

    def class_texts(self) -> list[str]:
        """Returns the distinct texts of the vision encoder's classes, sorted; none without one."""
        if not self.params.encode.classifier_texts:
            return []
        size = self.params.encode.caption_image_size
        encoder = open_vision_encoder(self._encoder(self.params.vision_encoder, size))
        rows = encoder.classifier_rows()
        return [] if rows is None else sorted({text for each in rows.texts for text in each})

    @property
    def features(self) -> Path:
        """The folder that becomes the cache."""
        return self.work / "features"

    def _encoder(self, choice: Component, image_size: int = 0) -> FrozenEncoder:
        return FrozenEncoder(
            component=choice,
            device=self.params.device,
            num_threads=self.params.num_threads,
            reproducibility=self.params.reproducibility,
            start=self.start,
            image_size=image_size,
            pool=self.params.encode.pool if image_size else "none",
        )

    def _array(
        self,
        kind: Literal["vision", "text"],
        encoder: FrozenEncoder,
        *,
        source: Path,
        shape: tuple[int, ...],
        rows_per_shard: int,
        folder: Path,
        rows: list[int] | None = None,
    ) -> ArrayPlan:
        """Divides an array into shards of whole rows; `rows` are its rows in the source."""
        config = self.params.encode
        entries = self.work / "whole" / folder.parent.name / folder.name
        tasks = [
            ShardTask(
                kind=kind,
                encoder=encoder,
                source=source.resolve(),
                first=number * rows_per_shard,
                rows=None if rows is None else tuple(rows[number * rows_per_shard :][:size]),
                shape=(size, *shape[1:]),
                batch_size=config.batch_size,
                num_workers=config.num_workers,
                dtype=config.dtype if kind == "vision" else "float32",
                path=folder / f"{kind}-{number:05d}.npy",
                entry=entries / f"{kind}-{number:05d}.json",
                scratch=self.work / "scratch",
                quiet=self.quiet,
            )
            for number, size in enumerate(shard_sizes(shape[0], rows_per_shard))
        ]
        return ArrayPlan(
            path=folder / f"{kind}.json", shape=shape, rows_per_shard=rows_per_shard, tasks=tasks
        )


def finished_shard(task: ShardTask) -> ShardEntry | None:
    """Returns the entry of a shard that an earlier start has written, None if it has not."""
    if not task.entry.is_file():
        return None
    entry = ShardEntry(**json.loads(task.entry.read_text()))
    finished = task.path.is_file() and task.path.stat().st_size == entry.bytes
    return entry if finished else None
