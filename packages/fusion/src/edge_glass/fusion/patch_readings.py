"""Patch readings: each patch of an image is read as the words that fit it.

    weights = softmax over names(sharpness * cosine(patch, name))
    reading = sum over names(weight * the name's word embedding)

Names are the words that answers use: "cat", not "yes". A reading is a word embedding of the
decoder, so that to name an object is to copy it. Without it a decoder from scratch has to learn for
each name alone which patches show it.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from edge_glass.decoders.base import Decoder

LOG_SHARPNESS = 3.0  # at the start: a cosine that is higher by 0.1 has seven times the weight


class PatchReadings(nn.Module):
    """The names of an aligned space, see the head of this file.

    Attributes:
        vectors: (K, dim), the unit vector of each name.
        token_ids: (K,), the token of each name.
        size: root mean square of the numbers of word embeddings, by which readings are divided.
    """

    vectors: Tensor
    token_ids: Tensor
    size: Tensor

    def __init__(self, num_names: int, dim: int, size: float) -> None:
        super().__init__()
        self.register_buffer("vectors", torch.zeros(num_names, dim))
        self.register_buffer("token_ids", torch.zeros(num_names, dtype=torch.long))
        self.register_buffer("size", torch.tensor(size))
        self.log_sharpness = nn.Parameter(torch.tensor(LOG_SHARPNESS))

    def scores(self, patches: Float[Tensor, "B P d"]) -> Float[Tensor, "B P K"]:
        """Returns the logits of the names for the unit vectors of patches."""
        return self.log_sharpness.exp() * (patches @ self.vectors.T)

    def forward(self, patches: Float[Tensor, "B P d"], decoder: Decoder) -> Float[Tensor, "B P D"]:
        """Returns the readings of patches, at a root mean square of at most about 1."""
        names = decoder.embed(self.token_ids).float() / self.size  # (K, D)
        return self.scores(patches).softmax(dim=-1) @ names
