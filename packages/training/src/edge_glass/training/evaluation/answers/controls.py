"""Answers to the questions of a split, with the controls that show what the images contribute."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edge_glass.fusion.vlm import VisionLanguageModel
from edge_glass.training.features.cache import Features, gather
from edge_glass.training.runtime.progress import progress


def answer_with_controls(
    model: VisionLanguageModel,
    rows: list[dict[str, Any]],
    features: Features,
    batch_size: int,
    description: str,
) -> dict[str, list[str]]:
    """Answers all questions with their image, without an image, and with a different image.

    A turn of a conversation follows its true history, not the answers that were given before it.

    Returns "model", "blind" (features of zeros) and "shuffled" answers, each in the order of the
    rows. The "image" of a row is the image's row in `features` (M, P, D).
    """
    images = np.array([row["image"] for row in rows])
    # half of the images further on: never the question's own, and nothing is drawn at random
    others = (images + len(features) // 2) % len(features)
    questions = [row["question"] for row in rows]
    histories = [row.get("history") or () for row in rows]

    def answered(chosen: NDArray[Any], name: str, *, blind: bool = False) -> list[str]:
        answers: list[str] = []
        starts = range(0, len(questions), batch_size)
        for start in progress(starts, f"answer {description}{name}", total=len(starts)):
            part = slice(start, start + batch_size)
            batch = gather(features, chosen[part])
            answers += model.answer_features(
                torch.zeros_like(batch) if blind else batch,
                questions[part],
                histories=histories[part],
            )
        return answers

    return {
        "model": answered(images, ""),
        "blind": answered(images, " blind", blind=True),
        "shuffled": answered(others, " shuffled"),
    }
