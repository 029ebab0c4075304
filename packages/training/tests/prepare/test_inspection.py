"""Every PixMo sub-set goes through `prepare`, from several files and folders at once."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from edge_glass.training.params import load_params
from edge_glass.training.parquet.schemas import SUBSETS
from edge_glass.training.prepare.inspection import Inspection, inspect
from edge_glass.training.prepare.templates import question_answers
from edge_glass.training.stages import prepare
from tiny_pixmo import COLOURS, picture

POINTS = [{"x": 10.0, "y": 20.0}, {"x": 30.0, "y": 5.0}]
TEXTS: dict[str, dict[str, Any]] = {
    "pixmo-cap-qa": {"question": "[USER] what? [ASSISTANT] a disc [USER] sure?", "answer": "yes"},
    "pixmo-ask-model-anything": {"question": "what?", "answer": "a disc"},
    "pixmo-points": {"points": POINTS, "count": 2, "label": "discs", "collection_method": "p"},
    "pixmo-count": {"count": 3, "label": "discs", "points": {"x": [1.0], "y": [2.0]}},
    "pixmo-docs": {"image_id": "1", "questions": {"question": ["q", ""], "answer": ["a", "b"]}},
}


def own_image(number: int) -> bytes:
    return picture(COLOURS[number], number, (44, 40))  # not one of the tiny captions'


FOLDERS = {name: name.removeprefix("pixmo-") for name in TEXTS}


def write_subset(path: Path, subset: str, numbers: range, row_group_size: int) -> None:
    types = {name: kinds[-1] for name, kinds in SUBSETS[subset].columns.items()}
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema({**types, "image": image, "split": pa.string(), "extra": pa.int8()})
    points = TEXTS[subset].get("points")
    if subset == "pixmo-points":  # the layout of two lists
        points = {"x": [point["x"] for point in POINTS], "y": [point["y"] for point in POINTS]}
    rows = [
        {
            **TEXTS[subset], **({"points": points} if points else {}),
            "image_url": f"https://example.org/{number}", "image_sha256": "0", "split": "train",
            "image": {"bytes": own_image(number), "path": None}, "extra": 1,
        }
        for number in numbers
    ]  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist([{name: row.get(name) for name in schema.names} for row in rows],
                                 schema)  # fmt: skip
    pq.write_table(table, path, row_group_size=row_group_size)


def test_all_sub_sets_at_once(project: Path, params: dict[str, Any]) -> None:
    for subset, folder in FOLDERS.items():
        write_subset(project / f"data/{folder}/0.parquet", subset, range(3), 2)
    # a second file in a folder, and a file next to the folders
    write_subset(project / "data/points/1.parquet", "pixmo-points", range(3, 5), 2)
    write_subset(project / "data/single.parquet", "pixmo-ask-model-anything", range(5, 6), 1)
    sources = [*FOLDERS.values(), "single.parquet"]
    params["datasets"]["tiny"]["questions"] = sources
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    prepare.run(load_params(project / "params.yaml"))

    expected: list[tuple[str, str, str, bytes]] = []
    order = [(subset, range(3)) for subset in TEXTS]
    order[2] = ("pixmo-points", range(5))
    order.append(("pixmo-ask-model-anything", range(5, 6)))
    for subset, numbers in order:
        for index, number in enumerate(numbers):
            pairs = question_answers(subset, TEXTS[subset], seed=0, index=index)
            expected += [
                (pair.question, pair.answer, pair.type, own_image(number))
                for pair in pairs
                if pair.question
            ]
    folder = project / "artifacts/prepared/questions"
    images = pq.read_table(folder / "train.images.parquet")["bytes"].to_pylist()
    rows = pq.read_table(folder / "train.rows.parquet").to_pylist()
    written = [(r["question"], r["answer"], r["type"], images[r["image"]]) for r in rows]
    assert written == expected
    assert len(images) == 6  # each image once, in however many sub-sets it is
    report = json.loads(prepare.METRICS.read_text())["questions"]
    assert report["rows_read"] == 3 * 5 + 2 + 1
    assert report["dropped"] == {"empty_question": 3}  # of the documents
    assert report["texts_read"] == len(rows) + 3


def test_the_result_is_small_and_a_function_of_the_partition(project: Path) -> None:
    params = load_params(project / "params.yaml")
    partition = prepare.list_partitions(params)[0]
    result = inspect(partition)
    assert isinstance(result, Inspection)
    sent = pickle.dumps(inspect(pickle.loads(pickle.dumps(partition))))  # noqa: S301 - our own
    assert sent == pickle.dumps(result)
    assert len(pickle.dumps(partition)) < 3000
    first = picture(COLOURS[0], 0)
    assert result.digests[0].tobytes() == hashlib.sha256(first).digest()[:16]
    assert result.num_rows == len(result.images) == 24
    assert len(result.digests) == 24
