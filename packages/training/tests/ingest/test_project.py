"""The lines for `params.yaml`: comments and layout stay."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from edge_glass.training.ingest.next_steps import next_steps
from edge_glass.training.ingest.project import Entry, View, add_entry, make_entry, read_view

PARAMS = """\
# The one configuration file.
data: pixmo_sample        # a comment
data_folder: data         # the paths below begin in it
datasets:                 # Parquet files
  pixmo_sample: {captions: captions, questions: questions}
  pixmo:                  # several
    captions: cap
    questions: [cap_qa, "a: b"]   # the last

vision_encoder: clip
vision_encoders:
  clip: {fit: crop, pad_color: mean}
scale: sample
encode:
  sample: {caption_image_size: 96}
"""
ENTRY = Entry(name="mine", data_folder="data", sources={"captions": "mine/captions"})


@pytest.fixture
def params(tmp_path: Path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text(PARAMS)
    return path


def test_an_entry_is_added_and_chosen_and_nothing_else_changes(params: Path) -> None:
    changed = add_entry(params, ENTRY)
    assert changed == ["  mine: {captions: mine/captions}", "data: mine"]
    expected = PARAMS.replace("data: pixmo_sample ", "data: mine ")
    last = '"a: b"]   # the last\n'
    expected = expected.replace(last, f"{last}  mine: {{captions: mine/captions}}\n")
    assert params.read_text() == expected
    assert add_entry(params, ENTRY) == []
    assert params.read_text() == expected


def test_a_name_that_is_taken_is_refused(params: Path) -> None:
    entry = Entry(name="pixmo", data_folder="data", sources={"captions": "mine/captions"})
    with pytest.raises(ValueError, match="data set 'pixmo' is there already"):
        add_entry(params, entry)
    assert params.read_text() == PARAMS


@pytest.mark.parametrize(
    "text",
    ["", "data: [", "- 1\n", "datasets: {}\n", "datasets: {a: {captions: b}}\ndata: a\n", "\x00"],
)
def test_a_file_of_a_different_layout_is_left_alone(text: str, params: Path) -> None:
    params.write_text(text)
    with pytest.raises(ValueError, match=r"params\.yaml[:,] "):
        add_entry(params, ENTRY)
    assert params.read_text() == text


def test_paths_with_unusual_characters_are_quoted(params: Path) -> None:
    entry = Entry(name="mine", data_folder="my data", sources={"captions": 'é "x": #/captions'})
    add_entry(params, entry)
    raw = yaml.safe_load(params.read_text())
    assert raw["data_folder"] == "my data"
    assert raw["datasets"]["mine"] == {"captions": 'é "x": #/captions'}


def test_the_data_folder_is_kept_if_the_output_lies_in_it(params: Path, tmp_path: Path) -> None:
    inside = make_entry(tmp_path / "data/a/b", ("captions", "questions"), params, "x")
    assert inside.data_folder == "data"
    assert inside.sources == {"captions": "a/b/captions", "questions": "a/b/questions"}
    beside = make_entry(tmp_path / "own/mine-1", ("captions",), params, None)
    assert (beside.name, beside.data_folder) == ("mine_1", "own")
    assert beside.sources == {"captions": "mine-1/captions"}
    top = make_entry(tmp_path / "mine", ("captions",), params, None)
    assert (top.data_folder, dict(top.sources)) == ("mine", {"captions": "captions"})
    far = make_entry(tmp_path.parent / "far/mine", ("captions",), params, None)
    assert far.data_folder == str(tmp_path.parent / "far")


def test_the_view_is_that_of_the_chosen_encoder(params: Path, tmp_path: Path) -> None:
    assert read_view(params) == View(name="clip", size=96, fit="crop", pad_color="mean")
    assert read_view(tmp_path / "none.yaml") == View()
    params.write_text("encode: 3\nvision_encoder: [1]\n")
    assert read_view(params) == View()


def test_data_outside_the_project_are_not_added_to_dvc(params: Path, tmp_path: Path) -> None:
    outside = tmp_path.parent / f"{tmp_path.name}-data"
    lines = next_steps(outside / "mine", ("captions", "questions"), params, "mine")
    assert lines[-3].startswith(f"{outside} is outside the project: `dvc repro` notices")
    assert lines[-2:] == ["Next:", "  dvc repro"]


def test_next_steps_warn_before_tracked_data_are_lost(params: Path, tmp_path: Path) -> None:
    (tmp_path / "data/mine").mkdir(parents=True)
    (tmp_path / "data.dvc").write_text("outs: []\n")
    lines = next_steps(tmp_path / "data/mine", ("captions", "questions"), params, None)
    assert any("dvc pull data.dvc" in line for line in lines)
    assert lines[-2:] == ["  dvc add data", "  dvc repro"]
    (tmp_path / "data/captions").mkdir()
    lines = next_steps(tmp_path / "data/mine", ("captions", "questions"), params, "mine")
    assert not any("dvc pull" in line for line in lines)
    assert lines[-1] == "  dvc repro"
    assert yaml.safe_load(params.read_text())["data"] == "mine"


@pytest.mark.parametrize("kind", ["captions", "questions"])
def test_one_kind_alone_is_added_and_its_limits_are_named(
    kind: str, params: Path, tmp_path: Path
) -> None:
    (tmp_path / "data/mine").mkdir(parents=True)
    lines = next_steps(tmp_path / "data/mine", (kind,), params, "mine")
    raw = yaml.safe_load(params.read_text())
    assert (raw["data"], raw["datasets"]["mine"]) == ("mine", {kind: f"mine/{kind}"})
    assert "  dvc repro" in lines
    other = {"captions": "questions", "questions": "captions"}[kind]
    assert any(line.startswith(f"There are no {other}: the stages for") for line in lines)
