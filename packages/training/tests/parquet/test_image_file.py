"""Columns from buffers equal those that Arrow makes, and pandas is not loaded for them."""

from __future__ import annotations

import subprocess
import sys

import pyarrow as pa
import pytest

from edge_glass.training.parquet.image_file import image_column, storage, text_column
from edge_glass.training.parquet.schemas import IMAGE, TEXT, TEXTS


@pytest.mark.parametrize("texts", [[], ["a", "", "é\U0001f40d"], [None, "b", None] * 7, [None]])
def test_texts(texts: list[str | None]) -> None:
    column = text_column(texts, TEXT)
    column.validate(full=True)
    assert column.equals(pa.array(texts, TEXT))


@pytest.mark.parametrize("texts", [[], [["a", "é"], [], ["", "b"]], [None, ["c"]] * 9])
def test_lists_of_texts(texts: list[list[str] | None]) -> None:
    column = text_column(texts, TEXTS)
    column.validate(full=True)
    assert column.equals(pa.array(texts, TEXTS))


def test_images() -> None:
    images = [(b"\xff\0x", "1.jpeg"), None, (b"", "é")] * 5
    column = image_column(images)
    column.validate(full=True)
    rows = [image and {"bytes": image[0], "path": image[1]} for image in images]
    assert column.equals(pa.array(rows, IMAGE))


def test_the_images_are_stored_as_they_are_and_the_texts_compressed() -> None:
    schema = pa.schema([("caption", TEXT), ("transcripts", TEXTS), ("image", IMAGE)])
    options = storage(schema, dictionary_bytes=2**20, repeated=False)
    assert options["compression"] == {
        "caption": "zstd",
        "transcripts.list.element": "zstd",
        "image.bytes": "none",
        "image.path": "zstd",
    }
    assert "image.bytes" not in options["use_dictionary"]


WRITE = """
import sys, io
import pyarrow as pa, pyarrow.parquet as pq
from edge_glass.training.parquet.image_file import image_column, storage, text_column
from edge_glass.training.parquet.schemas import IMAGE, TEXT
class Refuse:
    def find_spec(self, name, path, target=None):
        assert name != "pandas"
sys.meta_path.insert(0, Refuse())
schema = pa.schema([("caption", TEXT), ("image", IMAGE)])
with pq.ParquetWriter(io.BytesIO(), schema, **storage(schema, dictionary_bytes=99)) as writer:
    columns = [text_column(["a", None], TEXT), image_column([None, (b"b", "c")])]
    writer.write_table(pa.Table.from_arrays(columns, schema=schema))
"""


def test_pandas_is_not_loaded() -> None:
    subprocess.run([sys.executable, "-c", WRITE], check=True)
