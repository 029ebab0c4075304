"""Stage `prepare`: what is dropped is counted, what is kept is whole, nothing is half-written."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from edge_glass.training.data.error import DataError
from edge_glass.training.params import load_params
from edge_glass.training.stages import prepare
from tiny_pixmo import caption_rows, picture, question_rows, write_parquet


def large() -> bytes:
    file = io.BytesIO()
    Image.effect_noise((64, 64), 90).save(file, "PNG")
    return file.getvalue()


BAD: dict[str, dict[str, Any]] = {
    "empty_caption": {"caption": ""},
    "whitespace_caption": {"caption": " \n\t"},
    "long_caption": {"caption": "x" * 101},
    "missing_image": {"image": {"bytes": None, "path": None}},
    "not_an_image": {"image": {"bytes": b"<html>gone</html>", "path": None}},
    "truncated_image": {"image": {"bytes": large()[:2000], "path": None}},
    "too_small": {"image": {"bytes": picture("red", 0, (7, 7)), "path": None}},
    "extreme_aspect": {"image": {"bytes": picture("red", 0, (100, 20)), "path": None}},
}


def test_every_bad_row_is_dropped_for_its_reason(project: Path) -> None:
    rows = caption_rows("train", range(2))
    bad = [{**rows[0], **change} for change in BAD.values()]
    write_parquet(project / "data/captions/train.parquet", [*rows[:5], *bad, *rows[5:]])
    prepare.run(load_params(project / "params.yaml"))
    report = json.loads((project / "metrics/prepare.json").read_text())
    assert report["captions"]["dropped"] == dict.fromkeys(sorted(BAD), 1)
    assert report["captions"]["rows_kept"] == {"train": len(rows), "val": 16}
    written = pq.read_table(project / "artifacts/prepared/captions/train.rows.parquet").to_pylist()
    assert [row["caption"] for row in written] == [row["caption"] for row in rows]


def test_each_picture_is_written_once(project: Path) -> None:
    prepare.run(load_params(project / "params.yaml"))
    folder = project / "artifacts/prepared/questions"
    images = pq.read_table(folder / "train.images.parquet").to_pylist()
    rows = pq.read_table(folder / "train.rows.parquet").to_pylist()
    source = question_rows("train", range(3))
    assert len(images) == len(source) // 2
    assert len({image["image_id"] for image in images}) == len(images)
    for row, given in zip(rows, source, strict=True):
        assert images[row["image"]]["bytes"] == given["image"]["bytes"]
        assert (row["question"], row["answer"]) == (given["question"], given["answer"])


def test_no_picture_is_in_two_splits(project: Path) -> None:
    # the same pictures under another split's name: the first one seen keeps them
    rows = [{**row, "split": "val"} for row in caption_rows("train", range(1))]
    write_parquet(project / "data/captions/val.parquet", rows + caption_rows("val", range(3, 4)))
    prepare.run(load_params(project / "params.yaml"))
    report = json.loads((project / "metrics/prepare.json").read_text())
    assert report["captions"]["dropped"] == {"image_of_another_split": 8}
    assert report["captions"]["rows_kept"] == {"train": 24, "val": 8}


def test_without_a_split_column_the_picture_decides(project: Path) -> None:
    rows = caption_rows("train", range(5))
    for row in rows:
        del row["split"]
    (project / "data/captions/val.parquet").unlink()
    write_parquet(project / "data/captions/train.parquet", rows)
    prepare.run(load_params(project / "params.yaml"))
    report = json.loads((project / "metrics/prepare.json").read_text())
    kept = report["captions"]["rows_kept"]
    assert sum(kept.values()) == 40
    assert 8 <= kept["train"] <= 32  # four standard deviations around the half


def test_twice_gives_the_same_bytes(project: Path) -> None:
    params = load_params(project / "params.yaml")
    seen = []
    for _ in range(2):
        prepare.run(params)
        files = sorted((project / "artifacts/prepared").rglob("*.parquet"))
        seen.append({path: path.read_bytes() for path in files})
    assert seen[0] == seen[1]


def test_an_empty_split_stops_and_leaves_nothing(project: Path) -> None:
    rows = [{**row, "caption": ""} for row in caption_rows("train", range(1))]
    write_parquet(project / "data/captions/train.parquet", rows)
    with pytest.raises(DataError, match=r"no row of split 'train' is left of 24 rows; .*empty_cap"):
        prepare.run(load_params(project / "params.yaml"))
    assert not (project / "artifacts/prepared").exists()
    assert list((project / "artifacts").iterdir()) == []


def test_a_missing_column_stops_and_leaves_nothing(project: Path) -> None:
    rows = question_rows("train", range(1))
    for row in rows:
        del row["answer"]
    write_parquet(project / "data/questions/train.parquet", rows)
    with pytest.raises(DataError, match=r"train\.parquet: column 'answer' is missing"):
        prepare.run(load_params(project / "params.yaml"))
    assert list((project / "artifacts").iterdir()) == []
