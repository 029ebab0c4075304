"""Packing several questions over one picture: who may attend to whom, and at which position.

The visual prefix of a picture does not depend on the question, so it is computed once and every
question of the picture attends to it and to itself, never to another question (as in Molmo's
multi-annotation training, Deitke et al. 2024, section 4).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int
from torch import Tensor

PADDING = -1


def packed_mask(segment_ids: Int[Tensor, "B T"], prefix_length: int) -> Bool[Tensor, "B S S"]:
    """Returns (B, S, S), True where row i may attend to column j; S = prefix_length + T.

    Args:
        segment_ids: (B, T), the question's number at each position, -1 at padding.
        prefix_length: number of visual positions in front, seen by everybody.

    The order in time is the decoder's business: this mask alone is not causal.
    """
    batch, length = segment_ids.shape
    total = prefix_length + length
    segments = torch.cat([segment_ids.new_full((batch, prefix_length), -2), segment_ids], dim=1)
    same = segments[:, :, None] == segments[:, None, :]
    to_prefix = (segments == -2)[:, None, :].expand(batch, total, total)
    real = (segments != PADDING)[:, None, :]
    # a padded position looks at itself only: a row with nothing to attend to would be NaN
    itself = torch.eye(total, dtype=torch.bool, device=segment_ids.device)
    return ((same | to_prefix) & real) | itself


def packed_positions(segment_ids: Int[Tensor, "B T"], prefix_length: int) -> Int[Tensor, "B S"]:
    """Returns (B, S) positions: 0.. over the prefix, then restarting after it in each segment."""
    batch, length = segment_ids.shape
    index = torch.arange(length, device=segment_ids.device).expand(batch, length)
    previous = torch.nn.functional.pad(segment_ids[:, :-1], (1, 0), value=-3)
    start = torch.where(segment_ids != previous, index, 0).cummax(dim=1).values
    prefix = torch.arange(prefix_length, device=segment_ids.device).expand(batch, -1)
    return torch.cat([prefix, prefix_length + index - start], dim=1)
