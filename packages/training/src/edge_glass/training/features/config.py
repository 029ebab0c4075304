"""How the frozen encoders run, once over every image and text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edge_glass.encoders.limits import MAX_IMAGE_SIZE, check_at_least, check_between

Pool = Literal["none", "mean"] | int


@dataclass(frozen=True, kw_only=True)
class EncodeConfig:
    """How the frozen encoders run.

    Attributes:
        caption_image_size: pixels per side of the images with captions.
        question_image_size: pixels per side of the images with questions.
        batch_size: images per forward pass.
        dtype: of the cached visual features.
        rows_per_shard: images per file of the cache, a multiple of `batch_size`; a kill loses the
            work on one file at most.
        texts_per_shard: distinct captions per file; they are encoded in one call.
        num_workers: threads of each process that decode images ahead of the encoder; 0 decodes
            between two forward passes. Any number gives the same bytes.
        pool: "none" keeps all patches of an image, "mean" one token per image, a number K the means
            over a grid of K x K parts.
        classifier_texts: also encodes the texts of the classes that the vision encoder was trained
            to tell apart, if it has a classifier; `align` needs them to recycle its rows.
    """

    caption_image_size: int
    question_image_size: int
    batch_size: int
    dtype: Literal["float16", "float32"]
    rows_per_shard: int
    texts_per_shard: int = 65536
    num_workers: int = 0
    pool: Pool = "none"
    classifier_texts: bool = False

    def __post_init__(self) -> None:
        check_between(self, 1, MAX_IMAGE_SIZE, "caption_image_size", "question_image_size")
        check_at_least(self, 1, "batch_size", "rows_per_shard", "texts_per_shard")
        check_at_least(self, 0, "num_workers")
        if self.rows_per_shard % self.batch_size:
            below = max(1, self.rows_per_shard // self.batch_size) * self.batch_size
            raise ValueError(
                f"rows_per_shard is {self.rows_per_shard}, expected a multiple of batch_size "
                f"{self.batch_size}, such as {below}: the batch size changes last bits"
            )
        if isinstance(self.pool, int) and not 1 <= self.pool <= MAX_IMAGE_SIZE:
            raise ValueError(f"pool is {self.pool}, expected none, mean or tokens per side")


def pooled_grid(grid: tuple[int, int], pool: Pool) -> tuple[int, int]:
    """Returns the rows and columns of tokens that remain of the encoder's `grid`."""
    if pool == "none":
        return grid
    side = 1 if pool == "mean" else pool
    return side, side
