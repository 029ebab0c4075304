"""Stage `prepare`: drops are counted, kept rows are complete, no output is partial."""

from __future__ import annotations

import io
import json
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from edge_glass.encoders.files import DataError
from edge_glass.training.params import load_params, parse_params
from edge_glass.training.prepare.inspection import inspect
from edge_glass.training.prepare.leaks import hash_again, image_groups
from edge_glass.training.prepare.plan import make_plan
from edge_glass.training.stages import prepare
from tiny_pixmo import caption_rows, picture, question_rows, write_parquet


def large() -> bytes:
    file = io.BytesIO()
    Image.effect_noise((64, 64), 90).save(file, "PNG")
    return file.getvalue()


def without_header() -> bytes:
    data = large()
    return data[:11] + b"\x02" + data[12:]  # the first chunk's length: Pillow raises ValueError


BAD: dict[str, dict[str, Any]] = {
    "empty_caption": {"caption": ""},
    "whitespace_caption": {"caption": " \n\t"},
    "long_caption": {"caption": "x" * 101},
    "missing_image": {"image": {"bytes": None, "path": None}},
    "not_an_image": {"image": {"bytes": b"<html>gone</html>", "path": None}},
    "undecodable_image": {"image": {"bytes": without_header(), "path": None}},
    "truncated_image": {"image": {"bytes": large()[:2000], "path": None}},
    "too_small": {"image": {"bytes": picture("red", 0, (7, 7)), "path": None}},
    "extreme_aspect": {"image": {"bytes": picture("red", 0, (100, 20)), "path": None}},
}


def test_every_bad_row_is_dropped_for_its_reason(project: Path) -> None:
    rows = caption_rows("train", range(2))
    bad = [{**rows[0], **change} for change in BAD.values()]
    write_parquet(project / "data/captions/train.parquet", [*rows[:5], *bad, *rows[5:]])
    prepare.run(load_params(project / "params.yaml"))
    report = json.loads((project / "metrics/prepare.json").read_text())
    assert report["captions"]["dropped"] == dict.fromkeys(sorted(BAD), 1)
    assert report["captions"]["rows_kept"] == {"train": len(rows), "val": 16}
    folder = project / "artifacts/prepared"
    # data without several answers have the columns, and so the bytes, that they always had
    names = pq.read_schema(folder / "questions/val.rows.parquet").names
    assert names == ["image", "question", "answer", "type"]
    written = pq.read_table(folder / "captions/train.rows.parquet").to_pylist()
    assert [row["caption"] for row in written] == [row["caption"] for row in rows]


def test_a_row_that_is_not_utf8_is_dropped(project: Path) -> None:
    rows = caption_rows("train", range(2))
    path = project / "data/captions/train.parquet"
    table = pa.Table.from_pylist(rows)
    captions = [row["caption"].encode() for row in rows]
    captions[3] = b"caf\xe9"  # latin-1
    column = pa.array(captions, pa.binary()).view(pa.string())
    number = table.schema.get_field_index("caption")
    pq.write_table(table.set_column(number, "caption", column), path)
    prepare.run(load_params(project / "params.yaml"))
    report = json.loads(prepare.METRICS.read_text())["captions"]
    assert report["dropped"] == {"not_utf8": 1}
    assert report["rows_kept"]["train"] == len(rows) - 1


@pytest.mark.parametrize("split", ["../outside", "a/b", ".hidden"])
def test_a_split_that_cannot_be_a_file_name_is_refused(project: Path, split: str) -> None:
    rows = [{**row, "split": split} for row in caption_rows("val", range(3, 4))]
    write_parquet(project / "data/captions/val.parquet", rows)
    with pytest.raises(
        DataError, match=r"val\.parquet, row 0: column 'split' is '.*'; a split can't be a file"
    ):
        prepare.run(load_params(project / "params.yaml"))


def test_each_image_is_written_once(project: Path) -> None:
    prepare.run(load_params(project / "params.yaml"))
    folder = project / "artifacts/prepared/questions"
    images = pq.read_table(folder / "train.images.parquet").to_pylist()
    rows = pq.read_table(folder / "train.rows.parquet").to_pylist()
    source = question_rows("train", range(3))
    assert len(images) == len(source) // 2
    assert len({image["image_id"] for image in images}) == len(images)
    for row, given in zip(rows, source, strict=True):
        assert images[row["image"]]["bytes"] == given["image"]["bytes"]
        assert (row["question"], row["answer"]) == (given["question"], given["answer"])


