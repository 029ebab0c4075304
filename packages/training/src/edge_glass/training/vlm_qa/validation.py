"""Answers to validation questions while a model trains: they decide which weights are best.

Short answers are compared as a whole. If the true answers are sentences, hardly one is ever equal,
so their loss decides instead.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge_glass.fusion.prompt import IGNORED, answer_ids, left_padded, prompt_ids
from edge_glass.fusion.vlm import VisionLanguageModel
from edge_glass.training.engine.determinism import generator
from edge_glass.training.engine.processes import Processes
from edge_glass.training.evaluation.answers.long_answers import has_long_answers
from edge_glass.training.evaluation.answers.scores import exact_match
from edge_glass.training.features.cache import Features, gather, prepared_rows, vision_features
from edge_glass.training.runtime.split_names import validation_splits
from edge_glass.training.vlm_qa.answer_loss import AnswerLoss
from edge_glass.training.vlm_qa.config import VlmQaConfig
from edge_glass.training.vlm_qa.packing import collate_questions
from edge_glass.training.vlm_qa.token_arrays import PackedQuestions

LOSS_BATCH = 8  # questions with sentences as answers, whose logits need memory


@dataclass(frozen=True, kw_only=True)
class ValidationQuestions:
    """Some questions of a split, in the order of their length.

    Attributes:
        features: (M, P, D) of the split's images.
        images: for each question, the row of its image in `features`.
        prompts: for each question, its token ids, so that the answer follows.
        truths: for each question, its answer.
        answers: for each question, the token ids of its answer, the end-of-sequence token included.
        batch_size: questions that are answered together. It is the same for any number of
            processes, so that they compute the same scores.
    """

    features: Features
    images: NDArray[Any]
    prompts: list[list[int]]
    truths: list[str]
    answers: list[list[int]]
    batch_size: int

    def right(self, model: VisionLanguageModel, start: int) -> int:
        """Returns how many of the `batch_size` questions from `start` on it answers exactly."""
        part = slice(start, start + self.batch_size)
        device = next(model.parameters()).device
        input_ids, mask = left_padded(self.prompts[part], int(model.tokenizer.pad_token_id))
        answers = model.generate(
            gather(self.features, self.images[part]).to(device),
            input_ids.to(device),
            mask.to(device),
        )
        given = model.tokenizer.batch_decode(answers, skip_special_tokens=True)
        return sum(map(exact_match, given, self.truths[part]))

    def loss(self, model: VisionLanguageModel, start: int) -> float:
        """Returns the summed loss of the true answers to `LOSS_BATCH` questions from `start` on."""
        part = slice(start, start + LOSS_BATCH)
        samples = [
            PackedQuestions(
                image=int(image),
                input_ids=(*prompt, *answer),
                labels=(*[IGNORED] * len(prompt), *answer),
                segment_ids=(0,) * (len(prompt) + len(answer)),
            )
            for image, prompt, answer in zip(
                self.images[part], self.prompts[part], self.answers[part], strict=True
            )
        ]
        batch = collate_questions(samples, int(model.tokenizer.pad_token_id))
        loss: Tensor = AnswerLoss(model, label_smoothing=0.0)(
            gather(self.features, batch.images).to(model.device),
            batch.input_ids.to(model.device),
            batch.segment_ids.to(model.device),
            batch.labels.to(model.device),
        )
        return float(loss)


def validation_questions(
    names: list[str], prepared: Path, tokenizer: Any, config: VlmQaConfig
) -> dict[str, ValidationQuestions]:
    """Takes some questions of each validation split, always the same ones.

    They are drawn at random, because a file may be ordered by question type. The other splits are
    never read here. Questions without an answer are left out, and those of more than `max_length`
    tokens with the turns before them.
    """
    number, max_length = config.validation_questions, config.max_length
    found = {}
    for name in validation_splits(names):
        rows = [row for row in prepared_rows("questions", name, prepared) if row["answer"]]
        drawn = torch.randperm(len(rows), generator=generator("validation", name))[:number]
        chosen = [rows[index] for index in drawn.tolist()]
        prompts = [
            prompt_ids(tokenizer, row["question"], row.get("history") or ()) for row in chosen
        ]
        order = sorted(
            (index for index in range(len(chosen)) if len(prompts[index]) <= max_length),
            key=lambda index: (len(prompts[index]), index),
        )
        if order:
            found[name] = ValidationQuestions(
                features=vision_features("questions", name),
                images=np.array([chosen[index]["image"] for index in order]),
                prompts=[prompts[index] for index in order],
                truths=[chosen[index]["answer"] for index in order],
                answers=[
                    answer_ids(tokenizer, chosen[index]["answer"])[:max_length] for index in order
                ],
                batch_size=config.answers_at_once,
            )
    return found


def answers_are_long(splits: Mapping[str, ValidationQuestions]) -> bool:
    """Returns whether the true answers are sentences."""
    return has_long_answers([truth for split in splits.values() for truth in split.truths])


def deciding_score(splits: Mapping[str, ValidationQuestions]) -> str:
    """Returns the name of the score that decides which weights are best, for a message."""
    return "answer loss" if splits and answers_are_long(splits) else "exact match"


def validation_scores(
    model: VisionLanguageModel, splits: dict[str, ValidationQuestions], processes: Processes
) -> dict[str, dict[str, float]]:
    """Returns scores by name and split; the last name decides which weights are best.

    "accuracy" is the share of exact matches and, if the answers are long, "answer_loss" the mean
    cross entropy of a token of the true answers. "mean" is that over the splits.
    """
    training = model.training
    model.eval()
    scores = {"accuracy": validation_accuracy(model, splits, processes)}
    if answers_are_long(splits):
        scores["answer_loss"] = validation_loss(model, splits, processes)
    model.train(training)
    return scores


def validation_accuracy(
    model: VisionLanguageModel, splits: dict[str, ValidationQuestions], processes: Processes
) -> dict[str, float]:
    """Returns the share of exact matches by split, and "mean" over the splits.

    The processes share the batches. Each process counts whole numbers, so the sum is exact.
    """
    batches = [
        (row, start)
        for row, split in enumerate(splits.values())
        for start in range(0, len(split.truths), split.batch_size)
    ]
    right = torch.zeros(len(splits), dtype=torch.long)
    for row, start in batches[processes.rank :: processes.size]:
        right[row] += list(splits.values())[row].right(model, start)
    totals = processes.gather(right[None].to(processes.device)).sum(dim=0).tolist()
    found = {
        name: total / len(split.truths)
        for (name, split), total in zip(splits.items(), totals, strict=True)
    }
    return {**found, "mean": sum(found.values()) / len(found)}


@torch.no_grad()
def validation_loss(
    model: VisionLanguageModel, splits: dict[str, ValidationQuestions], processes: Processes
) -> dict[str, float]:
    """Returns the mean loss of a token of the true answers by split, and "mean" over the splits.

    The processes share the batches. Each batch has a place of its own among the gathered losses, so
    that their sum has one order.
    """
    found = {}
    for name, split in splits.items():
        starts = range(0, len(split.truths), LOSS_BATCH)
        losses = torch.zeros(len(starts), dtype=torch.float64)
        for place in range(len(starts))[processes.rank :: processes.size]:
            losses[place] = split.loss(model, starts[place])
        every = processes.gather(losses[None].to(processes.device)).sum(dim=0).tolist()
        found[name] = math.fsum(every) / sum(map(len, split.answers))
    return {**found, "mean": sum(found.values()) / len(found)}
