"""Folders of classes, as they are laid out in common data sets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import tiny_sources
from edge_glass.encoders.files import DataError
from edge_glass.training.features.captions import caption_rows
from edge_glass.training.folders import PREPARED
from edge_glass.training.ingest.command import import_
from edge_glass.training.ingest.detection import find_format
from edge_glass.training.ingest.readers.classes import read_classes
from edge_glass.training.ingest.reading.records import Drop, Record
from edge_glass.training.ingest.reading.source import Source
from edge_glass.training.params import load_params
from edge_glass.training.stages import align, encode, evaluate_align, prepare


def read(root: Path, *names: str) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Returns (class, split) of each image, and (file, reason) of what is left out."""
    for name in names:
        tiny_sources.write_images((root / name).parent, 0, [Path(name).name])
    found = list(read_classes(Source(path=root)))
    records = [each for each in found if isinstance(each, Record)]
    assert all(each.captions == (each.labels["concept"],) for each in records)
    return (
        [(each.captions[0], each.split) for each in records],
        [(each.file, each.reason) for each in found if isinstance(each, Drop)],
    )


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["hot_dog/red.png", "cat/red.png"], [("cat", ""), ("hot dog", "")]),
        (["set/a/red.png", "set/b/x/red.png"], [("a", ""), ("b", "")]),
        (["train/a/red.png", "valid/b/red.png"], [("a", "train"), ("b", "val")]),
        (["a/train/red.png", "b/test/red.png"], [("a", "train"), ("b", "test")]),
        # a lone folder of a split is the whole data set
        (["train/a/red.png", "train/b/red.png"], [("a", ""), ("b", "")]),
        # "train" is a class as well
        (["bus/red.png", "train/red.png"], [("bus", ""), ("train", "")]),
        (["test/bus/red.png", "train/train/red.png"], [("bus", "test"), ("train", "train")]),
    ],
)
def test_class_and_split_of_common_layouts(
    names: list[str], expected: list[tuple[str, str]], tmp_path: Path
) -> None:
    assert read(tmp_path, *names) == (expected, [])
    assert find_format(Source(path=tmp_path)) == ("classes", [])


def test_an_image_in_no_class_is_reported(tmp_path: Path) -> None:
    kept, dropped = read(tmp_path, "a/red.png", "b/red.png", "_/red.png", "red.png")
    assert kept == [("a", ""), ("b", "")]
    assert sorted(dropped) == [("_/red.png", "empty_class"), ("red.png", "no_class")]


@pytest.mark.parametrize(
    "names", [["images/red.png", "images/blue.png"], ["train/red.png", "val/blue.png"]]
)
def test_one_folder_and_splits_alone_are_no_classes(names: list[str], tmp_path: Path) -> None:
    read(tmp_path, *names)
    with pytest.raises(DataError, match=r"found no captions and no questions in 2 \.png"):
        find_format(Source(path=tmp_path))


def test_texts_beside_the_images_are_preferred(tmp_path: Path) -> None:
    read(tmp_path, "a/red.png", "b/red.png")
    (tmp_path / "a/red.txt").write_text("a red disc")
    assert find_format(Source(path=tmp_path)) == ("pairs", [])


@pytest.mark.slow
@pytest.mark.usefixtures("restore_torch")
def test_zero_shot_scores_the_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, params: dict[str, Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny_sources.classes(tmp_path / "source")
    import_(source=tmp_path / "source", out=tmp_path / "data/mine")
    params["datasets"] = {"tiny": {"captions": "mine/captions"}}
    zero_shot = {"class_names": "group", "templates": ["a photo of a {}."]}
    params["evaluate_align"]["tiny"]["zero_shot"] = zero_shot
    Path("params.yaml").write_text(yaml.safe_dump(params))
    config = load_params(Path("params.yaml"))
    for stage in (prepare, encode, align, evaluate_align):
        stage.run(config)
    rows = caption_rows("train", PREPARED)
    assert sorted(rows.group_names) == sorted(f"{name[:-4]} disc" for name in tiny_sources.NAMES)
    scores = json.loads(Path("metrics/evaluate_align.json").read_text())["val"]["zero_shot"]
    assert scores["classes"] == len(tiny_sources.NAMES)
    dim = max((key for key in scores if key.isdigit()), key=int)
    assert 1 / len(tiny_sources.NAMES) <= scores[dim]["top_1"] <= scores[dim]["top_5"] <= 1
