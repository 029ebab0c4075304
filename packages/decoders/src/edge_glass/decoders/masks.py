"""Attention masks and rotary positions, the same for every decoder.

A two-dimensional mask marks the real columns; a three-dimensional one marks which row attends to
which column. Both become one additive (B, 1, S, S_total) mask that is causal as well.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def check_mask(attention_mask: Tensor, batch: int, queries: int, cached: int) -> None:
    """Raises ValueError unless the mask is (B, S_total) or (B, S, S_total)."""
    total = cached + queries
    allowed = ((batch, total), (batch, queries, total))
    if tuple(attention_mask.shape) not in allowed:
        raise ValueError(
            f"attention_mask has shape {tuple(attention_mask.shape)}, expected {allowed[0]} or "
            f"{allowed[1]} for {queries} new and {cached} cached positions; "
            "include the cached positions"
        )


def rotary_positions(
    attention_mask: Tensor, position_ids: Int[Tensor, "B S"] | None, batch: int, queries: int
) -> Int[Tensor, "B S"]:
    """Returns `position_ids`, or counts the kept columns of a two-dimensional mask.

    Counting makes a padded row equal to the same row alone, with padding on either side.

    Raises:
        ValueError: Ids are missing with a three-dimensional mask, or are not (B, S).
    """
    if position_ids is not None:
        if tuple(position_ids.shape) != (batch, queries):
            raise ValueError(
                f"position_ids has shape {tuple(position_ids.shape)}, expected {(batch, queries)}: "
                "one position per new embedding"
            )
        return position_ids
    if attention_mask.ndim == 3:
        raise ValueError(
            "a three-dimensional attention_mask needs position_ids; pass (B, S) positions that "
            "restart after the prefix for each packed question"
        )
    positions = attention_mask.long().cumsum(dim=1) - 1
    return positions.clamp_(min=0)[:, -queries:]


def may_attend(
    attention_mask: Tensor, position_ids: Int[Tensor, "B S"], prefix_length: int = 0
) -> Bool[Tensor, "B S S_total"]:
    """Combines padding or packing, causality and the bidirectional prefix.

    A row always attends to itself: the softmax of a padding row would otherwise be NaN. No other
    row attends to padding, so this changes no real position.

    Args:
        attention_mask: (B, S_total) or (B, S, S_total), see `Decoder.forward`.
        position_ids: (B, S) rotary positions of the query rows.
        prefix_length: Rows and columns at positions below it attend to each other. Only a call
            without cached positions has prefix rows, because the prefix comes in one call.
    """
    queries, total = position_ids.shape[1], attention_mask.shape[-1]
    device = attention_mask.device
    rows = torch.arange(total - queries, total, device=device)[:, None]
    columns = torch.arange(total, device=device)[None, :]
    order = (columns <= rows)[None]  # (1, S, S_total)
    if prefix_length > 0 and queries == total:
        prefix = position_ids < prefix_length
        order = order | (prefix[:, :, None] & prefix[:, None, :])
    keep = attention_mask.bool()
    if keep.ndim == 2:
        keep = keep[:, None, :]
    return (keep & order) | (columns == rows)[None]


def additive(
    allowed: Bool[Tensor, "B S S_total"], dtype: torch.dtype
) -> Float[Tensor, "B 1 S S_total"]:
    """Turns True into 0 and False into the dtype's lowest number; one mask for all heads.

    The lowest finite number instead of -inf: in a blocked softmax a block whose columns are all
    masked would compute exp(-inf - -inf), which is NaN.
    """
    bias = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device)
    return bias.masked_fill_(~allowed, torch.finfo(dtype).min)[:, None]
