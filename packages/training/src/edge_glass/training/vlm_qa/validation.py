"""Answers to validation questions while a model trains: they decide which weights are best."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edge_glass.fusion.prompt import left_padded, prompt_ids
from edge_glass.fusion.vlm import VisionLanguageModel
from edge_glass.training.engine.determinism import generator
from edge_glass.training.engine.processes import Processes
from edge_glass.training.evaluation.answers.scores import exact_match
from edge_glass.training.features.cache import Features, gather, prepared_rows, vision_features
from edge_glass.training.runtime.split_names import validation_splits

BATCH = 64  # questions; fixed, so that any number of processes computes the same scores


@dataclass(frozen=True, kw_only=True)
class ValidationQuestions:
    """Some questions of a split, in the order of their length.

    Attributes:
        features: (M, P, D) of the split's images, memory-mapped.
        images: for each question, the row of its image in `features`.
        prompts: for each question, its token ids, so that the answer follows.
        truths: for each question, its answer.
    """

    features: Features
    images: NDArray[Any]
    prompts: list[list[int]]
    truths: list[str]

    def right(self, model: VisionLanguageModel, start: int) -> int:
        """Returns how many of the `BATCH` questions from `start` on the model answers exactly."""
        part = slice(start, start + BATCH)
        device = next(model.parameters()).device
        input_ids, mask = left_padded(self.prompts[part], int(model.tokenizer.pad_token_id))
        answers = model.generate(
            gather(self.features, self.images[part]).to(device),
            input_ids.to(device),
            mask.to(device),
        )
        given = model.tokenizer.batch_decode(answers, skip_special_tokens=True)
        return sum(map(exact_match, given, self.truths[part]))


def validation_questions(
    names: list[str], prepared: Path, tokenizer: Any, *, number: int, max_length: int
) -> dict[str, ValidationQuestions]:
    """Takes `number` questions of each validation split, always the same ones.

    They are drawn at random, because a file may be ordered by question type. The other splits are
    never read here. Questions without an answer are left out, and those of more than `max_length`
    tokens with the turns before them.
    """
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
            )
    return found


def validation_accuracy(
    model: VisionLanguageModel, splits: dict[str, ValidationQuestions], processes: Processes
) -> dict[str, float]:
    """Returns the share of exact matches by split, and "mean" over the splits.

    The processes share the batches. Each process counts whole numbers, so the sum is exact.
    """
    training = model.training
    model.eval()
    batches = [
        (row, start)
        for row, split in enumerate(splits.values())
        for start in range(0, len(split.truths), BATCH)
    ]
    right = torch.zeros(len(splits), dtype=torch.long)
    for row, start in batches[processes.rank :: processes.size]:
        right[row] += list(splits.values())[row].right(model, start)
    model.train(training)
    totals = processes.gather(right[None].to(processes.device)).sum(dim=0).tolist()
    found = {
        name: total / len(split.truths)
        for (name, split), total in zip(splits.items(), totals, strict=True)
    }
    return {**found, "mean": sum(found.values()) / len(found)}
