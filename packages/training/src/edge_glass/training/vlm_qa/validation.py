"""Answers on a part of the validation splits while a model trains: what `best` goes by."""

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

BATCH = 64  # questions; part of what a validation is, so that any number of processes agrees


@dataclass(frozen=True, kw_only=True)
class ValidationQuestions:
    """Some questions of a split, in the order of their length.

    Attributes:
        features: of the split's pictures, memory-mapped.
        images: the questions' pictures.
        prompts: token ids, ready for the answer.
        truths: the answers.
    """

    features: Features
    images: NDArray[Any]
    prompts: list[list[int]]
    truths: list[str]

    def right(self, model: VisionLanguageModel, start: int) -> int:
        """Returns how many of the batch from `start` on the model answers exactly."""
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
    """Takes `number` questions of each split whose name begins with "val", always the same ones.

    They are drawn, as questions in the order of a file may go by type in turn. Test splits are
    never looked at here. Questions of more than `max_length` tokens are left out, and those
    without an answer.
    """
    found = {}
    for name in sorted(each for each in names if each.startswith("val")):
        rows = [row for row in prepared_rows("questions", name, prepared) if row["answer"]]
        drawn = torch.randperm(len(rows), generator=generator("validation", name))[:number]
        chosen = [rows[place] for place in drawn.tolist()]
        prompts = [prompt_ids(tokenizer, row["question"]) for row in chosen]
        order = sorted(
            (place for place in range(len(chosen)) if len(prompts[place]) <= max_length),
            key=lambda place: (len(prompts[place]), place),
        )
        if order:
            found[name] = ValidationQuestions(
                features=vision_features("questions", name),
                images=np.array([chosen[place]["image"] for place in order]),
                prompts=[prompts[place] for place in order],
                truths=[chosen[place]["answer"] for place in order],
            )
    return found


def validation_accuracy(
    model: VisionLanguageModel,
    splits: dict[str, ValidationQuestions],
    processes: Processes,
) -> dict[str, float]:
    """Returns the share of exact matches by split, and "mean" over the splits.

    The processes share the batches; what each finds is whole numbers, so that the sum is exact.
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
