"""Batches of questions: all questions of a picture packed in one row behind one visual prefix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from edge_glass.fusion.packing import PADDING
from edge_glass.fusion.prompt import IGNORED, example_ids
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
    rows: Sequence[dict[str, Any]],
    tokenizer: PreTrainedTokenizerBase,
    max_questions: int,
    max_length: int,
) -> tuple[list[PackedQuestions], Counter[str]]:
    """Groups rows (image, question, answer) by picture, in the order of the pictures.

    Args:
        rows: one a question.
        tokenizer: the decoder's.
        max_questions: at most so many questions together.
        max_length: at most so many tokens together.

    Returns:
        The packed questions, and how many rows were left out for which reason: "empty answer", or
        "longer than max_length" where a question and its answer are so by themselves.

    Raises:
        ValueError: where no row is left.
    """
    by_image: dict[int, list[tuple[list[int], list[int]]]] = {}
    skipped: Counter[str] = Counter()
    for row in rows:
        if not (row["answer"] or "").strip():
            skipped["empty answer"] += 1
            continue
        ids = example_ids(tokenizer, row["question"], row["answer"])
        if len(ids[0]) > max_length:
            skipped["longer than max_length"] += 1
            continue
        by_image.setdefault(row["image"], []).append(ids)
    packed = []
    for image, examples in by_image.items():
        part: list[tuple[list[int], list[int]]] = []
        for example in examples:
            full = sum(len(ids) for ids, _ in part) + len(example[0]) > max_length
            if part and (full or len(part) == max_questions):
                packed.append(_packed(image, part))
                part = []
            part.append(example)
        packed.append(_packed(image, part))
    if not packed:
        raise ValueError(
            f"no question is left of {len(rows)} ({dict(skipped)}): raise vlm_qa.max_length, now "
            f"{max_length}, or look at the data"
        )
    return packed, skipped


def _packed(image: int, examples: list[tuple[list[int], list[int]]]) -> PackedQuestions:
    return PackedQuestions(
        image=image,
        input_ids=tuple(token for ids, _ in examples for token in ids),
        labels=tuple(label for _, labels in examples for label in labels),
        segment_ids=tuple(number for number, (ids, _) in enumerate(examples) for _ in ids),
    )


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
