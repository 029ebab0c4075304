"""Parquet files of different layouts, those that can't be read among them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tiny_sources
from edge_glass.encoders.files import DataError
from tiny_pixmo import COLOURS, picture
from tiny_sources import QUESTION, read


@pytest.mark.parametrize("layout", ["string", "large", "view", "dictionary", "bytes"])
def test_parquet_layouts(layout: str, tmp_path: Path) -> None:
    texts = pa.array([f"a {colour} disc" for colour in COLOURS])
    kinds = {"large": pa.large_string(), "view": pa.string_view(), "bytes": pa.binary()}
    if layout == "dictionary":
        texts = texts.dictionary_encode()
    elif layout in kinds:
        texts = texts.cast(kinds[layout])
    many = pa.array([[f"a {c} disc"] for c in COLOURS], pa.large_list(pa.large_string()))
    columns = {"image": tiny_sources.image_cells(), "text": texts, "captions": many}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    expected = [(f"a {colour} disc",) for colour in COLOURS]
    for name in ("text", "captions"):
        records, drops = read(tmp_path, columns={"caption": (name,)})
        assert drops == []
        assert [each.captions for each in records] == expected


def test_parquet_of_the_original_project(tmp_path: Path) -> None:
    tiny_sources.raw_questions(tmp_path)
    records, _ = read(tmp_path)
    asked = [each.questions[0] for each in records]
    assert [(each.question, each.answer, each.type) for each in asked] == [
        (QUESTION, colour, "colours") for colour in COLOURS
    ]
    columns = {
        "image_bytes": [picture("red", 0)],
        "question": ["[USER] is it red? [ASSISTANT] yes [USER] is [ASSISTANT] a word?"],
        "answer": ["no"],
    }
    pq.write_table(pa.table(columns), tmp_path / "qa.parquet")
    (record,) = read(tmp_path)[0]
    assert [(each.question, each.answer) for each in record.questions] == [
        ("is it red?", "yes"),
        ("is", "a word?"),
    ]


def test_parquet_with_paths_only(tmp_path: Path) -> None:
    tiny_sources.write_images(tmp_path / "images")
    columns = {"image": ["images/red.png", "images/no.png"], "text": ["a", "b"]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    records, drops = read(tmp_path)
    assert [each.captions for each in records] == [("a",)]
    assert [(each.line, each.reason) for each in drops] == [(1, "missing_file")]


def test_parquet_of_wrong_types_is_refused_with_file_and_column(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": [1.5], "text": ["a"]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet: column 'image' is double; expected an image"):
        read(tmp_path)
    pq.write_table(pa.table({"image": ["a.png"], "width": [1]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet: no column holds captions.*image, width"):
        read(tmp_path)
    (tmp_path / "a.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(DataError, match=r"a\.parquet: can't be read from row 0"):
        read(tmp_path)
