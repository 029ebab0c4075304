"""Layouts as particular tools write them, beside those of `tiny_sources`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tiny_sources
from edge_glass.encoders.files import DataError
from edge_glass.training.ingest.detection import READERS
from edge_glass.training.ingest.image_reader import ImageReader
from edge_glass.training.ingest.reading.exclusion import Exclusion
from edge_glass.training.ingest.reading.records import Drop, RowProblem
from edge_glass.training.ingest.reading.source import Source
from tiny_pixmo import picture
from tiny_sources import read, write_lines

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@pytest.mark.parametrize(
    "cells",
    [
        {"image_file_name": "red.png"},
        {"image_file_names": ["red.png"]},
    ],
)
def test_imagefolder_with_other_names_of_the_column(cells: Any, tmp_path: Path) -> None:
    (tmp_path / "red.png").write_bytes(picture("red", 0))
    write_lines(tmp_path / "metadata.jsonl", [{**cells, "text": "a disc"}])
    ((record,), drops) = read(tmp_path)
    assert (record.image.name, record.captions, drops) == ("red.png", ("a disc",), [])


def test_two_columns_of_images_are_a_choice(tmp_path: Path) -> None:
    row = {"input_file_name": "a.png", "output_file_name": "b.png", "text": "make it red"}
    write_lines(tmp_path / "metadata.jsonl", [row])
    with pytest.raises(DataError, match="no column names the image; found input_file_name"):
        read(tmp_path)


def test_parquet_with_a_list_of_images(tmp_path: Path) -> None:
    cell = {"bytes": picture("red", 0), "path": None}
    talk = [{"role": "user", "content": "<image>what?"}, {"role": "assistant", "content": "red"}]
    table = pa.table(
        {
            "images": pa.array([[cell], [cell, cell], []], pa.list_(IMAGE)),
            "messages": [talk] * 3,
        }
    )
    pq.write_table(table, tmp_path / "train.parquet")
    records, drops = read(tmp_path)
    assert not drops
    assert [record.questions[0].answer for record in records] == ["red"] * 3
    source = Source(path=tmp_path)
    reader = ImageReader(source.root, source.locator)
    assert reader.read(records[0].image) == picture("red", 0)
    for record, reason in zip(records[1:], ("several_images", "missing_image"), strict=True):
        with pytest.raises(RowProblem, match=reason):
            reader.read(record.image)


def test_a_json_list_beside_images_is_a_table(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture("red", 0))
    (tmp_path / "sizes.json").write_text("[1, 2]")
    rows = [{"image": "a.png", "caption": ["a red disc", "a disc"], "image_id": "1"}]
    (tmp_path / "train.json").write_text(json.dumps(rows))
    ((record,), drops) = read(tmp_path)
    assert (record.captions, drops) == (("a red disc", "a disc"), [])


def test_parquet_with_turns_and_with_sentences_as_objects(tmp_path: Path) -> None:
    cell = {"bytes": picture("red", 0), "path": None}
    turns = [
        {"user": "what?", "assistant": "a disc", "source": "s"},
        {"user": "?", "assistant": "!"},
    ]
    images = pa.array([[cell]], pa.list_(IMAGE))
    (tmp_path / "talk").mkdir()
    pq.write_table(pa.table({"images": images, "texts": [turns]}), tmp_path / "talk/a.parquet")
    ((record,), drops) = read(tmp_path / "talk")
    assert ([each.answer for each in record.questions], drops) == (["a disc", "!"], [])
    said = [{"raw": "a red disc", "tokens": ["a"]}, {"raw": "a disc", "tokens": []}]
    (tmp_path / "coco").mkdir()
    table = pa.table({"image": pa.array([cell], IMAGE), "sentences": [said]})
    pq.write_table(table, tmp_path / "coco/a.parquet")
    ((record,), drops) = read(tmp_path / "coco")
    assert (record.captions, drops) == (("a red disc", "a disc"), [])


def test_ten_answers_as_objects(tmp_path: Path) -> None:
    answers = [{"answer": "2" if number else "3", "answer_id": number} for number in range(10)]
    row = {"image": "red.png", "question": "how many?", "answers": answers}
    (tmp_path / "red.png").write_bytes(picture("red", 0))
    write_lines(tmp_path / "captions.jsonl", [row])
    ((record,), _) = read(tmp_path)
    (question,) = record.questions
    assert (question.answer, question.answers) == ("2", ("3", *("2",) * 9))


def test_earlier_formats_of_swift_and_alpaca_beside_a_settings_file(tmp_path: Path) -> None:
    (tmp_path / "red.png").write_bytes(picture("red", 0))
    rows = [
        {"query": "<image>what?", "response": "red", "images": ["red.png"]},
        {"query": "and?", "response": "b", "history": [["q", "a"]], "images": ["red.png"]},
        {"instruction": "<image>name it", "input": "briefly", "output": "c", "images": ["red.png"]},
    ]
    (tmp_path / "train.json").write_text(json.dumps(rows))
    (tmp_path / "dataset_info.json").write_text('{\n  "train": {"file_name": "train.json"}\n}\n')
    records, (drop,) = read(tmp_path)
    turns = [[(each.question, each.answer) for each in record.questions] for record in records]
    assert turns == [[("what?", "red")], [("q", "a"), ("and?", "b")], [("name it\nbriefly", "c")]]
    assert (drop.file, drop.reason) == ("dataset_info.json", "no_conversation")


def test_a_table_named_captions_txt(tmp_path: Path) -> None:
    (tmp_path / "Images").mkdir()
    (tmp_path / "Images/red.png").write_bytes(picture("red", 0))
    (tmp_path / "captions.txt").write_text('image,caption\nred.png,"a disc, red"\n')
    ((record,), drops) = read(tmp_path)
    assert (record.captions, drops) == (("a disc, red",), [])


def test_what_save_to_disk_wrote_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "data-00000-of-00001.arrow").write_bytes(b"ARROW")
    with pytest.raises(DataError, match=r"Dataset\.to_parquet"):
        read(tmp_path)


def test_titles_of_drawings_are_cleaned(tmp_path: Path) -> None:
    drawing = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:dc="d"><metadata><Work>'
        "<dc:title>Clipart by A B - old bee</dc:title><dc:subject><Bag><li>hash</li><li>bee</li>"
        "<li>HASH(0x9371fbc)</li></Bag></dc:subject></Work></metadata></svg>"
    )
    (tmp_path / "bee.svg").write_text(drawing)
    ((record,), _) = read(tmp_path)
    assert record.captions == ("old bee", "bee")
    title = "my first clip art by hand - a bee"
    (tmp_path / "bee.svg").write_text(drawing.replace("Clipart by A B - old bee", title))
    ((record,), _) = read(tmp_path)
    assert record.captions == (title, "bee")


def test_excluded_images_are_counted_with_their_line(tmp_path: Path) -> None:
    (tmp_path / "source/a").mkdir(parents=True)
    for name in ("a/red.png", "a/blue.png", "a/pink [1].png", "green.png"):
        (tmp_path / "source" / name).write_bytes(picture("red", 0))
        (tmp_path / "source" / name).with_suffix(".txt").write_text("a disc")
    listed = tmp_path / "list.txt"
    listed.write_text(" # near-copies\n\ngreen\na/bl*\na/pink [1].png\nnone.png\n")
    exclusion = Exclusion(listed)
    found = list(exclusion.apply(READERS["pairs"](Source(path=tmp_path / "source"))))
    drops = [each for each in found if isinstance(each, Drop)]
    assert [(each.reason, each.detail) for each in drops] == [
        ("excluded", "a/bl*"),
        ("excluded", "a/pink [1].png"),
        ("excluded", "green"),
    ]
    assert exclusion.unused() == ["none.png"]
    listed.write_text("# nothing\n")
    with pytest.raises(DataError, match="has no line"):
        Exclusion(listed)


def test_a_name_in_a_tar_may_have_more_dots(tmp_path: Path) -> None:
    members = [
        ("a.2020.png", picture("red", 0)),
        ("a.2020.txt", b"a red disc"),
        ("b.png", picture("blue", 0)),
        ("b.other.txt", b"not this"),
        ("b.txt", b"a blue disc"),
    ]
    tiny_sources.write_tar(tmp_path / "source/a.tar", members, "w")
    records, drops = read(tmp_path / "source")
    assert ([each.captions for each in records], drops) == (
        [("a red disc",), ("a blue disc",)],
        [],
    )


def test_vqa_may_name_its_part_behind_the_questions(tmp_path: Path) -> None:
    tiny_sources.vqa(tmp_path)
    path = tmp_path / "v2_OpenEnded_mscoco_train2014_questions.json"
    whole = json.loads(path.read_text())
    path.write_text(json.dumps({key: whole[key] for key in ("questions", "data_subtype")}))
    records, drops = read(tmp_path)
    assert (len(records), drops) == (16, [])
