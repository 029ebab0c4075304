"""JSON of any size: elements with their lines, and errors that name one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edge_glass.encoders.files import DataError
from edge_glass.training.ingest.reading import json_stream
from edge_glass.training.ingest.reading.json_stream import is_lines, json_lists, json_rows
from edge_glass.training.ingest.reading.records import RowProblem

VALUES: list[Any] = [
    {"a": [1, -2.5e3, 12345678901234567890, None, True], "b": {"c": 'é\n"]}'}},
    {"text": "x" * 50},
    {},
    {"deep": [[[{"x": []}]]]},
]


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 64, 10_000])
@pytest.mark.parametrize("indent", [None, 2])
def test_chunks_of_any_size_give_what_json_gives(
    chunk: int, indent: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_stream, "CHUNK", chunk)
    path = tmp_path / "a.json"
    path.write_text("\ufeff\n" + json.dumps(VALUES, indent=indent, ensure_ascii=False))
    assert [value for _, value in json_rows(path, "utf-8")] == VALUES
    path.write_text(json.dumps({"info": 12, "images": VALUES, "x": [], "last": 7}, indent=indent))
    found = list(json_lists(path, "utf-8"))
    assert [(key, value) for key, _, value in found] == [
        ("info", 12), *(("images", value) for value in VALUES), ("last", 7),
    ]  # fmt: skip
    if indent:
        lines = path.read_text().splitlines()
        for key, line, value in found[1:5]:
            assert key == "images"
            assert lines[line - 1].strip().startswith("{" if value else "{}")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('[{"a": 1},\n{"a": }]', 2),
        ('[{"a": 1},\n{"a": 2}', 2),
        ('[{"a": "x\n"},\n{"a"]', 3),
        ("[1,\n\n 2 3]", 3),
        ("[" * 200_000, 1),
    ],
)
def test_a_broken_list_names_its_line(text: str, line: int, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(DataError, match=rf"a\.json.*line {line}:|expected a list"):
        list(json_rows(path, "utf-8"))
    with pytest.raises(DataError, match="expected an object"):
        list(json_lists(path, "utf-8"))


def test_lines_are_known_whatever_the_name(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"a": 1}\n{"a": 2}\n')
    assert is_lines(path, "utf-8")
    assert [value for _, value in json_rows(path, "utf-8")] == [{"a": 1}, {"a": 2}]
    path.write_text('{"a": 1}\n')
    assert not is_lines(path, "utf-8")
    lines = tmp_path / "a.jsonl"
    lines.write_text('[\n{"a": 1}\n]')
    assert [value for _, value in json_rows(lines, "utf-8")] == [{"a": 1}]


def test_numbers_of_thousands_of_digits_are_no_error(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("1" * 10_000 + '\n{"a": NaN}\n{"a"\n')
    found = [value for _, value in json_rows(path, "utf-8")]
    assert found[0] == float("inf")
    assert isinstance(found[2], RowProblem)


def test_a_text_with_a_line_break_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('[{"a": "x\ny"}]')
    assert [value for _, value in json_rows(path, "utf-8")] == [{"a": "x\ny"}]
