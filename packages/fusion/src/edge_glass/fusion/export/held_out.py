"""Images, captions and questions that an exported model is compared on.

They come from the validation splits of the prepared data.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from edge_glass.encoders.images import decode_image, to_rgb

MAX_IMAGES, NUM_QUESTIONS = 1000, 300
TYPES = {
    "image": pa.int64(),
    "bytes": pa.binary(),
    "canonical_caption": pa.string(),
    "group": pa.string(),
    "question": pa.string(),
}


@dataclass(frozen=True, kw_only=True)
class CaptionedImages:
    """Images with the caption of their group.

    Attributes:
        images: content of the files.
        groups: one per image: the number of its caption.
        captions: one per group.
    """

    images: list[bytes]
    groups: list[int]
    captions: list[str]


@dataclass(frozen=True, kw_only=True)
class AskedImages:
    """Questions, each about one image.

    Attributes:
        images: content of the files, one per question.
        questions: as many.
    """

    images: list[bytes]
    questions: list[str]


def open_image(content: bytes) -> Image.Image:
    """Decodes an image of the prepared data to upright RGB."""
    return to_rgb(decode_image(content))


def captioned_images(data: Path) -> CaptionedImages:
    """Reads at most `MAX_IMAGES` images of the validation splits, spread over all of them."""
    numbers: dict[str, int] = {}
    captions: list[str] = []
    found: list[tuple[bytes, int]] = []
    for split in _held_out(data, "captions"):
        contents = _contents(data, "captions", split)
        for row in _rows(data, "captions", split, ["image", "group", "canonical_caption"]):
            name = f"{split} {row['group']}"
            if name not in numbers:
                numbers[name] = len(numbers)
                captions.append(row["canonical_caption"])
            found.append(
                (_content(contents, row["image"], data / "captions" / split), numbers[name])
            )
    if not found:
        raise ValueError(f"the validation splits of {data / 'captions'} are empty; {REMEDY}")
    chosen = spread(found, MAX_IMAGES)
    return CaptionedImages(
        images=[content for content, _ in chosen],
        groups=[group for _, group in chosen],
        captions=captions,
    )


def asked_images(data: Path) -> AskedImages:
    """Reads `NUM_QUESTIONS` questions of the validation splits.

    All questions about an image are taken, of images that are spread over the splits.
    """
    images: list[bytes] = []
    questions: list[str] = []
    splits = _held_out(data, "questions")
    for number, split in enumerate(splits, start=1):
        contents = _contents(data, "questions", split)
        by_image: dict[int, list[str]] = {}
        for row in _rows(data, "questions", split, ["image", "question"]):
            by_image.setdefault(row["image"], []).append(row["question"])
        wanted = NUM_QUESTIONS * number // len(splits)
        if not by_image:
            continue
        mean = sum(map(len, by_image.values())) / len(by_image)
        for image in spread(list(by_image), math.ceil((wanted - len(questions)) / mean)):
            asked = by_image[image][: wanted - len(questions)]
            content = _content(contents, image, data / "questions" / split)
            images += [content] * len(asked)
            questions += asked
    if not questions:
        raise ValueError(f"the validation splits of {data / 'questions'} are empty; {REMEDY}")
    return AskedImages(images=images, questions=questions)


def spread(items: Sequence[Any], number: int) -> list[Any]:
    """Returns at most `number` of the items, evenly spaced."""
    if len(items) <= number:
        return list(items)
    return [items[at * len(items) // number] for at in range(number)]


REMEDY = "run the stage prepare, or give the folder that it wrote with --data"


def _held_out(data: Path, subset: str) -> list[str]:
    names = sorted(path.name for path in (data / subset).glob("val*.rows.parquet"))
    if not names:
        raise FileNotFoundError(
            f"{data / subset} holds no validation split to compare the exported model on; {REMEDY}"
        )
    return [name.removesuffix(".rows.parquet") for name in names]


def _rows(data: Path, subset: str, split: str, columns: list[str]) -> list[dict[str, Any]]:
    table = _read(data / subset / f"{split}.rows.parquet", columns)
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def _contents(data: Path, subset: str, split: str) -> Any:
    return _read(data / subset / f"{split}.images.parquet", ["bytes"])["bytes"]


def _content(contents: Any, image: int, split: Path) -> Any:
    if not 0 <= image < len(contents):
        raise ValueError(f"{split}: a row has image {image} of {len(contents)}; {REMEDY}")
    return contents[image].as_py()


def _read(path: Path, columns: list[str]) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; {REMEDY}")
    try:
        table = pq.read_table(path, columns=columns)
        for name in columns:
            if table[name].type != TYPES[name] or table[name].null_count:
                number = table[name].null_count
                raise pa.ArrowInvalid(f"{name} has type {table[name].type} and {number} nulls")
    except (KeyError, pa.ArrowInvalid) as error:  # broken, or without one of the columns
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path} is not of this version's prepare ({reason}); {REMEDY}") from error
    return table
