"""Which images and texts are kept for training, and the reason for each one that is dropped.

Worker processes import this file, so it imports little: their start takes as long as its imports.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edge_glass.encoders.images import BadImageError, decode_image, to_rgb
from edge_glass.encoders.limits import check_at_least
from edge_glass.training.parquet.visible_text import is_invisible
from edge_glass.training.prepare.perceptual_hash import perceptual_hash
from edge_glass.training.prepare.splits import check_shares

MAX_DISTANCE = 16  # of 64 bits; at 32, half of all pairs of images would be alike


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """What `prepare` keeps.

    Attributes:
        min_side: images with a side of fewer pixels are dropped.
        max_aspect: images with long side / short side above this are dropped.
        max_caption_length: captions, questions and answers with more characters are dropped, never
            cut.
        shares: from a split name to its share of the images, used if the data have no splits.
        near_duplicates: images that look like an earlier one are kept, dropped if the earlier one
            is in a different split, or dropped in any case.
        near_duplicate_distance: the largest number of different bits of the perceptual hash; None
            does not search near-duplicates.
        num_workers: processes that decode and check; 1 works in this process. The number changes
            no byte.
    """

    min_side: int
    max_aspect: float
    max_caption_length: int
    shares: dict[str, float]
    near_duplicates: Literal["keep", "drop_across_splits", "drop"] = "keep"
    near_duplicate_distance: int | None = 4
    num_workers: int = 1

    def __post_init__(self) -> None:
        check_at_least(self, 1, "min_side", "max_aspect", "max_caption_length", "num_workers")
        check_shares(self.shares)
        if not self.shares.get("train"):
            raise ValueError(f"shares are {self.shares}, expected one above 0 for train")
        distance = self.near_duplicate_distance
        if distance is None and self.near_duplicates != "keep":
            raise ValueError(
                f"near_duplicates is {self.near_duplicates!r}, which needs a "
                "near_duplicate_distance; found null"
            )
        if distance is not None and not 0 <= distance <= MAX_DISTANCE:
            raise ValueError(
                f"near_duplicate_distance is {distance}, expected 0 to {MAX_DISTANCE} or null"
            )


def text_problem(name: str, text: str | None, max_length: int) -> str | None:
    """Returns why a text is dropped, or None.

    The reasons are "empty_NAME", "whitespace_NAME", "nul_character", "invisible_NAME" and
    "long_NAME".
    """
    if not text:
        return f"empty_{name}"
    if not text.strip():
        return f"whitespace_{name}"
    if "\0" in text:
        return "nul_character"
    if is_invisible(text):
        return f"invisible_{name}"
    if len(text) > max_length:
        return f"long_{name}"
    return None


def image_hash(data: bytes | None, config: PrepareConfig) -> int:
    """Decodes an image completely; returns its perceptual hash, or 0 if the hash is not needed.

    Raises:
        BadImageError: a reason of `decode_image`, "unsupported_mode", "extreme_aspect" or
            "too_small".
    """
    image = decode_image(data)
    _check_shape(image.size, config)
    if image.mode not in ("L", "RGB"):
        to_rgb(image)  # as `encode` does, which must not fail
    return 0 if config.near_duplicate_distance is None else perceptual_hash(image)


def _check_shape(size: tuple[int, int], config: PrepareConfig) -> None:
    short, long = sorted(size)
    if long > config.max_aspect * short:
        detail = f"{size[0]} x {size[1]}, max_aspect is {config.max_aspect}"
        raise BadImageError("extreme_aspect", detail)
    if short < config.min_side:
        raise BadImageError("too_small", f"{size[0]} x {size[1]}, min_side is {config.min_side}")
