"""Cells of every type become text, are empty, or have a reason."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import tiny_sources
from edge_glass.training.ingest.project import View
from edge_glass.training.ingest.reading.columns import parse_columns
from edge_glass.training.ingest.reading.records import RowProblem
from edge_glass.training.ingest.reading.source import Source
from edge_glass.training.ingest.reading.texts import text_of
from edge_glass.training.ingest.session import ImportConfig, import_data


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "3"),
        (3.0, "3"),
        (2.5, "2.5"),
        (True, "true"),
        (date(2020, 1, 31), "2020-01-31"),
        (Decimal("1.50"), "1.50"),
        (b" caf\xc3\xa9 ", "café"),
    ],
)
def test_a_value_that_can_be_written_is_text(value: Any, text: str) -> None:
    assert text_of(value, "concept") == text


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "empty_concept"),
        (float("nan"), "empty_concept"),
        (float("inf"), "wrong_type"),
        pytest.param(10**5000, "wrong_type", id="digits"),
        ({"a": 1}, "wrong_type"),
    ],
)
def test_the_rest_has_a_reason(value: Any, reason: str) -> None:
    with pytest.raises(RowProblem) as found:
        text_of(value, "concept")
    assert found.value.reason == reason


def test_an_empty_cell_of_a_label_drops_no_row(tmp_path: Path) -> None:
    tiny_sources.write_images(tmp_path / "source")
    cells = ["", None, float("nan"), 7, "  "]
    rows = [
        {
            "image": "red.png",
            "caption": f"a {place}",
            "concept": cell,
            "split": "train" if cell == 7 else cell,
        }
        for place, cell in enumerate(cells)
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "source/captions.jsonl").write_text(lines)
    source = Source(path=tmp_path / "source")
    report = import_data(source, tmp_path / "out", ImportConfig(), View(size=32))
    assert (report.rows["captions"], dict(report.dropped)) == (5, {})


def test_a_row_whose_caption_columns_are_all_empty_is_counted(tmp_path: Path) -> None:
    tiny_sources.write_images(tmp_path / "source")
    lines = "image,caption,title\nred.png,a,\nblue.png,,b\ngreen.png,,\n"
    (tmp_path / "source/captions.csv").write_text(lines)
    source = Source(
        path=tmp_path / "source", columns=parse_columns("caption=caption,caption=title")
    )
    report = import_data(source, tmp_path / "out", ImportConfig(), View(size=32))
    assert (report.rows["captions"], dict(report.dropped)) == (2, {"empty_caption": 1})
    (drop,) = report.examples["empty_caption"]
    assert (drop.file, drop.line, drop.detail) == ("captions.csv", 4, "nothing in caption, title")
