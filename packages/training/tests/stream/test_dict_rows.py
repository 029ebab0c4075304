from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from edge_glass.training.stream.dict_rows import collate_captions, collate_questions


def test_tokens_are_padded_on_the_right() -> None:
    rows = [
        {"input_ids": [5, 6, 7], "attention_mask": [1, 1, 1], "labels": [-100, 6, 7]},
        {"input_ids": torch.tensor([8]), "attention_mask": (1,), "labels": np.array([8])},
    ]
    batch = collate_questions(rows, pad_token_id=3)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 3, 3]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["labels"].tolist() == [[-100, 6, 7], [8, -100, -100]]
    assert {tensor.dtype for tensor in batch.values()} == {torch.int64}
    assert list(batch) == list(rows[0])


def test_a_mask_is_made_from_lengths_not_from_the_pad_token() -> None:
    """A pad token is often the end of sentence, which a row's own text may hold."""
    batch = collate_questions([{"input_ids": [2, 9, 2]}, {"input_ids": [2]}], pad_token_id=2)
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]


def test_an_empty_row_of_tokens_is_all_padding() -> None:
    batch = collate_questions([{"input_ids": []}, {"input_ids": [4, 5]}], pad_token_id=0)
    assert batch["input_ids"].tolist() == [[0, 0], [4, 5]]
    assert batch["attention_mask"].tolist() == [[0, 0], [1, 1]]


@pytest.mark.parametrize("questions", [True, False])
def test_other_keys(questions: bool) -> None:
    pictures = torch.arange(24.0).reshape(2, 3, 2, 2)
    rows = [
        {
            "pixel_values": pictures[n],
            "box": np.array([n, 1], np.float32),
            "index": n,
            "score": n / 2,
            "answerable": n == 0,
            "caption": f"caption {n}",
            "meta": {"n": n},
        }
        for n in range(2)
    ]
    batch = collate_questions(rows, pad_token_id=0) if questions else collate_captions(rows)
    assert torch.equal(batch["pixel_values"], pictures)
    assert torch.equal(batch["box"], torch.tensor([[0.0, 1.0], [1.0, 1.0]]))
    assert batch["index"].tolist() == [0, 1]
    assert batch["score"].tolist() == [0.0, 0.5]
    assert batch["answerable"].dtype == torch.bool
    assert batch["caption"] == ["caption 0", "caption 1"]
    assert batch["meta"] == [{"n": 0}, {"n": 1}]
    assert list(batch) == list(rows[0])


def test_as_the_collate_function_of_a_loader() -> None:
    rows: list[Any] = [
        {"caption": "ab"[n % 2], "pixel_values": torch.ones(3) * n} for n in range(4)
    ]
    batches = list(DataLoader(rows, batch_size=2, collate_fn=collate_captions))  # type: ignore[arg-type]
    assert [batch["caption"] for batch in batches] == [["a", "b"], ["a", "b"]]
    assert batches[1]["pixel_values"].tolist() == [[2.0] * 3, [3.0] * 3]


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        ([], ValueError, "no rows"),
        ([{"a": 1}, {"a": 1, "b": 2}], ValueError, r"row 1 .*\['b'\] must be in all rows"),
        ([{"a": 1}, ("x", 2)], TypeError, "row 1 is a tuple, expected a dict"),
        ([{"a": 1}, {"a": "x"}], TypeError, "row 1: a is a str, in row 0 a int"),
        ([{"a": 1.0}, {"a": None}], TypeError, "row 1: a is a NoneType, in row 0 a float"),
        (
            [{"pixel_values": torch.ones(3, 2)}, {"pixel_values": torch.ones(3, 4)}],
            ValueError,
            r"row 1: pixel_values has the shape \(3, 4\), in row 0 \(3, 2\)",
        ),
        (
            [{"input_ids": torch.ones(1, 7).long()}],
            ValueError,
            r"row 0: .*\(1, 7\), expected \(T,\)",
        ),
        ([{"input_ids": [1]}, {"input_ids": [0.5]}], TypeError, "row 1: input_ids holds torch.fl"),
        (
            [{"input_ids": [1, 2], "attention_mask": [1]}],
            ValueError,
            "row 0: attention_mask has 1 entries, input_ids 2",
        ),
    ],
)
def test_bad_rows_are_named(rows: list[Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        collate_questions(rows, pad_token_id=0)
    if not any("input_ids" in row for row in rows if isinstance(row, dict)):
        with pytest.raises(error, match=message):
            collate_captions(rows)


def test_a_tokenizer_without_a_pad_token() -> None:
    with pytest.raises(TypeError, match=r"pad_token_id is None.*pad_token = tokenizer\.eos_token"):
        collate_questions([{"input_ids": [1]}], pad_token_id=None)  # type: ignore[arg-type]