def test_no_image_is_in_two_splits(project: Path) -> None:
    # the same images with a different split: they stay in the split of their first row
    rows = [{**row, "split": "val"} for row in caption_rows("train", range(1))]
    write_parquet(project / "data/captions/val.parquet", rows + caption_rows("val", range(3, 4)))
    prepare.run(load_params(project / "params.yaml"))
    report = json.loads((project / "metrics/prepare.json").read_text())
    assert report["captions"]["dropped"] == {"image_of_another_split": 8}
    assert report["captions"]["rows_kept"] == {"train": 24, "val": 8}


def test_without_a_split_column_the_image_decides(project: Path) -> None:
    rows = caption_rows("train", range(5))
    for row in rows:
        del row["split"]
    (project / "data/captions/val.parquet").unlink()
    write_parquet(project / "data/captions/train.parquet", rows)
    prepare.run(load_params(project / "params.yaml"))
    report = json.loads((project / "metrics/prepare.json").read_text())
    kept = report["captions"]["rows_kept"]
    assert sum(kept.values()) == 40
    assert 8 <= kept["train"] <= 32  # four standard deviations around the half


def written(project: Path) -> dict[str, bytes]:
    files = [*sorted((project / "artifacts/prepared").rglob("*.parquet")), prepare.METRICS]
    return {str(path): path.read_bytes() for path in files}


def test_any_executor_gives_the_same_bytes(project: Path, params: dict[str, Any]) -> None:
    for kind, rows in (("captions", caption_rows), ("questions", question_rows)):
        # many row groups, so results can arrive out of order
        table = pa.Table.from_pylist(rows("train", range(3)))
        pq.write_table(table, project / f"data/{kind}/train.parquet", row_group_size=3)
    prepare.run(load_params(project / "params.yaml"))
    expected = written(project)
    with ThreadPoolExecutor(3) as threads:
        prepare.run(load_params(project / "params.yaml"), executor=threads)
    assert written(project) == expected
    params["prepare"]["tiny"]["num_workers"] = 2
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    prepare.run(load_params(project / "params.yaml"))
    assert written(project) == expected


def test_row_groups_are_small(project: Path) -> None:
    params = load_params(project / "params.yaml")
    prepare.run(params)
    partitions = prepare.list_partitions(params)
    results = [inspect(partition) for partition in partitions]
    plan = make_plan(results, [partition.kind for partition in partitions], params.prepare)
    prepare.write(partitions, plan.groups, project / "work", group_rows=5, group_bytes=600)
    written = sorted((project / "work").rglob("*.parquet"))
    assert len(written) == 8
    for path in written:
        table = pq.read_table(project / "artifacts/prepared" / path.relative_to(project / "work"))
        assert pq.read_table(path) == table
        assert pq.read_metadata(path).num_row_groups > 2


def test_the_history_of_a_turn_is_written_if_the_data_have_conversations(project: Path) -> None:
    params = load_params(project / "params.yaml")
    names = ["image", "question", "answer", "type"]
    prepare.run(params)
    single = pq.read_table(project / "artifacts/prepared/questions/train.rows.parquet")
    assert single.schema.names == names
    rows = question_rows("train", range(1))
    messages = ["what colour is it?", rows[0]["answer"], rows[1]["question"], rows[1]["answer"]]
    rows = [{**row, "messages": None} for row in rows]
    rows[1]["messages"] = messages
    write_parquet(project / "data/questions/talk.parquet", rows)
    prepare.run(params)
    for split in ("train", "val"):
        written = pq.read_table(project / f"artifacts/prepared/questions/{split}.rows.parquet")
        assert written.schema.names == [*names, "history"]
        found = [row for row in written["history"].to_pylist() if row is not None]
        assert found == ([messages[:2]] if split == "train" else [])


def test_an_image_of_captions_and_questions_has_one_split(project: Path) -> None:
    rows = question_rows("train", range(1))
    stray = {**rows[0], "image": caption_rows("val", range(3, 4))[0]["image"]}
    write_parquet(project / "data/questions/train.parquet", [*rows, stray])
    prepare.run(load_params(project / "params.yaml"))
    report = json.loads(prepare.METRICS.read_text())
    assert report["questions"]["dropped"] == {"image_of_another_split": 1}
    assert report["leaks"] == 0


