"""Attention pooling: learned queries gather the patch tokens of an image into a few tokens.

What is unusual: the queries start near zero, so that a fresh pooling is close to the mean over the
patches, which is a good start for training. If `width` is None, there are no value and output
projections: each pooled token is a weighted mean of the frozen features, so that their knowledge of
things that the training data never show is kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from edge_glass.encoders.base import Pooling
from edge_glass.encoders.limits import MAX_WIDTH, check_at_least, check_between, check_share
from edge_glass.encoders.positions import sincos_positions

# Uniform, not normal: the draw is plain arithmetic on the generator's bits, the same on each CPU.
QUERY_INIT = 0.02


class AttentionPooling(Pooling):
    """One multi-head attention of learned queries to patch tokens."""

    positions: Tensor | None

    def __init__(
        self, config: AttentionPoolingConfig, input_width: int, grid: tuple[int, int]
    ) -> None:
        """Draws the weights from torch's global generator."""
        super().__init__()
        narrow = config.width is not None
        width = config.width or input_width
        key_dim = config.key_dim or width
        check_heads(width, config.num_heads)
        self.config = config
        self.input_width, self.width, self.num_tokens = input_width, width, config.num_queries
        self.grid = grid
        # Without weights: the next operation is linear or normalises again, and a gradient with
        # respect to all frozen features would cost a tenth of a step.
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
        x = self._inputs(features)
        weights = self._weights(x)
        value = rearrange(self.value(x), "b p (h d) -> b h p d", h=self.config.num_heads)
        pooled = self.output(rearrange(weights @ value, "b h n d -> b n (h d)"))
        normed: Tensor = self.output_norm(pooled)
        return normed

    def attention_weights(self, features: Float[Tensor, "B P Din"]) -> Float[Tensor, "B N P"]:
        return self._weights(self._inputs(features)).mean(dim=1)

    def _inputs(self, features: Float[Tensor, "B P Din"]) -> Float[Tensor, "B P W"]:
        check_features(features, self.input_width, self.grid)
        x: Tensor = self.input_projection(self.dropout(self.input_norm(features)))
        return x

    def _weights(self, x: Float[Tensor, "B P W"]) -> Float[Tensor, "B h N P"]:
        heads = self.config.num_heads
        # Positions choose the patches (keys); they are not part of the result (values).
        keys = self.key(x) if self.positions is None else self.key(x) + self.positions
        query = rearrange(self.queries, "n (h d) -> h n d", h=heads)
        key = rearrange(keys, "b p (h d) -> b h p d", h=heads)
        # Written out: keys and values have different dims, and a query is the same for all images.
        weights: Tensor = (query @ key.mT / query.shape[-1] ** 0.5).softmax(dim=-1)
        return weights


@dataclass(frozen=True, kw_only=True)
class AttentionPoolingConfig:
    """Shape of an attention pooling.

    Attributes:
        num_queries: pooled tokens per image (N); more keep more detail and cost the decoder more.
        width: dim of a pooled token (W), a multiple of `num_heads`. Below the dim of the features
            it is a bottleneck; None leaves the normalised features as they are.
        key_dim: dim of keys and queries, which choose the patches; `width` if None.
        num_heads: attention heads; each chooses patches for its own part of the token.
        positions: adds fixed sines and cosines of row and column to the keys (`key_dim` is then a
            multiple of 4), so that a query can learn a position.
        dropout: share of the normalised inputs that is zeroed in training.
    """

    num_queries: int = 4
    width: int | None = 384
    key_dim: int | None = None
    num_heads: int = 6
    positions: bool = True
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_at_least(self, 1, "num_queries")
        check_between(self, 1, MAX_WIDTH, "width", "key_dim", "num_heads")
        if self.width is not None:
            check_heads(self.width, self.num_heads)
        if self.key_dim is not None:
            check_heads(self.key_dim, self.num_heads)
        check_share(self, "dropout")

    def build(self, input_width: int, grid: tuple[int, int]) -> AttentionPooling:
        """Builds the pooling for tokens of this width on this grid of rows and columns."""
        return AttentionPooling(self, input_width, grid)


def check_features(features: Tensor, input_width: int, grid: tuple[int, int]) -> None:
    """Checks that patch tokens have the number and the dim that a pooling was built for."""
    expected = (grid[0] * grid[1], input_width)
    if features.ndim != 3 or tuple(features.shape[1:]) != expected:
        raise ValueError(
            f"features have shape {tuple(features.shape)}, expected (batch, {expected[0]}, "
            f"{expected[1]}) for a grid of {grid[0]} x {grid[1]}: "
            "encode the images with the vision encoder that the model was built for"
        )


def check_heads(width: int, num_heads: int) -> None:
    """Checks that a dim can be split into heads."""
    if width % num_heads:
        raise ValueError(f"width is {width}, expected a multiple of num_heads, {num_heads}")
