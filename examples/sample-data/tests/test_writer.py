from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from writer import CAPTIONS, QUESTIONS, write

PICTURES = [
    np.random.default_rng(index).integers(0, 256, 2000, dtype=np.uint8).tobytes()
    for index in range(300)
]


def question_rows() -> list[dict[str, Any]]:
    return [
        {
            "image_url": f"u{index}",
            "question": f"q{number}",
            "answer": "a",
            "answers": ["a", "b"],
            "messages": [f"q{number}", "a"],
            "image": {"bytes": picture, "path": f"{index}.webp"},
            "type": "count",
            "split": "train",
            "vendor": "noto",
        }
        for index, picture in enumerate(PICTURES)
        for number in range(5)
    ]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    rows = question_rows()
    write(rows, QUESTIONS, tmp_path / "questions" / "train.parquet")
    table = pq.read_table(tmp_path / "questions" / "train.parquet")
    assert table.schema.equals(QUESTIONS)
    assert table.to_pylist() == rows
    assert [path.name for path in (tmp_path / "questions").iterdir()] == ["train.parquet"]


def test_a_scene_s_picture_is_stored_once(tmp_path: Path) -> None:
    path = tmp_path / "train.parquet"
    write(question_rows(), QUESTIONS, path)
    # 600 kB of incompressible pictures, five rows each.
    assert path.stat().st_size < 1.1 * sum(map(len, PICTURES))


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(question_rows(), QUESTIONS, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_columns_are_those_of_pixmo_and_more() -> None:
    assert CAPTIONS.names[:3] == ["image_url", "caption", "transcripts"]
    assert QUESTIONS.names[:5] == ["image_url", "question", "answer", "answers", "messages"]
