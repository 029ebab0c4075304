"""The answers of several people: from a VQA file through `prepare` to the scores."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import tiny_sources
from edge_glass.encoders.files import DataError
from edge_glass.training.ingest.project import View
from edge_glass.training.ingest.reading.source import Source
from edge_glass.training.ingest.session import ImportConfig, import_data
from edge_glass.training.params import load_params
from edge_glass.training.stages import prepare
from edge_glass.training.stages.evaluate_vlm_qa import score, write_predictions
from tiny_pixmo import question_rows, write_parquet

TEN = ["red"] * 8 + ["dark", "Dark red"]


def prepared(project: Path, split: str) -> list[dict[str, Any]]:
    path = project / f"artifacts/prepared/questions/{split}.rows.parquet"
    return pq.read_table(path).to_pylist()


def test_answers_are_kept(project: Path) -> None:
    rows = question_rows("val", range(3, 5))
    for number, row in enumerate(rows):
        row["answers"] = [*TEN, " ", None] if number % 2 == 0 else None
    write_parquet(project / "data/questions/val.parquet", rows)
    prepare.run(load_params(project / "params.yaml"))
    assert [row["answers"] for row in prepared(project, "val")[:2]] == [TEN, None]
    # a file of the same data set that has no such column
    assert {str(row["answers"]) for row in prepared(project, "train")} == {"None"}


def test_answers_of_a_wrong_type_are_refused(project: Path) -> None:
    rows = [{**row, "answers": 3} for row in question_rows("val", range(3, 5))]
    write_parquet(project / "data/questions/val.parquet", rows)
    with pytest.raises(DataError, match=r"val\.parquet: column 'answers' is int64, expected list"):
        prepare.run(load_params(project / "params.yaml"))


def test_the_ten_answers_of_an_imported_vqa_file_are_kept(project: Path) -> None:
    tiny_sources.SOURCES["vqa"](project / "source")
    import_data(Source(path=project / "source"), project / "vqa", ImportConfig(), View(size=64))
    shutil.rmtree(project / "data/questions")
    shutil.copytree(project / "vqa/questions", project / "data/questions")
    prepare.run(load_params(project / "params.yaml"))
    answers = {row["answer"]: row["answers"] for row in prepared(project, "train")}
    assert answers["yes"] == ["yes"] * 8 + ["dark"] * 2


def test_predictions_and_metrics_use_all_answers(tmp_path: Path) -> None:
    rows = [
        {"image": 0, "question": "which?", "answer": "red", "type": "other", "answers": TEN},
        {"image": 0, "question": "how many?", "answer": "2", "type": "number", "answers": None},
    ]
    answers = {name: ["dark", "two"] for name in ("model", "blind", "shuffled", "majority")}
    metrics = score(answers, rows, {})
    assert metrics["accuracy"] == 0.5  # "two" is "2"; "dark" is not the first answer
    assert metrics["vqa_v2_accuracy"] == pytest.approx(0.3)
    assert metrics["vqa_v2_exact_match"] == 1.0
    write_predictions(tmp_path / "val.jsonl", answers, rows, {"number": "relaxed_accuracy"})
    first, second = (tmp_path / "val.jsonl").read_text().splitlines()
    assert '"answers": ["red", ' in first
    assert "answers" not in second
