"""Packing, padding and bucketing of questions."""

from __future__ import annotations

import pytest
import torch

from edge_glass.decoders.tokenizer import word_tokenizer
from edge_glass.fusion.packing import PADDING
from edge_glass.fusion.prompt import IGNORED, example_ids
from edge_glass.training.vlm_qa.packing import (
    bucketed_batches,
    collate_questions,
    pack_questions,
)

ROWS = [
    {"image": 4, "question": "how many dogs are there?", "answer": "two"},
    {"image": 7, "question": "where is it?", "answer": "top left"},
    {"image": 4, "question": "is it red?", "answer": "no"},
    {"image": 4, "question": "what is it?", "answer": "a dog"},
]
TEXTS = [text for row in ROWS for text in (str(row["question"]), str(row["answer"]))]


def test_questions_of_a_picture_come_together() -> None:
    tokenizer = word_tokenizer(TEXTS, 100)
    packed, skipped = pack_questions(ROWS, tokenizer, max_questions=2, max_length=100)
    assert not skipped
    assert [sample.image for sample in packed] == [4, 4, 7]
    first, second = (
        example_ids(tokenizer, str(ROWS[at]["question"]), str(ROWS[at]["answer"])) for at in (0, 2)
    )
    assert list(packed[0].input_ids) == first[0] + second[0]
    assert list(packed[0].labels) == first[1] + second[1]
    assert list(packed[0].segment_ids) == [0] * len(first[0]) + [1] * len(second[0])


def test_a_row_holds_at_most_max_length_tokens() -> None:
    tokenizer = word_tokenizer(TEXTS, 100)
    lengths = [len(example_ids(tokenizer, str(r["question"]), str(r["answer"]))[0]) for r in ROWS]
    limit = lengths[0] + lengths[2]
    packed, skipped = pack_questions(ROWS, tokenizer, max_questions=8, max_length=limit)
    assert [len(sample.input_ids) for sample in packed] == [limit, lengths[3], lengths[1]]
    assert [set(sample.segment_ids) for sample in packed] == [{0, 1}, {0}, {0}]
    assert not skipped
    # the longest by itself goes, and so does what has no answer
    spoilt = [*ROWS, {"image": 7, "question": "why?", "answer": None}]
    packed, skipped = pack_questions(spoilt, tokenizer, 8, max_length=max(lengths) - 1)
    assert skipped == {"empty answer": 1, "longer than max_length": lengths.count(max(lengths))}
    with pytest.raises(ValueError, match="no question is left of 5"):
        pack_questions(spoilt, tokenizer, 8, max_length=2)


def test_padding_is_on_the_right_and_learns_nothing() -> None:
    tokenizer = word_tokenizer(TEXTS, 100)
    packed, _ = pack_questions(ROWS, tokenizer, max_questions=3, max_length=100)
    batch = collate_questions(packed, int(tokenizer.pad_token_id))  # type: ignore[arg-type]
    lengths = [len(sample.input_ids) for sample in packed]
    assert batch.input_ids.shape == (2, max(lengths))
    for row, length in enumerate(lengths):
        assert torch.all(batch.segment_ids[row, length:] == PADDING)
        assert torch.all(batch.labels[row, length:] == IGNORED)
        assert torch.all(batch.segment_ids[row, :length] >= 0)
    assert int((batch.segment_ids != PADDING).sum()) == sum(lengths)


def test_buckets_hold_all_and_waste_little() -> None:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(5, 100, (640,), generator=generator).tolist()
    batches = bucketed_batches(lengths, 16, seed=0, epoch=0)
    assert sorted(index for batch in batches for index in batch) == list(range(640))
    useful = sum(sum(lengths[i] for i in batch) for batch in batches)
    padded = sum(16 * max(lengths[i] for i in batch) for batch in batches)
    assert useful / padded > 0.9
    assert batches == bucketed_batches(lengths, 16, seed=0, epoch=0)
    assert batches != bucketed_batches(lengths, 16, seed=0, epoch=1)
    # short batches must not all come first
    firsts = [max(lengths[i] for i in batch) for batch in batches]
    assert firsts != sorted(firsts)


def test_too_few_images_are_refused() -> None:
    with pytest.raises(ValueError, match="batch_size is 4, but there are only 3 images"):
        bucketed_batches([1, 2, 3], 4, seed=0, epoch=0)
