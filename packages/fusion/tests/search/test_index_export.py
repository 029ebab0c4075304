"""An index in the formats of other programs: they read it, and find the same images."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from edge_glass.fusion.codes import encode_rows
from edge_glass.fusion.search.files import FileStamp
from edge_glass.fusion.search.index import ImageIndex, IndexedImage
from edge_glass.fusion.search.index_export import export_index


@pytest.fixture
def indexed(tmp_path: Path) -> tuple[Path, np.ndarray]:
    """A folder with an index of 30 embeddings."""
    rows = np.random.default_rng(0).standard_normal((30, 32)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    index = ImageIndex(model={"device": "cpu", "files": {}})
    for place, row in enumerate(rows):
        stamp = FileStamp(size=place, mtime_ns=place, sha256=f"hash{place}")
        index.images[f"{place:03}.png"] = IndexedImage(stamp=stamp)
        index.vectors[stamp.sha256] = row
    index.save(tmp_path / "images" / ".edge_glass_index")
    return tmp_path / "images", rows


@pytest.mark.parametrize("precision", ["float32", "int8", "1bit"])
@pytest.mark.parametrize("dim", [None, 16])
def test_npy_and_parquet_hold_the_codes(
    indexed: tuple[Path, np.ndarray], tmp_path: Path, precision: str, dim: int | None
) -> None:
    folder, rows = indexed
    expected = encode_rows(rows, dim or 32, precision)
    out = tmp_path / "out.npy"
    assert export_index(folder, out, format_name="npy", dim=dim, precision=precision) == 30
    assert np.array_equal(np.load(out), expected)
    listed = json.loads((tmp_path / "out.npy.json").read_text())
    assert listed["images"] == [f"{place:03}.png" for place in range(30)]
    pq = pytest.importorskip("pyarrow.parquet")
    export_index(folder, out, format_name="parquet", dim=dim, precision=precision)
    table = pq.read_table(out)
    assert np.array_equal(np.array(table["embedding"].to_pylist()), expected)
    assert table["image"].to_pylist() == listed["images"]


@pytest.mark.parametrize("precision", ["float32", "int8", "1bit"])
def test_usearch_finds_each_row(
    indexed: tuple[Path, np.ndarray], tmp_path: Path, precision: str
) -> None:
    usearch = pytest.importorskip("usearch.index")
    folder, rows = indexed
    export_index(folder, tmp_path / "u", format_name="usearch", precision=precision)
    found = usearch.Index.restore(str(tmp_path / "u"))
    for row, code in enumerate(encode_rows(rows, 32, precision)):
        assert found.search(code, 1).keys[0] == row


@pytest.mark.parametrize("precision", ["float32", "1bit"])
def test_faiss_finds_each_row(
    indexed: tuple[Path, np.ndarray], tmp_path: Path, precision: str
) -> None:
    faiss = pytest.importorskip("faiss")
    folder, rows = indexed
    export_index(folder, tmp_path / "f", format_name="faiss", precision=precision)
    read = faiss.read_index_binary if precision == "1bit" else faiss.read_index
    _, places = read(str(tmp_path / "f")).search(encode_rows(rows, 32, precision), 1)
    assert places[:, 0].tolist() == list(range(30))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format_name": "csv"}, "format is csv, expected one of npy, parquet, usearch, faiss"),
        ({"format_name": "npy", "precision": "int4"}, "precision is int4, expected one of"),
        ({"format_name": "npy", "dim": 33}, "dim is 33, expected 1 to 32"),
    ],
)
def test_wrong_options_are_refused(
    indexed: tuple[Path, np.ndarray], tmp_path: Path, options: dict, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        export_index(indexed[0], tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_folder_without_an_index_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no index; run `edge-glass search` on"):
        export_index(tmp_path, tmp_path / "out", format_name="npy")


def test_a_path_that_is_not_utf_8_is_an_escape(tmp_path: Path) -> None:
    stamp = FileStamp(size=1, mtime_ns=1, sha256="hash")
    index = ImageIndex(model={"device": "cpu", "files": {}})
    index.images[os.fsdecode(b"caf\xe9.png")] = IndexedImage(stamp=stamp)
    index.vectors["hash"] = np.eye(8, dtype=np.float32)[0]
    index.save(tmp_path / ".edge_glass_index")
    export_index(tmp_path, tmp_path / "out", format_name="npy")
    assert json.loads((tmp_path / "out.json").read_text())["images"] == [r"caf\xe9.png"]
    pq = pytest.importorskip("pyarrow.parquet")
    export_index(tmp_path, tmp_path / "out", format_name="parquet")
    assert pq.read_table(tmp_path / "out")["image"].to_pylist() == [r"caf\xe9.png"]
