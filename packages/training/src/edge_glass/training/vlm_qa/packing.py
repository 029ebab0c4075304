"""Batches of questions: all questions of an image packed in one row behind one visual prefix.

Questions that belong to one conversation are one segment of the row: a later turn reads the earlier
ones. Different conversations, single questions among them, do not read each other.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from edge_glass.fusion.packing import PADDING
from edge_glass.fusion.prompt import IGNORED, turns_ids
from edge_glass.training.engine.determinism import generator
from edge_glass.training.engine.order import epoch_order
from edge_glass.training.vlm_qa.conversations import Conversation, join_turns
from edge_glass.training.vlm_qa.token_arrays import PackedQuestions, TokenArrays, token_arrays

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Example = tuple["array[int]", "array[int]"]  # ids and labels of a conversation


@dataclass(frozen=True, kw_only=True)
class QuestionBatch:
    """B images with their questions, padded on the right. `images` is (B,), the others (B, T)."""

    images: Tensor
    input_ids: Tensor
    labels: Tensor
    segment_ids: Tensor


def pack_questions(
    rows: Sequence[dict[str, Any]],
    tokenizer: PreTrainedTokenizerBase,
    max_questions: int,
    max_length: int,
) -> tuple[TokenArrays, Counter[str]]:
    """Groups rows (image, question, answer) by image, in the order of the images.

    Returns packed questions, each of at most `max_questions` conversations and `max_length` tokens,
    and how many rows were left out for which reason: "empty answer", or "longer than max_length" if
    one question with its answer is longer, or a conversation together with this turn.
    """
    by_image: dict[int, list[Example]] = {}
    answered = [row for row in rows if (row["answer"] or "").strip()]
    skipped = Counter({"empty answer": len(rows) - len(answered)})
    for talk in join_turns(answered):
        example, num_learned = _fitting(talk, tokenizer, max_length)
        skipped["longer than max_length"] += talk.num_learned() - num_learned
        if num_learned:
            by_image.setdefault(talk.image, []).append(example)
    skipped = +skipped
    packed = token_arrays(_rows_of(by_image, max_questions, max_length))
    if not len(packed):
        raise ValueError(
            f"no question is left of {len(rows)} ({dict(skipped)}): raise vlm_qa.max_length, now "
            f"{max_length}, or check the data"
        )
    return packed, skipped


def _fitting(
    talk: Conversation, tokenizer: PreTrainedTokenizerBase, max_length: int
) -> tuple[Example, int]:
    """Returns ids and labels of the first turns that fit, and how many of them are learned."""
    ids, labels = array("i"), array("i")  # lists take nine times the memory
    num_turns = 0
    for turn, turn_labels in turns_ids(tokenizer, talk.messages, talk.context):
        if len(ids) + len(turn) > max_length:
            break
        ids.extend(turn)
        labels.extend(turn_labels)
        num_turns += 1
    return (ids, labels), max(0, num_turns - talk.context // 2)


def _rows_of(
    by_image: dict[int, list[Example]], max_questions: int, max_length: int
) -> Iterator[PackedQuestions]:
    for image, examples in by_image.items():
        part: list[Example] = []
        for example in examples:
            full = sum(len(ids) for ids, _ in part) + len(example[0]) > max_length
            if part and (full or len(part) == max_questions):
                yield _packed(image, part)
                part = []
            part.append(example)
        yield _packed(image, part)


def _packed(image: int, examples: list[Example]) -> PackedQuestions:
    return PackedQuestions(
        image=image,
        input_ids=tuple(token for ids, _ in examples for token in ids),
        labels=tuple(label for _, labels in examples for label in labels),
        segment_ids=tuple(number for number, (ids, _) in enumerate(examples) for _ in ids),
    )


@dataclass(frozen=True, kw_only=True)
class Padding:
    """To which lengths rows are padded.

    Attributes:
        multiple: the length of prefix and text together is a multiple of this. GPU kernels are
            fast if lengths are few and multiples of 64. On a CPU a product of a new length compiles
            a kernel, which takes as long as the product; 8 keeps the lengths few.
        prefix_length: visual positions in front of the text.
        max_positions: what the decoder accepts, which padding does not exceed; None for no limit.
    """

    multiple: int = 1
    prefix_length: int = 0
    max_positions: int | None = None

    @classmethod
    def on(cls, device: torch.device, prefix_length: int, max_positions: int | None) -> Padding:
        """Returns the padding for a device and a decoder."""
        return cls(
            multiple=8 if device.type == "cpu" else 64,
            prefix_length=prefix_length,
            max_positions=max_positions,
        )

    def length(self, longest: int) -> int:
        """Returns the length, without the prefix, to which `longest` tokens are padded."""
        total = self.prefix_length + longest
        padded = total + -total % self.multiple
        if self.max_positions is not None:
            padded = max(total, min(padded, self.max_positions))
        return padded - self.prefix_length


NO_PADDING = Padding()


def collate_questions(
    samples: Sequence[PackedQuestions], pad_token_id: int, padding: Padding = NO_PADDING
) -> QuestionBatch:
    """Pads a batch on the right to its longest row, or to the next length of `padding`."""
    length = padding.length(max(len(sample.input_ids) for sample in samples))

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

    A permutation by (seed, epoch) is cut into windows of `window` batches. Each window is sorted by
    length and cut into batches. Then all batches are shuffled, so that lengths are not in order.
    """
    if batch_size > len(lengths):
        raise ValueError(
            f"batch_size is {batch_size}, but there are only {len(lengths)} images: lower it"
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
    return [whole[index] for index in shuffle]
