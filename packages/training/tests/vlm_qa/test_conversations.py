"""Turns that are joined again, and learned together."""

from __future__ import annotations

from typing import Any

import pytest

from edge_glass.decoders.tokenizer import word_tokenizer
from edge_glass.fusion.prompt import IGNORED, example_ids
from edge_glass.training.vlm_qa.conversations import has_conversations, join_turns
from edge_glass.training.vlm_qa.packing import pack_questions

TALK = ["where is it?", "top left", "what colour?", "green", "is it?", "yes"]


def row(image: int, turn: int, messages: list[str] = TALK) -> dict[str, Any]:
    """The row that `prepare` writes for a turn, counted from 0."""
    question, answer = messages[2 * turn : 2 * turn + 2]
    return {
        "image": image, "question": question, "answer": answer, "type": "x",
        "history": messages[: 2 * turn] or None,
    }  # fmt: skip


def joined(*rows: dict[str, Any]) -> list[tuple[int, list[str], int]]:
    return [(each.image, each.messages, each.context) for each in join_turns(rows)]


def test_turns_of_one_conversation_are_joined() -> None:
    assert joined(row(1, 0), row(1, 1), row(1, 2)) == [(1, TALK, 0)]
    # other rows may stand in between, and two conversations may begin alike
    other = [*TALK[:2], "why?", "because"]
    mixed = [row(1, 0), row(2, 0), row(1, 1), row(1, 0), row(1, 1, other), row(2, 1)]
    assert joined(*mixed) == [(1, TALK[:4], 0), (2, TALK[:4], 0), (1, other, 0)]


def test_a_turn_whose_earlier_ones_were_dropped_has_them_as_context() -> None:
    assert joined(row(1, 1), row(1, 2)) == [(1, TALK, 2)]
    assert joined(row(1, 0), row(1, 2)) == [(1, TALK[:2], 0), (1, TALK, 4)]
    assert joined(row(1, 0), row(2, 1)) == [(1, TALK[:2], 0), (2, TALK[:4], 2)]


def test_rows_of_older_data_are_single_questions() -> None:
    old = [{name: row(1, 0)[name] for name in ("image", "question", "answer")}] * 2
    assert joined(*old) == [(1, TALK[:2], 0)] * 2
    assert not has_conversations(old)
    assert has_conversations([*old, row(1, 1)])


def test_packing_separates_conversations_and_not_their_turns() -> None:
    tokenizer = word_tokenizer(TALK, 60)
    rows = [row(1, 0), row(1, 1), row(1, 2), row(1, 0)]
    (packed,), skipped = pack_questions(rows, tokenizer, max_questions=2, max_length=100)
    assert not skipped
    talk, single = example_ids(tokenizer, *TALK), example_ids(tokenizer, *TALK[:2])
    assert list(packed.input_ids) == talk[0] + single[0]
    assert list(packed.segment_ids) == [0] * len(talk[0]) + [1] * len(single[0])
    learned = [label for label in packed.labels if label != IGNORED]
    assert tokenizer.decode(learned) == "top left <eos> green <eos> yes <eos> top left <eos>"


def test_a_conversation_ends_where_the_row_is_full() -> None:
    tokenizer = word_tokenizer(TALK, 60)
    two = len(example_ids(tokenizer, *TALK[:4])[0])
    rows = [row(1, 0), row(1, 1), row(1, 2)]
    (packed,), skipped = pack_questions(rows, tokenizer, 8, max_length=two)
    assert list(packed.input_ids) == example_ids(tokenizer, *TALK[:4])[0]
    assert skipped == {"longer than max_length": 1}
    # what would only be context is not packed
    (packed,), skipped = pack_questions([row(2, 0), row(1, 2)], tokenizer, 8, max_length=two)
    assert (packed.image, skipped) == (2, {"longer than max_length": 1})


def test_each_turn_of_a_long_conversation_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = word_tokenizer(TALK, 50)
    original, calls = tokenizer.apply_chat_template, list[int]()

    def counted(*args: Any, **options: Any) -> Any:
        calls.append(1)
        return original(*args, **options)

    monkeypatch.setattr(tokenizer, "apply_chat_template", counted)
    long = TALK[:2] * 50
    rows = [row(1, turn, long) for turn in range(50)]
    (packed,), skipped = pack_questions(rows, tokenizer, 8, max_length=100)
    assert len(packed.input_ids) <= 100
    assert 0 < skipped["longer than max_length"] < 50
    assert len(calls) <= 50
