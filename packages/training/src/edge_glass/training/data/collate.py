"""Batches of questions: all questions of a picture packed in one row behind one visual prefix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from edge_glass.fusion.prefix import PADDING
from edge_glass.fusion.prompt import IGNORED, example_ids
from torch import Tensor

from edge_glass.training.engine.determinism import generator
from edge_glass.training.engine.order import epoch_order

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class PackedQuestions:
    """All questions of one picture, one after another.

    Attributes:
        image: the picture's row in the feature cache.
        input_ids: T token ids.
        labels: T labels, -100 over the prompts.
        segment_ids: T question numbers.
    """

    image: int
    input_ids: tuple[int, ...]
    labels: tuple[int, ...]
    segment_ids: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class QuestionBatch:
    """B pictures with their questions, padded on the right; all (B, T) but `images` (B,)."""

    images: Tensor
    input_ids: Tensor
    labels: Tensor
    segment_ids: Tensor

    @property
    def useful_share(self) -> float:
        """Share of the positions that are no padding."""
        return float((self.segment_ids != PADDING).float().mean())


def pack_questions(
    rows: Sequence[dict[str, Any]], tokenizer: PreTrainedTokenizerBase, max_questions: int
) -> list[PackedQuestions]:
    """Groups rows (image, question, answer) by picture, at most `max_questions` together."""
    by_image: dict[int, list[tuple[list[int], list[int]]]] = {}
    for row in rows:
        ids = example_ids(tokenizer, row["question"], row["answer"])
        by_image.setdefault(row["image"], []).append(ids)
    packed = []
    for image, examples in by_image.items():
        for start in range(0, len(examples), max_questions):
            part = examples[start : start + max_questions]
            packed.append(
                PackedQuestions(
                    image=image,
                    input_ids=tuple(token for ids, _ in part for token in ids),
                    labels=tuple(label for _, labels in part for label in labels),
                    segment_ids=tuple(number for number, (ids, _) in enumerate(part) for _ in ids),
                )
            )
    return packed


def collate_questions(samples: Sequence[PackedQuestions], pad_token_id: int) -> QuestionBatch:
    """Pads a batch on the right to its longest row."""
    length = max(len(sample.input_ids) for sample in samples)

    def padded(values: tuple[int, ...], fill: int) -> list[int]:
        return [*values, *[fill] * (length - len(values))]

    return QuestionBatch(
        images=torch.tensor([sample.image for sample in samples]),
        input_ids=torch.tensor([padded(each.input_ids, pad_token_id) for each in samples]),
        labels=torch.tensor([padded(each.labels, IGNORED) for each in samples]),
        segment_ids=torch.tensor([padded(each.segment_ids, PADDING) for each in samples]),
    )


def bucketed_batches(
    lengths: Sequence[int], batch_size: int, *, seed: int, epoch: int, window: int = 32
) -> list[list[int]]:
    """Returns the batches of an epoch, each of samples of similar length.

    A permutation by (seed, epoch) is cut in windows of `window` batches; a window is sorted by
    length and cut into batches, whose order is drawn anew, so that lengths don't come in order.

    Raises:
        ValueError: where a batch holds more samples than there are.
    """
    if batch_size > len(lengths):
        raise ValueError(
            f"batch_size is {batch_size}, but there are only {len(lengths)} pictures: lower it"
        )
    order = epoch_order(len(lengths), seed=seed, epoch=epoch).tolist()
    batches: list[list[int]] = []
    for start in range(0, len(order), window * batch_size):
        part = sorted(
            order[start : start + window * batch_size], key=lambda index: (lengths[index], index)
        )
        batches += [part[at : at + batch_size] for at in range(0, len(part), batch_size)]
    whole = [batch for batch in batches if len(batch) == batch_size]
    shuffle = torch.randperm(len(whole), generator=generator(seed, "buckets", epoch)).tolist()
    return [whole[place] for place in shuffle]
