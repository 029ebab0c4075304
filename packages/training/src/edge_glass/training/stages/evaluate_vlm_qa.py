"""Stage `evaluate_vlm_qa`: answers to held-out questions, compared with those of controls.

Controls: `blind` gets the mean features of up to 64 images of the split, `shuffled` the features of
a different image, `majority` answers each type of question with its most frequent training answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_glass.encoders.dual_encoder import DualEncoder
from edge_glass.encoders.files import output_folder, rounded, write_atomic, write_json
from edge_glass.fusion.vlm import VisionLanguageModel
from edge_glass.training.engine.determinism import make_deterministic
from edge_glass.training.engine.processes import Processes, join_processes
from edge_glass.training.evaluation.answers.controls import answer_with_controls
from edge_glass.training.evaluation.answers.descriptions import (
    agreement_metrics,
    captions_by_image,
    describe_all,
    word_metrics,
)
from edge_glass.training.evaluation.answers.long_answers import long_answer_metrics
from edge_glass.training.evaluation.answers.points import point_metrics
from edge_glass.training.evaluation.answers.scores import (
    exact_match,
    majority_answers,
    majority_predictions,
    turn_metrics,
    visual_reliance,
    vqa_metrics,
)
from edge_glass.training.evaluation.figures.plots import accuracy_figure, write_table
from edge_glass.training.evaluation.figures.sheets import Answered, answers_sheet, spread
from edge_glass.training.evaluation.figures.stored_images import stored_images
from edge_glass.training.evaluation.rules.question_scores import rule_metrics
from edge_glass.training.features.cache import prepared_rows, read_index, vision_features
from edge_glass.training.folders import ALIGNED, PREPARED, VLM
from edge_glass.training.runtime.nothing_to_do import nothing_to_do, read_note
from edge_glass.training.runtime.progress import say
from edge_glass.training.runtime.split_names import held_out_splits, is_validation

if TYPE_CHECKING:
    from edge_glass.training.params import Params

METRICS = Path("metrics/evaluate_vlm_qa.json")
DESCRIPTIONS = Path("metrics/evaluate_descriptions.json")  # empty if the model learned none
PLOTS = Path("plots/evaluate_vlm_qa")
PREDICTIONS = Path("predictions/vlm_qa")
NO_SPLIT = "the questions have only the split train, so no split is held out to score"


def run(params: Params) -> None:
    """Runs the stage."""
    config = params.evaluate_vlm_qa
    make_deterministic(params.num_threads, params.reproducibility)
    with join_processes(params.device) as processes:
        names = held_out_splits(read_index().splits.get("questions", []))
        reason = read_note(PREPARED / "questions") or (None if names else NO_SPLIT)
        if reason is not None:
            if processes.main:
                nothing_to_do("evaluate_vlm_qa", reason, PLOTS, PREDICTIONS, metrics=METRICS)
                write_json(DESCRIPTIONS, {})
            return
        model = VisionLanguageModel.from_pretrained(
            VLM, load_vision_encoder=False, device=str(processes.device)
        )
        answers: dict[str, dict[str, list[str]]] = {}
        for split in names:
            rows = prepared_rows("questions", split, PREPARED)
            features = vision_features("questions", split)
            answers[split] = answer_with_controls(
                model, rows, features, config.batch_size, split, processes
            )
        described = describe_splits(model, config.batch_size, processes)
        if processes.main:
            write_results(params, model, answers, described)


def describe_splits(
    model: VisionLanguageModel, batch_size: int, processes: Processes
) -> dict[str, list[str]]:
    """Describes the images of the held-out caption splits, if the model learned to describe."""
    if model.config.max_description_tokens is None:
        return {}
    return {
        split: describe_all(model, vision_features("captions", split), batch_size, split, processes)
        for split in held_out_splits(read_index().splits.get("captions", []))
    }


def write_results(
    params: Params,
    model: VisionLanguageModel,
    answers: dict[str, dict[str, list[str]]],
    described: dict[str, list[str]],
) -> None:
    """Scores answers and descriptions by split, and writes them with metrics and plots."""
    config = params.evaluate_vlm_qa
    train = prepared_rows("questions", "train", PREPARED)
    majority = majority_answers([row["answer"] for row in train], [row["type"] for row in train])
    metrics: dict[str, Any] = {}
    found: set[str] = set()
    with output_folder(PLOTS) as plots, output_folder(PREDICTIONS) as predictions:
        for split, given in answers.items():
            rows = prepared_rows("questions", split, PREPARED)
            types = [row["type"] for row in rows]
            found.update(types)
            given["majority"] = majority_predictions(majority, types)
            metrics[split] = score(given, rows, config.rules)
            write_predictions(predictions / f"{split}.jsonl", given, rows, config.rules)
            draw(metrics[split], given["model"], rows, split, config.sheet_questions, plots)
            say(
                f"evaluate_vlm_qa {split}: exact match {metrics[split]['accuracy']:.3f}, blind "
                f"{metrics[split]['blind']:.3f}, shuffled {metrics[split]['shuffled']:.3f}, "
                f"majority {metrics[split]['majority']:.3f}"
            )
        if unused := ", ".join(sorted(set(config.rules) - found)):
            say(
                f"evaluate_vlm_qa: rules names {unused}, and no question has such a type; found "
                f"{', '.join(sorted(found))}"
            )
        write_json(METRICS, rounded(metrics))
        scores = score_descriptions(model, described, config.batch_size, predictions)
        write_json(DESCRIPTIONS, rounded(scores))


def score_descriptions(
    model: VisionLanguageModel, described: dict[str, list[str]], batch_size: int, folder: Path
) -> dict[str, dict[str, float]]:
    """Scores the descriptions of the images of caption splits, if there are any.

    It writes one JSON line per image into `folder`, and returns the scores by split.
    """
    metrics: dict[str, dict[str, float]] = {}
    if not described:
        return metrics
    dual = DualEncoder.from_pretrained(ALIGNED, load_encoders=False).to(model.device)
    dual.add_encoders(text=True)
    for split, given in described.items():
        features = vision_features("captions", split)
        captions = captions_by_image(prepared_rows("captions", split, PREPARED), len(features))
        metrics[split] = {
            **word_metrics(given, captions),
            **agreement_metrics(dual, features, given, captions, batch_size),
        }
        lines = [
            json.dumps({"image": image, "description": text, "captions": captions[image]},
                       ensure_ascii=False)
            for image, text in enumerate(given)
        ]  # fmt: skip
        write_atomic(folder / f"descriptions_{split}.jsonl", ("\n".join(lines) + "\n").encode())
        scores = ", ".join(f"{name} {value:.3f}" for name, value in metrics[split].items())
        say(f"evaluate_vlm_qa {split}: descriptions: {scores}")
    return metrics


def score(
    answers: dict[str, list[str]],
    rows: list[dict[str, Any]],
    rules: Mapping[str, str],
) -> dict[str, Any]:
    """Returns accuracy, controls and figures by question type; BLEU and ROUGE-L of long answers.

    "by_turn" is the accuracy by turn, if there are conversations; each turn follows the true ones.
    "accuracy" is exact match; published rules have their own names, see `rule_metrics`.
    "visual_reliance" is the accuracy minus that with a different image: what the image contributes.
    """
    truths = [row["answer"] for row in rows]
    types = [row["type"] for row in rows]
    turns = [len(row.get("history") or ()) // 2 + 1 for row in rows]
    scores = {name: vqa_metrics(given, truths, types) for name, given in answers.items()}
    accuracies = {name: float(each["accuracy"]) for name, each in scores.items()}  # type: ignore[arg-type]
    return {
        "accuracy": accuracies["model"],
        "f1": scores["model"]["f1"],
        "blind": accuracies["blind"],
        "shuffled": accuracies["shuffled"],
        "majority": accuracies["majority"],
        "visual_reliance": visual_reliance(answers["model"], answers["shuffled"], truths),
        "by_type": scores["model"]["by_type"],
        "f1_by_type": scores["model"]["f1_by_type"],
        "blind_by_type": scores["blind"]["by_type"],
        **turn_metrics(answers["model"], truths, turns),
        **point_metrics(answers["model"], rows),
        **long_answer_metrics(answers["model"], truths),
        **rule_metrics(answers["model"], rows, rules),
    }


def write_predictions(
    path: Path,
    answers: dict[str, list[str]],
    rows: list[dict[str, Any]],
    rules: Mapping[str, str],
) -> None:
    """Writes one JSON line per question, with all answers and the true one.

    A question with several accepted answers has them as "answers", one whose type has a rule of its
    own has the "rule", and a later turn of a conversation the messages before it as "history".
    """
    lines = [
        json.dumps(
            {
                "image": row["image"],
                "type": row["type"],
                "question": row["question"],
                "truth": row["answer"],
                **{name: row[name] for name in ("history", "answers") if row.get(name)},
                **({"rule": rules[row["type"]]} if row["type"] in rules else {}),
                **{name: given[index] for name, given in answers.items()},
                "right": exact_match(answers["model"][index], row["answer"]),
            },
            ensure_ascii=False,
        )
        for index, row in enumerate(rows)
    ]
    write_atomic(path, ("\n".join(lines) + "\n").encode())


def draw(
    metrics: dict[str, Any],
    answers: list[str],
    rows: list[dict[str, Any]],
    split: str,
    number: int,
    folder: Path,
) -> None:
    """Writes accuracy by type as CSV and PNG, and a sheet of answered questions."""
    by_type = {"model": metrics["by_type"], "blind": metrics["blind_by_type"]}
    write_table(
        folder / f"accuracy_{split}.csv",
        rounded(
            [
                {"type": kind, "model": value, "blind": metrics["blind_by_type"][kind]}
                for kind, value in metrics["by_type"].items()
            ]
        ),
    )
    accuracy_figure(folder / f"accuracy_{split}.png", by_type, f"Answers on {split}")
    if not is_validation(split):
        return
    shown = spread(range(len(rows)), number)
    path = PREPARED / "questions" / f"{split}.images.parquet"
    images = stored_images(path, (rows[index]["image"] for index in shown))
    items = [
        Answered(
            image=images[rows[index]["image"]],
            question=rows[index]["question"],
            answer=answers[index],
            truth=rows[index]["answer"],
            right=exact_match(answers[index], rows[index]["answer"]),
        )
        for index in shown
    ]
    answers_sheet(folder / f"answers_{split}.png", items, f"Questions of {split}", columns=6)
