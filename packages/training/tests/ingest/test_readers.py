"""Each format: what its reader makes of a tiny source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tiny_sources
from edge_glass.encoders.files import DataError
from edge_glass.training.ingest.detection import READERS, find_format
from edge_glass.training.ingest.reading.records import Drop, Record
from edge_glass.training.ingest.reading.source import Source
from tiny_pixmo import COLOURS, picture

QUESTION = "what colour is it?"


def read(root: Path, form: str | None = None, **options: Any) -> tuple[list[Record], list[Drop]]:
    source = Source(path=root, **options)
    found = list(READERS[form or find_format(source)[0]](source))
    records = [each for each in found if isinstance(each, Record)]
    return records, [each for each in found if isinstance(each, Drop)]


@pytest.mark.parametrize("name", sorted(tiny_sources.SOURCES))
def test_the_format_is_found_and_nothing_is_dropped(name: str, tmp_path: Path) -> None:
    tiny_sources.SOURCES[name](tmp_path)
    assert find_format(Source(path=tmp_path)) == (name, [])
    records, drops = read(tmp_path)
    assert drops == []
    assert len(records) >= len(COLOURS)


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


def test_pairs_report_what_has_no_partner(tmp_path: Path) -> None:
    tiny_sources.pairs(tmp_path)
    (tmp_path / "red.txt").unlink()
    (tmp_path / "cyan.txt").write_text("no image")
    (tmp_path / "blue.png.txt").write_text("of this very file")
    for hidden in ("._x.png", ".x.txt", "Thumbs.db", "x.png.tmp"):
        (tmp_path / hidden).write_bytes(b"?")
    for folder in ("@eaDir", "#recycle", "$RECYCLE.BIN", ".cache"):
        tiny_sources.pairs(tmp_path / folder)
    records, drops = read(tmp_path)
    assert len(records) == len(COLOURS) - 1
    assert records[1].captions == ("of this very file",)
    assert [(each.file, each.reason) for each in drops] == [
        ("red.png", "no_text"),
        ("blue.txt", "no_image"),
        ("cyan.txt", "no_image"),
    ]


def test_imagefolder_takes_its_splits_from_the_folders(tmp_path: Path) -> None:
    tiny_sources.imagefolder(tmp_path)
    records, _ = read(tmp_path)
    assert [each.split for each in records] == ["train"] * 8 + ["val"] * 8
    # a lone train folder is the whole data set
    assert {each.split for each in read(tmp_path / "train")[0]} == {""}


def test_names_of_images_state_no_split(tmp_path: Path) -> None:
    tiny_sources.write_images(tmp_path / "train", 0, ["a_red.png"])
    tiny_sources.write_images(tmp_path / "val", 0, ["train_blue.png"])
    for name in ("train/a_red", "val/train_blue"):
        (tmp_path / name).with_suffix(".txt").write_text("a disc")
    assert [each.split for each in read(tmp_path)[0]] == ["train", "val"]
    # an image of no split: `train` is what is shown
    tiny_sources.write_images(tmp_path / "toys", 0, ["test_pink.png"])
    (tmp_path / "toys/test_pink.txt").write_text("a disc")
    assert [each.split for each in read(tmp_path)[0]] == ["", "", ""]


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


@pytest.mark.parametrize("name", ["llava", "messages"])
def test_conversations(name: str, tmp_path: Path) -> None:
    tiny_sources.SOURCES[name](tmp_path)
    records, _ = read(tmp_path)
    first = records[0].questions
    assert (first[0].question, first[0].answer) == (QUESTION, "red")
    assert [each.questions[0].answer for each in records] == COLOURS
    if name == "llava":
        assert first[0].messages == (QUESTION, "red")
        assert first[1].messages == (QUESTION, "red", "is it a disc?", "yes")
    else:
        assert first[0].messages == ()


def test_faulty_conversations_are_named(tmp_path: Path) -> None:
    tiny_sources.write_images(tmp_path)
    talk = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    rows: list[Any] = [
        {"messages": talk, "images": ["red.png"]},
        {"messages": talk, "images": ["red.png", "blue.png"]},
        {"messages": talk},
        {"messages": talk[:1], "images": ["red.png"]},
        {"messages": "a", "images": ["red.png"]},
        {"messages": [3], "images": ["red.png"]},
        [1],
    ]
    tiny_sources.write_lines(tmp_path / "a.jsonl", rows)
    with (tmp_path / "a.jsonl").open("ab") as file:
        file.write(b'{"messages": 1' + b"1" * 5000 + b"}\n{torn\n" + b"[" * 100_000 + b"\n")
    records, drops = read(tmp_path)
    assert len(records) == 1
    assert [(each.line, each.reason) for each in drops] == [
        (2, "several_images"),
        (3, "no_image"),
        (4, "no_answer"),
        (5, "wrong_type"),
        (6, "wrong_type"),
        (7, "wrong_type"),
        (8, "wrong_type"),
        (9, "not_json"),
        (10, "not_json"),
    ]


def test_coco_keeps_the_captions_of_an_image_together(tmp_path: Path) -> None:
    tiny_sources.coco(tmp_path)
    records, _ = read(tmp_path)
    assert records[1].captions == ("a green disc, take 0", "a green disc, take 1")
    assert [each.split for each in records] == ["train"] * 4 + ["val"] * 4
    path = tmp_path / "annotations/captions_train2014.json"
    lines = path.read_text().splitlines()
    line = next(n for n, text in enumerate(lines, 1) if "take 0" in text and "green" in text)
    assert records[1].line in (line - 3, line - 2, line - 1)  # where the object begins


def test_karpathy_restval_is_train(tmp_path: Path) -> None:
    tiny_sources.karpathy(tmp_path)
    records, _ = read(tmp_path)
    assert [each.split for each in records[:4]] == ["train", "train", "val", "test"]
    assert records[0].captions == ("a red disc", "a disc")


def test_vqa_joins_questions_with_ten_answers(tmp_path: Path) -> None:
    tiny_sources.vqa(tmp_path)
    records, _ = read(tmp_path)
    assert len(records) == 16
    (first,) = records[0].questions
    assert (first.question, first.answer, first.type) == (QUESTION, "red", "other")
    assert first.answers == ("red",) * 8 + ("dark",) * 2
    assert records[0].image == records[1].image
    (tmp_path / "v2_mscoco_train2014_annotations.json").unlink()
    with pytest.raises(DataError, match="no file of annotations"):
        read(tmp_path)


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_webdataset(mode: str, tmp_path: Path) -> None:
    tiny_sources.webdataset(tmp_path, mode)
    records, drops = read(tmp_path)
    assert drops == []
    assert [each.captions for each in records] == [(f"a {colour} disc",) for colour in COLOURS]


def test_a_torn_tar_is_read_up_to_the_tear(tmp_path: Path) -> None:
    tiny_sources.webdataset(tmp_path)
    path = tmp_path / "00000.tar"
    path.write_bytes(path.read_bytes()[:3500])
    records, drops = read(tmp_path)
    assert 4 < len(records) < 8
    assert ("00000.tar", "broken_tar") in [(each.file, each.reason) for each in drops]


def test_svg_metadata(tmp_path: Path) -> None:
    tiny_sources.svg(tmp_path)
    bare = '<svg xmlns="http://www.w3.org/2000/svg"><title>a line</title><desc>thin</desc></svg>'
    (tmp_path / "bare.svg").write_text(bare)
    (tmp_path / "none.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    (tmp_path / "torn.svg").write_text("<svg><g>")
    records, drops = read(tmp_path)
    found = {each.file: each.captions for each in records}
    assert found["red.svg"] == ("a red box", "box, red")
    assert found["bare.svg"] == ("a line", "thin")
    assert [(each.file, each.reason) for each in drops] == [
        ("none.svg", "no_text"),
        ("torn.svg", "broken_svg"),
    ]


def test_an_unknown_source_is_refused_with_what_was_found(tmp_path: Path) -> None:
    (tmp_path / "a.doc").write_text("?")
    with pytest.raises(DataError, match=r"no captions and no questions in 1 \.doc.*--format"):
        find_format(Source(path=tmp_path))


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
