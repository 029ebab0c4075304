"""Captions as answers to instructions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from edge_glass.fusion.describing import WORDINGS, describing_instruction
from edge_glass.training.engine.determinism import generator

HINT_SHARE = 0.9  # of the instructions name a length, as in Molmo
HINT_NOISE = 0.1  # standard deviation of the named length, relative to the true one


def describing_rows(rows: Sequence[Mapping[str, Any]], seed: int) -> list[dict[str, Any]]:
    """Returns rows of captions as rows of questions.

    Wording and named length are functions of (seed, row number). The named length has noise, so
    that a model learns a rough length and not to count.
    """
    draws = torch.rand(len(rows), 2, generator=generator(seed, "describe")).tolist()
    noise = torch.randn(len(rows), generator=generator(seed, "describe length")).tolist()
    made = []
    for row, (wording, hint), deviation in zip(rows, draws, noise, strict=True):
        words = round(len(row["caption"].split()) * (1 + HINT_NOISE * deviation))
        instruction = describing_instruction(
            max(1, words) if hint < HINT_SHARE else None, int(wording * len(WORDINGS))
        )
        made.append(
            {
                "image": row["image"],
                "question": instruction,
                "answer": row["caption"],
                "type": "describe",
            }
        )
    return made
