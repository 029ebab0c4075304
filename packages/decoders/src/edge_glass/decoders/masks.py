"""Attention masks and rotary positions, the same for every decoder.

Two-dimensional masks name the real columns; three-dimensional ones say which row may see which
column. Both become one additive (B, 1, S, S_total) mask, on top of which causality holds.
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
            "the mask covers the cached positions too"
        )


def rotary_positions(
    attention_mask: Tensor, position_ids: Int[Tensor, "b s"] | None, batch: int, queries: int
) -> Int[Tensor, "b s"]:
    """Returns `position_ids`, or counts the kept columns of a two-dimensional mask.

    Counting makes a padded row equal to the same row alone, whichever side the padding is on.

    Raises:
        ValueError: No ids with a three-dimensional mask, or ids of another shape than (B, S).
    """
    if position_ids is not None:
        if tuple(position_ids.shape) != (batch, queries):
            raise ValueError(
                f"position_ids has shape {tuple(position_ids.shape)}, expected {(batch, queries)}: "
                "one position for each new embedding"
            )
        return position_ids
    if attention_mask.ndim == 3:
        raise ValueError(
            "a three-dimensional attention_mask needs position_ids: pass (B, S) positions that "
            "restart after the prefix for each packed question"
        )
    positions = attention_mask.long().cumsum(dim=1) - 1
    return positions.clamp_(min=0)[:, -queries:]


def may_attend(
    attention_mask: Tensor, position_ids: Int[Tensor, "b s"], prefix_length: int = 0
) -> Bool[Tensor, "b s total"]:
    """Combines padding or packing, causality and the two-way prefix.

    A row always sees itself: a padding row would otherwise have nothing to attend to and turn into
    NaN. Nobody else sees padding, so that changes no real position.

    Args:
        attention_mask: (B, S_total) or (B, S, S_total), see `Decoder.forward`.
        position_ids: (B, S) rotary positions of the query rows.
        prefix_length: Rows and columns at positions below it see one another. Only a call without
            cached positions has prefix rows: the prefix must come in one piece.
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
    allowed: Bool[Tensor, "b s total"], dtype: torch.dtype
) -> Float[Tensor, "b 1 s total"]:
    """Turns "may attend" into 0 and the dtype's lowest number, one mask for all heads.

    The lowest finite number, not -inf: a block of columns that is masked as a whole then never
    makes exp(-inf - -inf) in a blocked softmax.
    """
    bias = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device)
    return bias.masked_fill_(~allowed, torch.finfo(dtype).min)[:, None]
