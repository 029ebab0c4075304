"""A folder with captions alone, or with questions alone, from the import to the last stage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge_glass.encoders.components import ConfigError
from edge_glass.encoders.files import DataError
from edge_glass.training.ingest.command import import_
from edge_glass.training.params import load_params
from edge_glass.training.results import results_page
from edge_glass.training.stages import (
    align,
    encode,
    evaluate_align,
    evaluate_vlm_qa,
    prepare,
    prepare_samples,
    vlm_qa,
)
from tiny_pixmo import COLOURS, PARAMS, picture

STAGES = (prepare, prepare_samples, encode, align, evaluate_align, vlm_qa, evaluate_vlm_qa)
NOTE = "nothing_to_do.tsv"

pytestmark = pytest.mark.usefixtures("restore_torch")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, params: dict[str, Any]) -> Path:
    """A project whose source is a folder of 24 images beside it."""
    monkeypatch.chdir(tmp_path)
    # of the templates, which need an entry per line
    datasets = params.pop("datasets")
    text = yaml.safe_dump(params) + "datasets:\n  tiny: " + json.dumps(datasets["tiny"]) + "\n"
    Path("params.yaml").write_text(text)
    Path("source").mkdir()
    for number in range(3):
        for colour in COLOURS:
            Path(f"source/{colour}{number}.png").write_bytes(picture(colour, number))
    return tmp_path


def write_source(columns: dict[str, str], splits: tuple[str, ...] = ()) -> None:
    """Writes the table beside the images; a column's text may name the image's colour."""
    lines = []
    for number in range(3):
        for colour in COLOURS:
            row = {key: text.format(colour=colour) for key, text in columns.items()}
            row |= {"split": splits[number]} if splits else {}
            lines.append(json.dumps({"image": f"{colour}{number}.png", **row}))
    Path("source/captions.jsonl").write_text("\n".join(lines) + "\n")


def import_source(**options: Any) -> Any:
    """Imports the source, adds it to params.yaml, and returns the parameters."""
    import_(Path("source"), Path("data/mine"), workers=1, add="mine")
    raw = yaml.safe_load(Path("params.yaml").read_text())
    for stage, changes in options.items():
        raw[stage]["tiny"].update(changes)
    Path("params.yaml").write_text(yaml.safe_dump(raw))
    return load_params(Path("params.yaml"))


def reason(path: str) -> str:
    return Path(path, NOTE).read_text().strip()


@pytest.mark.slow
def test_captions_alone(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_source({"caption": "a {colour} disc."})
    params = import_source(evaluate_align={"zero_shot": {"class_names": "group", "data": "tiny"}})
    for stage in STAGES:
        stage.run(params)
    printed = capfd.readouterr()
    said = printed.out + printed.err
    assert "zero_shot is for the data set tiny and is left out; the data set is mine" in said
    for name in ("vlm_qa", "evaluate_vlm_qa"):
        assert said.count(f"{name}: nothing to do: the data set has no questions") == (
            2 if name == "vlm_qa" else 1
        )
    report = json.loads(Path("metrics/prepare.json").read_text())
    assert "questions" not in report
    assert report["captions"]["captions_of_several_images"] == 8  # three images per colour
    assert json.loads(Path("metrics/evaluate_vlm_qa.json").read_text()) == {}
    for path in ("artifacts/prepared/questions", "models/vlm_qa", "plots/vlm_qa"):
        assert reason(path) == "the data set has no questions"
    for path in ("plots/evaluate_vlm_qa", "predictions/vlm_qa"):
        assert reason(path) == "the data set has no questions"
    retrieval = json.loads(Path("metrics/evaluate_align.json").read_text())
    assert set(retrieval) == {"val"}
    assert "zero_shot" not in retrieval["val"]
    assert Path("plots/align/plots/metrics/recall_val.tsv").is_file()
    page = results_page(folder)
    assert "  the data set has no questions" in page
    assert "plots/evaluate_vlm_qa" not in page


@pytest.mark.slow
def test_questions_alone(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_source(
        {"question": "what colour is it?", "answer": "{colour}"}, ("Training", "train", "dev")
    )
    with pytest.raises(
        ConfigError, match=r"visual_tokens\.kind is both, .* set kind: grid, or add"
    ):
        import_source()
    tokens = {**PARAMS["vlm_qa"]["tiny"]["visual_tokens"], "kind": "grid", "train_pooling": False}
    params = import_source(vlm_qa={"visual_tokens": tokens})
    for stage in STAGES:
        stage.run(params)
    printed = capfd.readouterr()
    assert "align: nothing to do: the data set has no captions" in printed.out + printed.err
    assert json.loads(Path("metrics/evaluate_align.json").read_text()) == {}
    assert reason("models/align") == reason("plots/evaluate_align") == reason("predictions/align")
    answers = json.loads(Path("metrics/evaluate_vlm_qa.json").read_text())
    assert set(answers) == {"dev"}
    # a validation split, by its name: scored during training, and drawn
    assert Path("plots/vlm_qa/plots/metrics/accuracy_dev.tsv").is_file()
    assert Path("plots/evaluate_vlm_qa/answers_dev.png").is_file()


@pytest.mark.slow
def test_only_a_split_train_reports_that_nothing_is_held_out(folder: Path) -> None:
    write_source({"caption": "a {colour} disc"}, ("train",) * 3)
    # more than there are pairs: reduced
    params = import_source(align={"batch_size": 64, "num_microbatches": 2})
    for stage in STAGES:
        stage.run(params)
    assert json.loads(Path("metrics/evaluate_align.json").read_text()) == {}
    assert "only the split train" in reason("plots/evaluate_align")
    assert Path("models/align/model.safetensors").is_file()
    assert "only the split train" in results_page(folder)


@pytest.mark.slow
def test_equal_captions_alone_are_refused_before_training(folder: Path) -> None:
    write_source({"caption": "a disc"})
    params = import_source()
    for stage in (prepare, encode):
        stage.run(params)
    with pytest.raises(DataError, match=r"train\.rows\.parquet: all \d+ captions belong to one gr"):
        align.run(params)
    assert not Path("models/align").exists()
