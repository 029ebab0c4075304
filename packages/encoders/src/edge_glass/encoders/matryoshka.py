"""Matryoshka embeddings (Kusupati et al. 2022, arXiv 2205.13147): every prefix is an embedding.

The embedding at dim d is the first d numbers of the largest one, normalised. One projection makes
all of them; the loss over the dims (in the training package) makes the prefixes good.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

ProjectionKind = Literal["linear", "mlp"]


class MatryoshkaProjection(nn.Module):
    """Projects a vector to the largest dim: linear, or the sum of linear and a small MLP."""

    def __init__(
        self,
        input_width: int,
        dims: Sequence[int],
        *,
        kind: ProjectionKind = "linear",
        hidden_width: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        """Draws the weights from torch's global generator.

        Args:
            input_width: dim of the input (Din).
            dims: strictly descending; the first is the dim of the output (E).
            kind: `linear`, or `mlp`, which adds a two-layer MLP that is zero at the start.
            hidden_width: dim inside the MLP; the largest of `dims` if None.
            dropout: share of the inputs that is zeroed in training.

        Raises:
            ValueError: if the dims don't strictly descend to at least 1.
        """
        super().__init__()
        self.dims = check_dims(dims)
        self.input_width = input_width
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(input_width, self.dims[0])
        # Keeps the variance and has no offset: at the start the angles are those of the encoder.
        bound = (3.0 / input_width) ** 0.5
        nn.init.uniform_(self.linear.weight, -bound, bound)
        nn.init.zeros_(self.linear.bias)
        self.mlp: nn.Sequential | None = None
        if kind == "mlp":
            hidden_width = hidden_width or self.dims[0]
            last = nn.Linear(hidden_width, self.dims[0])
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            self.mlp = nn.Sequential(
                nn.LayerNorm(input_width),
                nn.Linear(input_width, hidden_width),
                nn.GELU(),
                last,
            )

    def forward(self, x: Float[Tensor, "B Din"]) -> Float[Tensor, "B E"]:
        """Projects vectors to embeddings; they are not normalised."""
        x = self.dropout(x)
        embeddings: Tensor = self.linear(x)
        return embeddings if self.mlp is None else embeddings + self.mlp(x)


def check_dims(dims: Sequence[int]) -> tuple[int, ...]:
    """Checks Matryoshka dims, and returns them as a tuple.

    Raises:
        ValueError: if they don't strictly descend to at least 1.
    """
    dims = tuple(dims)
    ordered = all(first > second for first, second in pairwise(dims))
    if not dims or not ordered or dims[-1] < 1:
        raise ValueError(
            f"matryoshka_dims is {list(dims)}, expected whole numbers of at least 1 that strictly "
            "descend, such as [512, 256, 128]"
        )
    return dims


def truncate(embeddings: Float[Tensor, "B E"], dim: int | None = None) -> Float[Tensor, "B d"]:
    """Cuts embeddings to their first `dim` numbers (all if None) and normalises them.

    Raises:
        ValueError: if the embeddings have fewer numbers, or hold NaN or infinity.
    """
    width = embeddings.shape[1]
    dim = width if dim is None else dim
    if not 1 <= dim <= width:
        raise ValueError(f"dim is {dim}, expected 1 to {width}, the width of the embeddings")
    if not torch.isfinite(embeddings).all():
        raise ValueError(
            "the embeddings hold NaN or infinity: check the features that they come from"
        )
    return F.normalize(embeddings[:, :dim], dim=1)
