"""Prepared data of a few random images, as the stage `prepare` writes them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
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
    """One validation split of captions and one of questions."""
    return write_prepared(tmp_path / "prepared")


@pytest.fixture(scope="session")
def exported_align(dual_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of a dual encoder in fp32, with its parity report."""
    return write_export(dual_folder, tmp_path_factory.mktemp("align"))


@pytest.fixture(scope="session")
def exported_vlm(vlm_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of a vision-language model in fp32."""
    from edge_glass.fusion.vlm import VisionLanguageModel

    model, root = VisionLanguageModel.from_pretrained(vlm_folder), tmp_path_factory.mktemp("vlm")
    torch.manual_seed(2)  # answers have words, and differ by question
    for weight in (each for each in model.parameters() if each.requires_grad and each.ndim > 1):
        torch.nn.init.normal_(weight, std=0.1)  # logits of a trained model's scale
    model.save_pretrained(root / "model")
    return write_export(root / "model", root)


def write_export(model: Path, root: Path) -> Path:
    from edge_glass.fusion.export.formats import export_model

    data = write_prepared(root / "prepared")
    export_model("onnx", model, root / "out", data=data, precisions=["fp32"])
    return root / "out"


def write_prepared(root: Path) -> Path:
    """Writes one validation split of captions and one of questions into a folder."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def write(subset: str, rows: list[dict[str, Any]]) -> None:
        images = [{"image_id": str(at), "bytes": image_bytes(at)} for at in range(NUM_IMAGES)]
        folder = root / subset
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
    return root
