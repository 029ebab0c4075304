"""Several questions about one image in one row: which position attends to which.

The visual prefix of an image does not depend on the question. It is computed once, and every
question attends to it and to itself, never to a different question (as in Molmo's multi-annotation
training, Deitke et al. 2024, section 4).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int
from torch import Tensor

# Segment ids: questions count from 0, so negative numbers are free for what is not a question.
PADDING = -1
_PREFIX = -2
_BEFORE_START = -3  # in front of the first position: differs from every id, so a segment starts


def packed_mask(segment_ids: Int[Tensor, "B T"], prefix_length: int) -> Bool[Tensor, "B S S"]:
    """Returns (B, S, S), True if row i may attend to column j; S = prefix_length + T.

    The mask alone is not causal: the decoder adds causality.

    Args:
        segment_ids: (B, T), the number of the question at each position, `PADDING` at padding.
        prefix_length: number of visual positions in front; every row attends to them.
    """
    batch, length = segment_ids.shape
    total = prefix_length + length
    prefix = segment_ids.new_full((batch, prefix_length), _PREFIX)
    segments = torch.cat([prefix, segment_ids], dim=1)
    same = segments[:, :, None] == segments[:, None, :]
    to_prefix = (segments == _PREFIX)[:, None, :].expand(batch, total, total)
    real = (segments != PADDING)[:, None, :]
    # A padded position attends to itself: softmax over no column at all would be NaN.
    itself = torch.eye(total, dtype=torch.bool, device=segment_ids.device)
    return ((same | to_prefix) & real) | itself


def packed_positions(segment_ids: Int[Tensor, "B T"], prefix_length: int) -> Int[Tensor, "B S"]:
    """Returns (B, S) positions: 0, 1, ... over the prefix; each segment restarts after it."""
    batch, length = segment_ids.shape
    index = torch.arange(length, device=segment_ids.device).expand(batch, length)
    previous = torch.nn.functional.pad(segment_ids[:, :-1], (1, 0), value=_BEFORE_START)
    start = torch.where(segment_ids != previous, index, 0).cummax(dim=1).values
    prefix = torch.arange(prefix_length, device=segment_ids.device).expand(batch, -1)
    return torch.cat([prefix, prefix_length + index - start], dim=1)
