"""Notebooks and the libraries that they use, together: `edge_glass.tools` alone imports neither."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from edge_glass.tools.check import check_file
from edge_glass.tools.create.template import TemplateCell, assemble
from edge_glass.tools.notebook import parse_notebook
from edge_glass.tools.patch.collate.collate_patch import CollatePatch
from edge_glass.tools.patch.rewrite import rewrite_notebook

QUESTIONS = """
import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

def collate(batch):
    out = {"pixel_values": torch.stack([row["pixel_values"] for row in batch])}
    for key, fill in (("input_ids", tokenizer.pad_token_id), ("attention_mask", 0)):
        out[key] = pad_sequence([row[key] for row in batch], batch_first=True, padding_value=fill)
    out["labels"] = pad_sequence([row["labels"] for row in batch], True, padding_value=-100)
    out["question"] = [row["question"] for row in batch]
    return out

batches = list(DataLoader(rows, batch_size=2, collate_fn=collate))
"""
CAPTIONS = """
import torch
from torch.utils.data import DataLoader

def collate(batch):
    captions = [row["caption"] for row in batch]
    return {"pixel_values": torch.stack([row["pixel_values"] for row in batch]),
            "caption": captions, "score": torch.tensor([row["score"] for row in batch])}

batches = list(DataLoader(rows, batch_size=2, collate_fn=collate))
"""


class Tokenizer:
    pad_token_id = 7


def rows() -> list[dict[str, Any]]:
    """Five samples of different lengths, for either notebook."""
    found = []
    for number, length in enumerate((3, 1, 4, 1, 5)):
        ids = torch.arange(length) + 10 * number
        found.append(
            {
                "pixel_values": torch.full((3, 2, 2), float(number)),
                "input_ids": ids,
                "attention_mask": torch.ones_like(ids),
                "labels": ids.where(ids % 2 == 0, -100),
                "question": f"question {number}",
                "caption": f"caption {number}",
                "score": number / 4,
            }
        )
    return found


def run(source: str, columns: set[str]) -> list[dict[str, Any]]:
    samples = [{key: row[key] for key in row if key in columns} for row in rows()]
    names: dict[str, Any] = {"rows": samples, "tokenizer": Tokenizer()}
    exec(source, names)  # what the notebook's kernel does with a cell
    batches: list[dict[str, Any]] = names["batches"]
    return batches


@pytest.mark.parametrize(
    ("source", "columns", "function"),
    [
        (
            QUESTIONS,
            {"pixel_values", "input_ids", "attention_mask", "labels", "question"},
            "collate_questions",
        ),
        (CAPTIONS, {"pixel_values", "caption", "score"}, "collate_captions"),
    ],
)
def test_a_patched_collate_function_gives_the_same_batches(
    source: str, columns: set[str], function: str
) -> None:
    text = assemble([TemplateCell(kind="code", source=source.strip())])
    outcome = rewrite_notebook(parse_notebook(text, Path("x.ipynb")), CollatePatch(library=True))
    patched = outcome.sources[0]
    assert f"import {function}" in patched
    assert "pad_sequence(" not in patched
    assert "torch.stack" not in patched
    before, after = run(source, columns), run(patched, columns)
    assert len(before) == len(after) == 3
    for old, new in zip(before, after, strict=True):
        assert new.keys() == old.keys() == columns
        for key, value in old.items():
            same = torch.equal if isinstance(value, torch.Tensor) else list.__eq__
            assert same(new[key], value), key


@pytest.mark.parametrize("name", ["05_alignment_evaluation", "06_vlm_evaluation"])
def test_the_pipeline_s_notebooks_pass_the_check(name: str) -> None:
    path = Path(__file__).parents[1] / "notebooks" / f"{name}.ipynb"
    assert check_file(path, max_bytes=1_500_000) == []
