"""Attention pooling: learned queries gather a picture's patch tokens into a few.

What is unusual: the tokens first go through a narrow bottleneck (``width``), which carries most of
the cost and keeps a small training set from being learned by heart; and the queries start near
zero, so that a fresh pooling is close to the mean over the patches, a good place to learn from.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from edge_glass.encoders.base import Pooling
from edge_glass.encoders.positions import sincos_positions

# Uniform, not normal: the draw is plain arithmetic on the generator's bits, equal on every CPU.
QUERY_INIT = 0.02


class AttentionPooling(Pooling):
    """Learned queries over projected patch tokens, one multi-head attention."""

    positions: Tensor | None

    def __init__(
        self, config: AttentionPoolingConfig, input_width: int, grid: tuple[int, int]
    ) -> None:
        """Draws the weights from torch's global generator."""
        super().__init__()
        width = config.width
        self.config = config
        self.input_width, self.width, self.num_tokens = input_width, width, config.num_queries
        self.grid = grid
        self.input_norm = nn.LayerNorm(input_width)
        self.input_projection = nn.Linear(input_width, width)
        self.queries = nn.Parameter(torch.empty(config.num_queries, width))
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)
        self.output_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(config.dropout)
        nn.init.uniform_(self.queries, -QUERY_INIT, QUERY_INIT)
        positions = sincos_positions(grid, width) if config.positions else None
        self.register_buffer("positions", positions, persistent=False)

    def forward(self, features: Float[Tensor, "B P Din"]) -> Float[Tensor, "B N W"]:
        """Pools a batch of patch tokens."""
        check_features(features, self.input_width, self.grid)
        heads = self.config.num_heads
        x = self.input_projection(self.dropout(self.input_norm(features)))  # (B, P, W)
        # Positions tell where to look (keys), and stay out of what is seen (values).
        key_input = x if self.positions is None else x + self.positions
        query = rearrange(self.queries, "n (h d) -> h n d", h=heads).expand(x.shape[0], -1, -1, -1)
        key = rearrange(self.key(key_input), "b p (h d) -> b h p d", h=heads)
        value = rearrange(self.value(x), "b p (h d) -> b h p d", h=heads)
        pooled = F.scaled_dot_product_attention(query, key, value)
        pooled = self.output(rearrange(pooled, "b h n d -> b n (h d)"))
        tokens: Tensor = self.output_norm(pooled)
        return tokens


@dataclass(frozen=True, kw_only=True)
class AttentionPoolingConfig:
    """Shape of an attention pooling.

    Attributes:
        num_queries: pooled tokens a picture (N); more keep more detail and cost the decoder more.
        width: numbers a pooled token, the bottleneck; a multiple of ``num_heads``.
        num_heads: attention heads.
        positions: adds fixed sines and cosines of row and column to the keys (width then a
            multiple of 4), so that a query can learn a place.
        dropout: share of the normalised inputs that is zeroed in training.
    """

    num_queries: int = 4
    width: int = 384
    num_heads: int = 6
    positions: bool = True
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Checks the fields.

        Raises:
            ValueError: where a field can't work.
        """
        if min(self.num_queries, self.width, self.num_heads) < 1:
            raise ValueError(
                f"num_queries is {self.num_queries}, width {self.width}, num_heads "
                f"{self.num_heads}: expected at least 1 each"
            )
        check_heads(self.width, self.num_heads)
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
