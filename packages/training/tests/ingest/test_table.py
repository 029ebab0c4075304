"""Tables of captions: columns, delimiters, faulty rows, paths and splits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import tiny_sources
from edge_glass.encoders.files import DataError
from tiny_pixmo import COLOURS, picture
from tiny_sources import read


def test_table_columns_are_guessed_and_can_be_chosen(tmp_path: Path) -> None:
    tiny_sources.table(tmp_path)
    records, _ = read(tmp_path)
    assert [each.captions for each in records] == [(f"a {c} disc, round",) for c in COLOURS]
    assert records[0].image.name == "images/red.png"
    assert [each.line for each in records] == list(range(2, 10))
    chosen, _ = read(tmp_path, columns={"caption": ("file",), "image": ("file",)})
    assert chosen[0].captions == ("images/red.png",)
    with pytest.raises(
        DataError, match=r"captions\.csv: --columns names 'name'.*found file, title"
    ):
        read(tmp_path, columns={"caption": ("name",)})


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_delimiters_line_ends_and_byte_order_marks(
    delimiter: str, end: str, encoding: str, tmp_path: Path
) -> None:
    tiny_sources.write_images(tmp_path)
    quoted = f'"a ""red"" disc{delimiter} {end} über"'
    rows = [f"Image{delimiter}Caption", f"red.png{delimiter}{quoted}", "", f"blue.png{delimiter}b"]
    (tmp_path / "captions.csv").write_bytes((end.join(rows) + end).encode(encoding))
    records, drops = read(tmp_path)
    assert drops == []
    assert [each.captions for each in records] == [(f'a "red" disc{delimiter} {end} über',), ("b",)]


def test_faulty_rows_of_a_table_are_named(tmp_path: Path) -> None:
    tiny_sources.write_images(tmp_path)
    rows = [
        b"image,caption",
        b"red.png,a caf\xe9",
        b"red.png,",
        b"red.png,\xe2\x80\x8b\xe2\x80\x8e",
        b"red.png,a\0b",
        b"red.png,a,b",
        b"none.png,a",
        b"https://example.org/a.jpg,a",
        b"../red.png,a",
        b"red.png,fine",
    ]
    (tmp_path / "in").mkdir()
    (tmp_path / "red.png").rename(tmp_path / "in/red.png")
    (tmp_path / "red.png").write_bytes(picture("red", 0))
    (tmp_path / "in/captions.csv").write_bytes(b"\n".join(rows))
    records, drops = read(tmp_path / "in")
    assert [each.captions for each in records] == [("fine",)]
    assert [(each.line, each.reason) for each in drops] == [
        (2, "not_utf8"),
        (3, "empty_caption"),
        (4, "invisible_caption"),
        (5, "nul_character"),
        (6, "cell_count"),
        (7, "missing_file"),
        (8, "link"),
        (9, "outside"),
    ]
    assert {each.file for each in drops} == {"captions.csv"}
    assert len(read(tmp_path / "in", allow_outside=True)[0]) == 2
    assert (
        len(read(tmp_path / "in", encoding="cp1252")[0]) == 3
    )  # é, and the bytes of the invisible ones


def test_several_captions_of_an_image_are_kept(tmp_path: Path) -> None:
    tiny_sources.write_images(tmp_path)
    rows = [
        {"image": "red.png", "captions": ["one", "two", None]},
        {"image": "red.png", "captions": 3},
    ]
    tiny_sources.write_lines(tmp_path / "captions.jsonl", rows)
    records, drops = read(tmp_path)
    assert [each.captions for each in records] == [("one", "two"), ("3",)]
    assert [each.reason for each in drops] == ["empty_caption"]


def test_imagefolder_takes_its_splits_from_the_folders(tmp_path: Path) -> None:
    tiny_sources.imagefolder(tmp_path)
    records, _ = read(tmp_path)
    assert [each.split for each in records] == ["train"] * 8 + ["val"] * 8
    # a lone train folder is the whole data set
    assert {each.split for each in read(tmp_path / "train")[0]} == {""}


def test_links_lead_outside_only_if_allowed(tmp_path: Path) -> None:
    tiny_sources.write_images(tmp_path / "far")
    root = tmp_path / "near"
    root.mkdir()
    (root / "images").symlink_to(tmp_path / "far")
    (root / "red.png").symlink_to(tmp_path / "far/red.png")
    (root / "loop.png").symlink_to("loop.png")
    rows = [{"image": name, "text": "a"} for name in ("red.png", "images/blue.png", "loop.png")]
    rows.append({"image": str(tmp_path / "far/green.png"), "text": "a"})
    tiny_sources.write_lines(root / "captions.jsonl", rows)
    records, drops = read(root)
    assert records == []
    assert [each.reason for each in drops] == ["outside", "outside", "unreadable_file", "outside"]
    records, drops = read(root, allow_outside=True)
    assert len(records) == 3
    assert json.dumps(drops[0].detail)
    assert len(read(root, images=tmp_path / "far")[0]) == 2  # red, and the absolute path
