"""Prepared data of a few random images, as the stage `prepare` writes them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

QUESTIONS = ("how many dogs are there?", "where is the cat?", "what colour is it?")
NUM_IMAGES = 4


def image_bytes(seed: int) -> bytes:
    """A PNG of random blocks, wider than high."""
    blocks = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    image = Image.fromarray(blocks).resize((70, 50), Image.Resampling.NEAREST)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def prepared_data(tmp_path: Path) -> Path:
    """Writes one validation split of captions and one of questions."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def write(subset: str, rows: list[dict[str, Any]]) -> None:
        images = [{"image_id": str(at), "bytes": image_bytes(at)} for at in range(NUM_IMAGES)]
        folder = tmp_path / "prepared" / subset
        folder.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(images), folder / "val_a.images.parquet")
        pq.write_table(pa.Table.from_pylist(rows), folder / "val_a.rows.parquet")

    write(
        "captions",
        [
            {"image": at, "group": f"group {at // 2}", "canonical_caption": f"the thing {at // 2}"}
            for at in range(NUM_IMAGES)
        ],
    )
    write(
        "questions",
        [{"image": at, "question": asked} for at in range(NUM_IMAGES) for asked in QUESTIONS],
    )
    return tmp_path / "prepared"