@pytest.mark.parametrize(
    ("choice", "lost", "across"),
    [("keep", {}, 1), ("drop_across_splits", {"val": 1}, 0), ("drop", {"train": 1, "val": 1}, 0)],
)
def test_near_duplicates_are_reported_or_dropped(
    project: Path, params: dict[str, Any], choice: str, lost: dict[str, int], across: int
) -> None:
    noise = [Image.frombytes("RGB", (9, 8), random.Random(n).randbytes(216)) for n in range(6)]
    big = [image.resize((180, 160), Image.Resampling.BICUBIC) for image in noise]

    def row(number: int, quality: int, split: str) -> dict[str, Any]:
        file = io.BytesIO()
        big[number].save(file, "JPEG", quality=quality)
        first = caption_rows(split, range(1))[0]
        return {**first, "image": {"bytes": file.getvalue(), "path": None}}

    train = [row(0, 90, "train"), row(1, 90, "train"), row(1, 60, "train"), row(2, 90, "train")]
    write_parquet(project / "data/captions/train.parquet", train)
    val = [row(0, 60, "val"), row(3, 90, "val")]
    write_parquet(project / "data/captions/val.parquet", val)
    # without the discs of the tiny questions, which look alike
    questions = question_rows("train", range(1))[:1]
    questions[0]["image"] = row(4, 90, "train")["image"]
    write_parquet(project / "data/questions/train.parquet", questions)
    (project / "data/questions/val.parquet").unlink()
    params["prepare"]["tiny"].update(near_duplicates=choice, near_duplicate_distance=4)
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    prepare.run(load_params(project / "params.yaml"))
    report = json.loads(prepare.METRICS.read_text())
    kept = report["captions"]["rows_kept"]
    assert kept == {"train": 4 - lost.get("train", 0), "val": 2 - lost.get("val", 0)}
    assert report["captions"]["dropped"].get("near_duplicate", 0) == sum(lost.values())
    assert report["near_duplicates"]["across_splits"] == (
        {"train": across, "val": across} if across else {}
    )
    assert report["near_duplicates"]["pictures"] == 4 - 2 * sum(lost.values())


def test_data_that_change_during_the_stage_stop_it(project: Path) -> None:
    params = load_params(project / "params.yaml")
    partitions = prepare.list_partitions(params)
    results = [inspect(partition) for partition in partitions]
    plan = make_plan(results, [partition.kind for partition in partitions], params.prepare)
    rows = caption_rows("train", range(3))
    rows[5]["image"]["bytes"] = picture("white", 5)
    write_parquet(project / "data/captions/train.parquet", rows)
    with pytest.raises(DataError, match=r"captions/train.parquet was changed while the stage read"):
        prepare.write(partitions, plan.groups, project / "work")


def test_an_image_that_changes_on_the_disk_is_found(project: Path) -> None:
    prepare.run(load_params(project / "params.yaml"))
    path = project / "artifacts/prepared/captions/val.images.parquet"
    table = pq.read_table(path).to_pylist()
    table[3]["bytes"] = table[3]["bytes"][:-1] + b"?"
    pq.write_table(pa.Table.from_pylist(table), path)
    groups = [group for _, group in image_groups(Path("artifacts/prepared"))]
    (changed,) = (group for group in groups if group.path(0).samefile(path))
    with pytest.raises(DataError, match=r"val\.images\.parquet: image 3 has .* written as"):
        hash_again(changed)


def test_an_empty_split_stops_and_leaves_nothing(project: Path) -> None:
    rows = [{**row, "caption": ""} for row in caption_rows("train", range(1))]
    write_parquet(project / "data/captions/train.parquet", rows)
    with pytest.raises(DataError, match=r"of 24 rows, split train received none; .* 8 empty_cap"):
        prepare.run(load_params(project / "params.yaml"))
    assert not (project / "artifacts").exists()


def test_shares_that_leave_no_row_for_train_are_named(
    project: Path, params: dict[str, Any]
) -> None:
    """Nothing was dropped here: the shares, not the limits, are the reason."""
    rows = caption_rows("train", range(1))
    for row in rows:
        del row["split"]
    (project / "data/captions/val.parquet").unlink()
    write_parquet(project / "data/captions/train.parquet", rows)
    params["prepare"]["tiny"]["shares"] = {"train": 1e-9, "val": 1 - 1e-9}
    parsed = parse_params(params, where="p")
    with pytest.raises(
        DataError, match=r"of 8 rows, .* kept: val 8; dropped: none\. .*prepare\.tiny .*shares"
    ):
        prepare.run(parsed)


def test_a_missing_column_stops_and_leaves_nothing(project: Path) -> None:
    rows = question_rows("train", range(1))
    for row in rows:
        del row["answer"]
    write_parquet(project / "data/questions/train.parquet", rows)
    with pytest.raises(DataError, match=r"train\.parquet: pixmo-cap-qa needs column 'answer'"):
        prepare.run(load_params(project / "params.yaml"))
    assert not (project / "artifacts").exists()
