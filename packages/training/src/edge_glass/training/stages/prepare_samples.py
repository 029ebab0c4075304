"""Stage `prepare_samples`: a page of the prepared data, images as the vision encoder gets them.

It is a separate stage because the page depends on the encoder's preprocessing and the prepared data
do not: for a different encoder only the page is drawn again, in seconds.
"""

from __future__ import annotations

import hashlib
import heapq
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from edge_glass.encoders.files import DataError, output_folder
from edge_glass.encoders.images import decode_image
from edge_glass.encoders.towers.preprocessing import ImageTransform
from edge_glass.fusion.sheets.sample_sheet import Sample, sample_sheet
from edge_glass.training.folders import PREPARED
from edge_glass.training.parquet.row_groups import open_row_groups
from edge_glass.training.parquet.row_reader import RowReader
from edge_glass.training.runtime.nothing_to_do import read_note
from edge_glass.training.runtime.progress import say

if TYPE_CHECKING:
    from edge_glass.training.params import Params

METRICS = Path("metrics/prepare.json")
PLOTS = Path("plots/prepare")
IMAGES = 12  # of all splits together, but at least MIN_IMAGES of each split
MIN_IMAGES = 2
TEXTS = {"captions": 3, "questions": 4}  # per image


def run(params: Params) -> None:
    """Runs the stage."""
    if not METRICS.is_file():
        raise DataError(f"{METRICS} is missing; run `dvc repro prepare` first")
    report = json.loads(METRICS.read_text())
    sizes = {
        "captions": params.encode.caption_image_size,
        "questions": params.encode.question_image_size,
    }
    sizes = {kind: size for kind, size in sizes.items() if read_note(PREPARED / kind) is None}
    with output_folder(PLOTS) as work:
        for kind, size in sizes.items():
            transform = params.vision_encoder.config.build(image_size=size).transform
            samples = []
            paths = sorted((PREPARED / kind).glob("*.images.parquet"))
            for path in paths:
                number = max(MIN_IMAGES, IMAGES // len(paths))
                samples += split_samples(path, kind, transform, seed=params.seed, number=number)
            if not samples:
                raise DataError(f"{PREPARED / kind}: no images; run `dvc repro prepare` first")
            title = f"{kind.capitalize()}: pictures as {params.vision_encoder.name} gets them"
            title += f", {size} x {size} pixels"
            sample_sheet(work / f"{kind}.png", samples, title, notes(report, kind))
    say(f"prepare_samples: {', '.join(f'{PLOTS}/{kind}.png' for kind in sizes)}")


def split_samples(
    path: Path, kind: str, transform: ImageTransform, *, seed: int, number: int
) -> list[Sample]:
    """Returns the samples of one split, given the file of its images.

    An image is drawn by the seed and its identity: the same ones as long as they exist.
    """
    split = path.name.removesuffix(".images.parquet")
    chosen = choose_images(path, seed=seed, number=number)
    texts = texts_of_images(path.with_name(f"{split}.rows.parquet"), kind, list(chosen))
    samples = []
    for row, data in chosen.items():
        image = decode_image(data)
        about = f"{image.width} x {image.height} {image.format}, {len(data) / 1000:,.1f} kB"
        found = texts[row]
        more = f"; {len(found)} texts" if len(found) > TEXTS[kind] else ""
        samples.append(
            Sample(
                image=as_seen(image, transform),
                note=f"{split}, picture {row}: {about}{more}",
                texts=found[: TEXTS[kind]],
            )
        )
    return samples


def choose_images(path: Path, *, seed: int, number: int) -> dict[int, bytes]:
    """Draws images of a file by their identities; row number to bytes, in ascending order."""
    draws: list[tuple[str, int]] = []
    first = 0
    for batch in pq.ParquetFile(path).iter_batches(columns=["image_id"]):
        for offset, identity in enumerate(batch.column("image_id").to_pylist()):
            draw = hashlib.sha256(f"{seed}/sample/{identity}".encode()).hexdigest()
            draws.append((draw, first + offset))
        draws = heapq.nsmallest(number, draws)
        first += batch.num_rows
    index = open_row_groups(path)
    reader = RowReader(index, ["bytes"])
    chosen = {}
    for drawn in sorted(drawn for _, drawn in draws):
        group = int(np.searchsorted(index.starts, drawn, side="right")) - 1
        (row,) = reader.read(group, np.array([drawn - index.starts[group]]))
        chosen[drawn] = row["bytes"]
    return chosen


def texts_of_images(path: Path, kind: str, numbers: list[int]) -> dict[int, list[tuple[str, str]]]:
    """Returns the texts of some images of a split, as `Sample` has them."""
    wanted = pa.array(numbers, pa.int64())
    found: dict[int, list[tuple[str, str]]] = {number: [] for number in numbers}
    for batch in pq.ParquetFile(path).iter_batches():
        for row in batch.filter(pc.is_in(batch.column("image"), wanted)).to_pylist():
            found[row["image"]] += _texts(kind, row)
    return found


def _texts(kind: str, row: dict[str, Any]) -> list[tuple[str, str]]:
    if kind == "questions":
        return [(row["question"], row["answer"])]
    said = [(f"“{text}”", "") for text in row["transcripts"]]
    return [(row["caption"], ""), *said]


def as_seen(image: Image.Image, transform: ImageTransform) -> Image.Image:
    """Returns a preprocessed image with its normalisation undone."""
    pixels = transform(image).numpy().transpose(1, 2, 0)  # (H, W, 3)
    levels = (pixels * np.array(transform.std) + np.array(transform.mean)) * 255
    return Image.fromarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8))


def notes(report: dict[str, Any], kind: str) -> list[str]:
    """Returns the counts of `prepare` as lines of text."""
    own = report[kind]
    kept = (
        f"{split} {rows:,} ({own['images_kept'][split]:,} pictures)"
        for split, rows in own["rows_kept"].items()
    )
    dropped = (f"{reason} {count:,}" for reason, count in own["dropped"].items())
    lines = [
        f"Read: {own['texts_read']:,}. Kept: {', '.join(kept)}.",
        f"Dropped: {', '.join(dropped) or 'none'}.",
    ]
    alike = report["near_duplicates"]
    about = f"Pictures in two splits, of all sub-sets: {report['leaks']}."
    if alike is not None:
        across = sum(alike["across_splits"].values())
        about += (
            f" Pictures that look like another (up to {alike['distance']} of 64 bits differ): "
            f"{alike['pictures']:,}; like one of another split: {across:,}."
        )
    return [*lines, about]
