"""Batches of rows that are dicts, as in notebooks and in Hugging Face datasets.

`edge-glass-notebooks patch collate` rewrites notebooks to call these functions. The pipeline itself
packs all questions of an image in one row (`vlm_qa/packing.py`). Here a row is one sample and keeps
its keys, so any model can take the batches of a loader.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Number
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edge_glass.fusion.prompt import IGNORED

Row = Mapping[str, Any]


def collate_questions(rows: Sequence[Row], pad_token_id: int) -> dict[str, Any]:
    """Batches rows of tokens, padded on the right to the longest.

    `input_ids` are padded with `pad_token_id`, `attention_mask` with 0, `labels` with -100; each
    becomes an int64 tensor (B, T). If the rows have no mask, one is made. All other keys are
    batched as in `collate_captions`.

    Args:
        rows: dicts with the same keys; tokens are lists or (T,) tensors of integers.
        pad_token_id: the token that `input_ids` are padded with, of the tokenizer.

    Raises:
        TypeError: if a row is not a dict, or a value has a different kind than in row 0.
        ValueError: if there are no rows, or keys, shapes or lengths differ.
    """
    if pad_token_id is None:
        raise TypeError(
            "pad_token_id is None, so the tokenizer has no padding token: set "
            "tokenizer.pad_token = tokenizer.eos_token first"
        )
    fills = {"input_ids": pad_token_id, "attention_mask": 0, "labels": IGNORED}
    columns = _columns(rows)
    tokens = {
        key: [_token_ids(value, key, number) for number, value in enumerate(column)]
        for key, column in columns.items()
        if key in fills
    }
    if "input_ids" in tokens:
        lengths = [len(ids) for ids in tokens["input_ids"]]
        masks = tokens.setdefault("attention_mask", [torch.ones(n).long() for n in lengths])
        for number, (mask, length) in enumerate(zip(masks, lengths, strict=True)):
            if len(mask) != length:
                raise ValueError(
                    f"row {number}: attention_mask has {len(mask)} entries, input_ids {length}: "
                    "expected one per token"
                )
    padded = {
        key: torch.nn.utils.rnn.pad_sequence(column, batch_first=True, padding_value=fills[key])
        for key, column in tokens.items()
    }
    others = {key: _batched(key, column) for key, column in columns.items() if key not in fills}
    return {key: (padded | others)[key] for key in [*columns, *(padded.keys() - columns.keys())]}


def collate_captions(rows: Sequence[Row]) -> dict[str, Any]:
    """Batches rows of images and captions.

    Tensors and arrays of equal shape are stacked, numbers become a tensor (B,), and everything else
    (captions, paths, PIL images) stays a list.

    Args:
        rows: dicts with the same keys.

    Raises:
        TypeError: if a row is not a dict, or a value has a different kind than in row 0.
        ValueError: if there are no rows, or keys or shapes differ.
    """
    return {key: _batched(key, column) for key, column in _columns(rows).items()}


def _columns(rows: Sequence[Row]) -> dict[str, list[Any]]:
    if not rows:
        raise ValueError("there are no rows: expected at least one in a batch")
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise TypeError(
                f"row {number} is a {type(row).__name__}, expected a dict: return a dict from "
                "__getitem__ of the dataset"
            )
        if row.keys() != rows[0].keys():
            raise ValueError(
                f"row {number} has the keys {sorted(row)}, row 0 {sorted(rows[0])}: "
                f"{sorted(row.keys() ^ rows[0].keys())} must be in all rows or in none"
            )
    return {key: [row[key] for row in rows] for key in rows[0]}


def _token_ids(value: Any, key: str, number: int) -> Tensor:
    ids = torch.as_tensor(value)
    if ids.ndim != 1:
        raise ValueError(
            f"row {number}: {key} has the shape {tuple(ids.shape)}, expected (T,): with "
            "return_tensors a tokenizer returns a batch of one; take its [0]"
        )
    if len(ids) and (ids.is_floating_point() or ids.is_complex()):
        raise TypeError(f"row {number}: {key} holds {ids.dtype}, expected integers")
    return ids.long()


def _batched(key: str, column: list[Any]) -> Tensor | list[Any]:
    kinds = [_kind(value) for value in column]
    for number, kind in enumerate(kinds):
        if kind != kinds[0]:
            raise TypeError(
                f"row {number}: {key} is a {type(column[number]).__name__}, in row 0 a "
                f"{type(column[0]).__name__}: expected the same in all rows"
            )
    if kinds[0] == "number":
        return torch.tensor(column)
    if kinds[0] == "tensor":
        tensors = [torch.as_tensor(value) for value in column]
        for number, tensor in enumerate(tensors):
            if tensor.shape != tensors[0].shape:
                raise ValueError(
                    f"row {number}: {key} has the shape {tuple(tensor.shape)}, in row 0 "
                    f"{tuple(tensors[0].shape)}: resize or pad in the dataset, or use "
                    "collate_questions, which pads input_ids, attention_mask and labels"
                )
        return torch.stack(tensors)
    return column


def _kind(value: Any) -> str:
    if isinstance(value, (Tensor, np.ndarray)):
        return "tensor"
    return "number" if isinstance(value, Number) else "other"
