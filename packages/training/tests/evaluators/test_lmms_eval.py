"""lmms-eval scores a model by a task of ours: its figures are ours."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from lmms_eval import evaluator
from lmms_eval.models import get_model
from lmms_eval.tasks import TaskManager
from lmms_eval.tasks._task_utils.vqa_eval_metric import EvalAIAnswerProcessor
from lmms_eval.tasks.vqav2.utils import vqav2_process_results
from PIL import Image

from edge_glass.encoders.components import component
from edge_glass.fusion.evaluators.lmms_eval_model import EdgeGlass
from edge_glass.fusion.vlm import VisionLanguageModel
from edge_glass.fusion.vlm_config import VlmConfig
from edge_glass.training.evaluation.rules.question_scores import rule_metrics
from edge_glass.training.evaluation.rules.vqa_v2 import normalise_vqa_v2
from tiny_pixmo import COLOURS, picture

WORDS = ("two", "a", "red", "2", "don't", "dont", "car", "the", "blue")
TASK = """\
task: tiny
dataset_path: parquet
dataset_kwargs:
  data_files: {val: FOLDER/val.parquet}
test_split: val
output_type: generate_until
doc_to_visual: !function task.visual
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
process_results: !function task.results
generation_kwargs: {max_new_tokens: 6, until: []}
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
metadata:
  - version: 0.0
"""
FUNCTIONS = """\
import io
from PIL import Image
from lmms_eval.tasks.vqav2.utils import vqav2_process_results_val as results
def visual(doc):
    return [Image.open(io.BytesIO(doc["image"]))]
"""


def save_model(folder: Path) -> VisionLanguageModel:
    """A tiny model with random weights: its answers are words that do not mean anything."""
    torch.manual_seed(0)
    options: dict[str, Any] = {
        "config": {
            "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 2, "num_key_value_heads": 1, "initializer_range": 0.3,
        }
    }  # fmt: skip
    tokenizer = component("decoder", "qwen2_5_tiny", options, where="test").build_tokenizer(
        [*WORDS, *COLOURS]
    )
    vision = {"layers": ["stage7"]}
    values = {
        "format": "edge-glass-vlm/2",
        "vision_encoder": {"name": "efficientnet_lite0", "options": vision},
        "image_size": 64,
        "input_width": 320,
        "grid": [2, 2],
        "pooling": None,
        "fusion": {"name": "concat", "options": {}},
        "decoder": {"name": "qwen2_5_tiny", "options": options},
        "visual_tokens": {"kind": "grid", "width": 20},
        "max_new_tokens": 6,
    }
    model = VisionLanguageModel(VlmConfig.from_dict(values, where="test"), tokenizer).eval()
    model.save_pretrained(folder)
    return VisionLanguageModel.from_pretrained(folder)


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """The folder of a model with a task, and our own figure."""
    folder = tmp_path_factory.mktemp("lmms")
    model = save_model(folder / "model")
    rows = []
    for number, colour in enumerate(COLOURS):
        data = picture(colour, number)
        question = f"what is {colour}?"
        (answer,) = model.answer([Image.open(io.BytesIO(data))], [question])
        right = ["none", "The " + answer, answer][number % 3]  # of ten: 0, 1 or 2 more are wrong
        answers = [right] * (number % 5) + ["red, red"] * (10 - number % 5)
        rows.append(
            {
                "image": data,
                "question": question,
                "question_id": number,
                "answer": answers[0],
                "answers": [{"answer": each, "answer_id": k} for k, each in enumerate(answers)],
            }
        )
    pq.write_table(pa.Table.from_pylist(rows), folder / "val.parquet")
    (folder / "tiny.yaml").write_text(TASK.replace("FOLDER", str(folder)))
    (folder / "task.py").write_text(FUNCTIONS)
    given = model.answer(
        [Image.open(io.BytesIO(row["image"])) for row in rows], [row["question"] for row in rows]
    )
    ours = rule_metrics(
        given,
        [
            {"type": "", "answer": "", "answers": [each["answer"] for each in row["answers"]]}
            for row in rows
        ],
        {},
    )
    return folder, float(ours["vqa_v2_accuracy"])


def test_the_figure_of_vqa_v2_is_ours(scored: tuple[Path, float]) -> None:
    folder, ours = scored
    assert 0.1 < ours < 0.9
    found = evaluator.simple_evaluate(
        model="edge_glass",
        model_args=f"pretrained={folder / 'model'}",
        tasks=["tiny"],
        task_manager=TaskManager(include_path=str(folder)),
        batch_size=1,
        device="cpu",
        bootstrap_iters=0,
    )
    assert found["results"]["tiny"]["exact_match,none"] == pytest.approx(ours, abs=1e-12)


def test_the_entry_point_names_our_class() -> None:
    assert get_model("edge_glass") is EdgeGlass


@pytest.mark.parametrize("text", ["two", "Dont", "the  man's", "1,000 a", "x-y, z", "U.S.", "3."])
def test_the_normalisation_is_that_of_lmms_eval(text: str) -> None:
    theirs = EvalAIAnswerProcessor()
    expected = theirs.process_digit_article(theirs.process_punctuation(text))
    assert normalise_vqa_v2(text) == expected
    doc = {"answers": [{"answer": text, "answer_id": 0}], "question_id": 0}
    assert vqav2_process_results(doc, [text])["submission"]["answer"] == expected


def test_several_images_are_refused(scored: tuple[Path, float]) -> None:
    model = EdgeGlass(str(scored[0] / "model"), device="cpu")
    model.task_dict = {"t": {"val": [None]}}

    class Request:
        args = ("what?", {}, lambda _: [], 0, "t", "val")

    with pytest.raises(ValueError, match="t, val, document 0: found 0 visual inputs"):
        model.generate_until([Request()])
    with pytest.raises(NotImplementedError, match="choose tasks of the type generate_until"):
        model.loglikelihood([])
