"""Each format: what its reader makes of a tiny source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import tiny_sources
from edge_glass.encoders.files import DataError
from edge_glass.training.ingest.detection import find_format
from edge_glass.training.ingest.reading.source import Source
from tiny_pixmo import COLOURS
from tiny_sources import QUESTION, read


@pytest.mark.parametrize("name", sorted(tiny_sources.SOURCES))
def test_the_format_is_found_and_nothing_is_dropped(name: str, tmp_path: Path) -> None:
    tiny_sources.SOURCES[name](tmp_path)
    assert find_format(Source(path=tmp_path)) == (name, [])
    records, drops = read(tmp_path)
    assert drops == []
    assert len(records) >= len(COLOURS)


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
