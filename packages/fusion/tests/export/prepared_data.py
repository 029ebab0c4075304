"""Prepared data of a few random images, as the stage `prepare` writes them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

QUESTIONS = ("how many dogs are there?", "where is the cat?", "what colour is it?")


def image_bytes(seed: int) -> bytes:
    """A PNG of random blocks, wider than high."""
    blocks = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    image = Image.fromarray(blocks).resize((70, 50), Image.Resampling.NEAREST)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def write_prepared(folder: Path, num_images: int = 4) -> Path:
    """Writes one validation split of captions and one of questions."""
    images = [{"image_id": str(seed), "bytes": image_bytes(seed)} for seed in range(num_images)]
    captions = [
        {"image": at, "group": f"group {at // 2}", "canonical_caption": f"the thing {at // 2}"}
        for at in range(num_images)
    ]
    questions = [
        {"image": at, "question": question} for at in range(num_images) for question in QUESTIONS
    ]
    for subset, rows in (("captions", captions), ("questions", questions)):
        (folder / subset).mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(images), folder / subset / "val_a.images.parquet")
        pq.write_table(pa.Table.from_pylist(rows), folder / subset / "val_a.rows.parquet")
    return folder
