"""Attention maps: how much words, or pooled tokens, take of each patch of an image.

The weights are those of the attention itself. They show what a model reads, not why it answers as
it does (Jain and Wallace, 2019, arXiv:1902.10186).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

if TYPE_CHECKING:
    from edge_glass.fusion.vlm import VisionLanguageModel


@torch.no_grad()
def word_attention(
    model: VisionLanguageModel, features: Float[Tensor, "1 P Din"], token_ids: Sequence[int]
) -> Float[Tensor, "T P"] | None:
    """Returns how much each token takes of each patch through the fusion; each row sums to 1.

    The share of a patch is the sum, over visual tokens, of a token's attention to the visual token
    and of the visual token's weight of the patch. It is None if the fusion does not attend.
    """
    with model.autocast():
        visual = model.visual_tokens(features.float())
        ids = torch.tensor([list(token_ids)], device=model.device)
        words = model.fusion.attention_weights(visual, model.decoder.embed(ids))
        patches = None if words is None else model.visual_tokens.patch_weights(features.float())
    if words is None or patches is None:
        return None
    return words[0].float() @ patches[0].float()
