from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import nbformat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus_cases import NOTEBOOKS
from edge_glass.tools.atomic_file import FileRefusedError
from edge_glass.tools.notebook import NotebookError, parse_notebook, read_notebook

GOOD = json.dumps({"cells": [{"cell_type": "code", "source": ["x = 1"]}], "nbformat": 4})


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_cells_are_those_that_nbformat_reads(path: Path) -> None:
    notebook = read_notebook(path)
    reference = nbformat.reads(notebook.text.removeprefix("\ufeff"), nbformat.NO_CONVERT)
    sheets = reference.get("worksheets", [reference])
    cells = [cell for sheet in sheets for cell in sheet["cells"]]
    sources = [cell["input"] if "input" in cell else cell["source"] for cell in cells]
    joined = ["".join(source) for source in sources]
    assert [cell.source for cell in notebook.cells] == joined
    assert [cell.id for cell in notebook.cells] == [cell.get("id") for cell in cells]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_nothing_replaced_is_byte_identical(path: Path) -> None:
    assert read_notebook(path).replaced({}).encode() == path.read_bytes()


@settings(max_examples=200, deadline=None)
@given(
    sources=st.lists(st.text(), min_size=1, max_size=4),
    new=st.text(),
    indent=st.sampled_from([None, 1, 2, "\t"]),
    escapes=st.booleans(),
    as_list=st.booleans(),
)
def test_a_replaced_source_reads_back_and_all_else_stays(
    sources: list[str], new: str, indent: Any, escapes: bool, as_list: bool
) -> None:
    cells = [
        {"cell_type": "code", "source": source.splitlines(True) if as_list else source, "k": 1.50}
        for source in sources
    ]
    text = json.dumps({"nbformat": 4, "cells": cells}, indent=indent, ensure_ascii=escapes)
    notebook = parse_notebook(text, Path("x"))
    replaced = parse_notebook(notebook.replaced({0: new}), Path("x"))
    assert [cell.source for cell in replaced.cells] == [new, *sources[1:]]
    start, end = notebook.cells[0].span
    assert replaced.text.startswith(text[:start])
    assert replaced.text.endswith(text[end:])


def test_style_of_a_list_is_kept() -> None:
    text = '{"nbformat":4,"cells":[{"cell_type":"code","source":[\n   "a\\n",\n   "b"\n  ]}]}'
    assert parse_notebook(text, Path("x")).replaced({0: "a\nc\nd"}) == text.replace(
        '"b"', '"c\\n",\n   "d"'
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"  \n", "is empty"),
        (GOOD[:-10].encode(), "ends too early"),
        (GOOD[: len(GOOD) // 2].encode(), "ends too early|is not valid JSON"),
        (b"hello", "expected a JSON object"),
        (b"[1, 2]", "expected a JSON object"),
        (b"{}", "no `nbformat` number"),
        (b'{"a": 1}', "no `nbformat` number"),
        (b'{"nbformat": 4}', "no cells"),
        (b'{"nbformat": 2, "worksheets": [{"cells": []}]}', "nbformat 2 is not supported"),
        (b'{"nbformat": 4, "cells": {"a": 1}}', "`cells` is not a list"),
        (b'{"nbformat": 4, "cells": [], "n": ' + b"1" * 5000 + b"}", "too many digits"),
        (b'{"nbformat": 4, "cells": [1]}', "cell 1 is not a JSON object"),
        (b'{"nbformat": 4, "cells": [{"cell_type": "code"}]}', "no source text"),
        (b'{"nbformat": 4, "cells": []} x', "more text after"),
        (b"\xff\xfe{\x00}\x00", "is not UTF-8"),
        (GOOD.replace("x = 1", "\u00e4").replace("\\u00e4", "\u00e4").encode("latin-1") + b"\xe4",
         "is not UTF-8"),
    ],
)  # fmt: skip
def test_bad_input_is_named(data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.ipynb"
    path.write_bytes(data)
    with pytest.raises(NotebookError, match=message) as caught:
        read_notebook(path)
    assert str(path) in str(caught.value)


def test_every_truncation_is_an_error() -> None:
    text = json.dumps(json.loads(GOOD), indent=1)
    for length in range(len(text)):
        with pytest.raises(NotebookError):
            parse_notebook(text[:length], Path("x"))


def test_missing_file_and_directory(tmp_path: Path) -> None:
    with pytest.raises(FileRefusedError, match="no such file"):
        read_notebook(tmp_path / "none.ipynb")
    with pytest.raises(FileRefusedError, match="is a directory"):
        read_notebook(tmp_path)


def test_a_pipe_and_a_device_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.ipynb")
    for path in (tmp_path / "pipe.ipynb", Path("/dev/null")):
        with pytest.raises(FileRefusedError, match="a named pipe, a device"):
            read_notebook(path)
