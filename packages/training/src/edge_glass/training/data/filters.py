"""Which rows training may see, and the reason for each one dropped."""

from __future__ import annotations

from typing import Any

from edge_glass.training.config import PrepareConfig
from edge_glass.training.data.images import BadImage, check_shape, decode_image

TEXTS = {"captions": ("caption",), "questions": ("question", "answer")}


def text_problem(row: dict[str, Any], subset: str, config: PrepareConfig) -> str | None:
    """Returns why a row's texts can't be used, or None."""
    for column in TEXTS[subset]:
        text = row[column]
        if not text:
            return f"empty_{column}"
        if not text.strip():
            return f"whitespace_{column}"
        if len(text) > config.max_caption_length:
            return f"long_{column}"
    return None


def image_problem(data: bytes | None, config: PrepareConfig) -> str | None:
    """Returns why a picture can't be used, or None."""
    try:
        image = decode_image(data)
        check_shape(image, min_side=config.min_side, max_aspect=config.max_aspect)
    except BadImage as error:
        return error.reason
    return None
