"""Columns of every type are read, or refused before any work; each dropped row is listed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edge_glass.encoders.files import DataError
from edge_glass.training.params import parse_params
from edge_glass.training.parquet.schemas import IMAGE
from edge_glass.training.stages import prepare
from tiny_pixmo import COLOURS, PARAMS, picture

TEXTS = pa.array([f"a {colour} disc" for colour in COLOURS])
SPLITS = pa.array(["train"] * 6 + ["val"] * 2)
IMAGES = pa.array([{"bytes": picture(colour, 0), "path": None} for colour in COLOURS], IMAGE)
NUMBER = len(COLOURS)
PAIRS = [["x", "y"]] * NUMBER


def run(folder: Path, monkeypatch: pytest.MonkeyPatch, columns: dict[str, Any]) -> dict[str, Any]:
    """Prepares one file; returns the counts, and checks that the list of drops agrees."""
    (folder / "data/captions").mkdir(parents=True)
    table = pa.table({"image": IMAGES, "caption": TEXTS, "split": SPLITS, **columns})
    size = None if "image" in columns else 3  # Arrow does not write slices of binary views
    pq.write_table(table, folder / "data/captions/a.parquet", row_group_size=size)
    (folder / "data/captions/._a.parquet").write_bytes(b"of a file manager")
    (folder / "data/captions/b.parquet").mkdir()
    monkeypatch.chdir(folder)
    prepare.run(parse_params({**PARAMS, "datasets": {"tiny": {"captions": "captions"}}}, where="p"))
    report: dict[str, Any] = json.loads(Path("metrics/prepare.json").read_text())["captions"]
    lines = Path("artifacts/prepared/drops.jsonl").read_text().splitlines()
    listed = [json.loads(line) for line in lines]
    assert len(listed) == sum(report["dropped"].values())
    assert all(each["file"] == "captions/a.parquet" for each in listed)
    return {**report, "listed": {each["row"]: each["reason"] for each in listed}}


def structs(data: pa.DataType, path: pa.DataType) -> pa.Array:
    images = pa.array([image.as_py()["bytes"] for image in IMAGES]).cast(data)
    return pa.StructArray.from_arrays([images, pa.nulls(NUMBER, path)], ["bytes", "path"])


READ: dict[str, dict[str, Any]] = {
    "string views": {
        "caption": TEXTS.cast(pa.string_view()),
        "split": SPLITS.cast(pa.string_view()),
    },
    "large strings": {"caption": TEXTS.cast(pa.large_string())},
    "dictionaries": {"caption": TEXTS.dictionary_encode(), "concept": TEXTS.dictionary_encode()},
    "binary views": {"image": structs(pa.binary_view(), pa.string_view())},
    "large binary": {"image": structs(pa.large_binary(), pa.null())},
    "large lists": {"transcripts": pa.array(PAIRS, pa.large_list(pa.string()))},
    "lists of a fixed size": {"transcripts": pa.array(PAIRS, pa.list_(pa.string(), 2))},
    "lists of views": {"transcripts": pa.array(PAIRS, pa.list_(pa.string_view()))},
    "nothing": {name: pa.nulls(NUMBER) for name in ("transcripts", "concept", "subgroup")},
}


@pytest.mark.parametrize("name", READ)
def test_every_layout_of_a_text_is_read(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = run(tmp_path, monkeypatch, READ[name])
    assert (report["rows_kept"], report["dropped"]) == ({"train": 6, "val": 2}, {})


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "numbers": ({"caption": pa.array(range(NUMBER))}, "column 'caption' is int64, expected string"),
    "fractions as classes": ({"concept": pa.array([0.5] * NUMBER)}, "column 'concept' is double"),
    "truths as splits": ({"split": pa.array([True] * NUMBER)}, "column 'split' is bool"),
    "nested": ({"transcripts": pa.array([[["a"]]] * NUMBER)}, "'transcripts' is list<"),
    "a folder": (
        {"split": pa.array(["train"] * 5 + ["a/b"] * 3)},
        "row 5: column 'split' is 'a/b'",
    ),
    "a NUL": ({"split": pa.array(["train"] * 4 + ["v\0"] * 4)}, "row 4: column 'split' is 'v"),
    "long": ({"split": pa.array(["train"] * 7 + ["x" * 300])}, "row 7: column 'split' is 'xxx"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_rest_is_refused_before_an_image_is_read(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns, message = REFUSED[name]
    monkeypatch.setattr(prepare, "ordered_map", None)  # whatever calls it fails
    with pytest.raises(DataError, match=rf"captions/a\.parquet.*{message}"):
        run(tmp_path, monkeypatch, columns)


def test_too_many_splits_are_no_splits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_glass.training.prepare.split_column.MAX_SPLITS", 3)
    names = pa.array([f"row-{number}" for number in range(NUMBER)])
    with pytest.raises(DataError, match="row 3: column 'split' has more than 3 different names"):
        run(tmp_path, monkeypatch, {"split": names})


@pytest.mark.parametrize("kind", [pa.string(), pa.string_view()])
def test_each_dropped_row_is_listed_with_its_reason(
    kind: pa.DataType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = [
        b"a\0b",
        "\u200b\ufeff".encode(),
        b"caf\xe9",
        b"fine",
        b" ",
        b"",
        "中 😀".encode(),
        b"end",
    ]
    captions = pa.array(bad, pa.binary_view() if kind == pa.string_view() else pa.binary())
    report = run(tmp_path, monkeypatch, {"caption": captions.view(kind)})
    assert report["listed"] == {
        0: "nul_character",
        1: "invisible_caption",
        2: "not_utf8",
        4: "whitespace_caption",
        5: "empty_caption",
    }


def test_transcripts_that_show_nothing_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = [None, [None], ["a\0"], ["\u200b", "b"], [""], ["c"], [], [" "]]
    run(tmp_path, monkeypatch, {"transcripts": pa.array(said, pa.list_(pa.string()))})
    kept = pq.read_table("artifacts/prepared/captions/train.rows.parquet")["transcripts"]
    assert kept.to_pylist() == [[], [], [], ["b"], [], ["c"]]
