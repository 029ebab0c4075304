"""Attention pooling: learned queries gather a picture's patch tokens into a few.

What is unusual: the queries start near zero, so that a fresh pooling is close to the mean over the
patches, a good place to learn from; and with ``width`` None there are no value and output
projections: each query is a weighted mean of the frozen features themselves, which keeps what they
know of things that training never showed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from edge_glass.encoders.base import Pooling
from edge_glass.encoders.positions import sincos_positions

# Uniform, not normal: the draw is plain arithmetic on the generator's bits, equal on every CPU.
QUERY_INIT = 0.02


class AttentionPooling(Pooling):
    """Learned queries over patch tokens, one multi-head attention."""

    positions: Tensor | None

    def __init__(
        self, config: AttentionPoolingConfig, input_width: int, grid: tuple[int, int]
    ) -> None:
        """Draws the weights from torch's global generator.

        Raises:
            ValueError: where the heads don't divide the width of the values.
        """
        super().__init__()
        narrow = config.width is not None
        width = config.width or input_width
        key_dim = config.key_dim or width
        check_heads(width, config.num_heads)
        self.config = config
        self.input_width, self.width, self.num_tokens = input_width, width, config.num_queries
        self.grid = grid
        # Without weights: what follows is linear or normalised again, and a gradient to every place
        # of the frozen features would cost a tenth of a step.
        self.input_norm = nn.LayerNorm(input_width, elementwise_affine=False)
        self.input_projection = nn.Linear(input_width, width) if narrow else nn.Identity()
        self.queries = nn.Parameter(torch.empty(config.num_queries, key_dim))
        self.key = nn.Linear(width, key_dim)
        self.value = nn.Linear(width, width) if narrow else nn.Identity()
        self.output = nn.Linear(width, width) if narrow else nn.Identity()
        self.output_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(config.dropout)
        nn.init.uniform_(self.queries, -QUERY_INIT, QUERY_INIT)
        positions = sincos_positions(grid, key_dim) if config.positions else None
        self.register_buffer("positions", positions, persistent=False)

    def forward(self, features: Float[Tensor, "B P Din"]) -> Float[Tensor, "B N W"]:
        """Pools a batch of patch tokens."""
        check_features(features, self.input_width, self.grid)
        heads = self.config.num_heads
        x = self.input_projection(self.dropout(self.input_norm(features)))  # (B, P, W)
        # Positions tell where to look (keys), and stay out of what is seen (values).
        keys = self.key(x) if self.positions is None else self.key(x) + self.positions
        query = rearrange(self.queries, "n (h d) -> h n d", h=heads)
        key = rearrange(keys, "b p (h d) -> b h p d", h=heads)
        value = rearrange(self.value(x), "b p (h d) -> b h p d", h=heads)
        # Written out: keys and values differ in width, and a query is the same for all pictures.
        weights = (query @ key.mT / query.shape[-1] ** 0.5).softmax(dim=-1)  # (B, h, N, P)
        pooled = self.output(rearrange(weights @ value, "b h n d -> b n (h d)"))
        normed: Tensor = self.output_norm(pooled)
        return normed


@dataclass(frozen=True, kw_only=True)
class AttentionPoolingConfig:
    """Shape of an attention pooling.

    Attributes:
        num_queries: pooled tokens a picture (N); more keep more detail and cost the decoder more.
        width: numbers a pooled token, a multiple of ``num_heads``. A number narrower than the
            features is a bottleneck; None lets the normalised features pass as they are.
        key_dim: numbers a key and a query, by which places are chosen; the width where None.
        num_heads: attention heads, each with its own choice of places for its part of the width.
        positions: adds fixed sines and cosines of row and column to the keys (key_dim then a
            multiple of 4), so that a query can learn a place.
        dropout: share of the normalised inputs that is zeroed in training.
    """

    num_queries: int = 4
    width: int | None = 384
    key_dim: int | None = None
    num_heads: int = 6
    positions: bool = True
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Checks the fields.

        Raises:
            ValueError: where a field can't work.
        """
        numbers = (self.num_queries, self.num_heads, self.width or 1, self.key_dim or 1)
        if min(numbers) < 1:
            raise ValueError(
                f"num_queries is {self.num_queries}, width {self.width}, key_dim {self.key_dim}, "
                f"num_heads {self.num_heads}: expected at least 1 each"
            )
        if self.width is not None:
            check_heads(self.width, self.num_heads)
        if self.key_dim is not None:
            check_heads(self.key_dim, self.num_heads)
        check_probability("dropout", self.dropout)

    def build(self, input_width: int, grid: tuple[int, int]) -> AttentionPooling:
        """Builds the pooling for tokens of this width on this grid of rows and columns."""
        return AttentionPooling(self, input_width, grid)


def check_features(features: Tensor, input_width: int, grid: tuple[int, int]) -> None:
    """Checks patch tokens against what a pooling was built for.

    Raises:
        ValueError: where their number or width differs.
    """
    expected = (grid[0] * grid[1], input_width)
    if features.ndim != 3 or tuple(features.shape[1:]) != expected:
        raise ValueError(
            f"features have shape {tuple(features.shape)}, expected (batch, {expected[0]}, "
            f"{expected[1]}) for a grid of {grid[0]} x {grid[1]}: "
            "encode the pictures with the vision encoder that the model was built for"
        )


def check_heads(width: int, num_heads: int) -> None:
    """Checks that a width can be cut in heads.

    Raises:
        ValueError: where it can't.
    """
    if width % num_heads:
        raise ValueError(f"width is {width}, expected a multiple of num_heads, {num_heads}")


def check_probability(name: str, value: float) -> None:
    """Checks a probability that must stay below 1.

    Raises:
        ValueError: where it is out of range.
    """
    if not 0.0 <= value < 1.0:
        raise ValueError(f"{name} is {value}, expected 0 up to but not including 1")
