"""The Perceiver resampler (Jaegle et al. 2021; Alayrac et al. 2022): latents gather patch tokens.

What is unusual: each layer is cross-attention, self-attention and feed-forward, all pre-norm, with
separate norms for latents and inputs. The last map of the self-attention and of the feed-forward
starts at zero, so that a fresh resampler is a sum of attentions near the mean over the patches: it
learns from there, where one that starts as deep noise sits at chance for long.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from edge_glass.encoders.attention_pooling import (
    QUERY_INIT,
    check_features,
    check_heads,
    check_probability,
)
from edge_glass.encoders.base import Pooling
from edge_glass.encoders.positions import sincos_positions


class Attention(nn.Module):
    """Multi-head attention of queries to a context."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Maps queries (B, N, W), keys and values (B, S, W) to (B, N, W)."""
        query, key, value = (
            rearrange(linear(tokens), "b n (h d) -> b h n d", h=self.num_heads)
            for linear, tokens in ((self.query, x), (self.key, keys), (self.value, values))
        )
        attended = F.scaled_dot_product_attention(query, key, value)
        y: Tensor = self.output(rearrange(attended, "b h n d -> b n (h d)"))
        return y


class PerceiverLayer(nn.Module):
    """Cross-attention to the inputs, self-attention among the latents, feed-forward."""

    def __init__(self, config: PerceiverConfig) -> None:
        super().__init__()
        width, hidden = config.width, config.width * config.feed_forward_ratio
        self.latent_norm = nn.LayerNorm(width)
        self.input_norm = nn.LayerNorm(width)
        self.cross_attention = Attention(width, config.num_heads)
        self.self_norm = nn.LayerNorm(width)
        self.self_attention = Attention(width, config.num_heads)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward_in = nn.Linear(width, hidden)
        self.feed_forward_out = nn.Linear(hidden, width)
        self.dropout = nn.Dropout(config.dropout)
        for last in (self.self_attention.output, self.feed_forward_out):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, latents: Tensor, inputs: Tensor, positions: Tensor | None) -> Tensor:
        """Maps latents (B, N, W) and inputs (B, P, W) to latents (B, N, W)."""
        values = self.input_norm(inputs)
        keys = values if positions is None else values + positions
        x = latents + self.cross_attention(self.latent_norm(latents), keys, values)
        normed = self.self_norm(x)
        x = x + self.self_attention(normed, normed, normed)
        hidden = F.gelu(self.feed_forward_in(self.feed_forward_norm(x)))
        y: Tensor = x + self.feed_forward_out(self.dropout(hidden))
        return y


class PerceiverResampler(Pooling):
    """Learned latents, several layers over projected patch tokens."""

    positions: Tensor | None

    def __init__(self, config: PerceiverConfig, input_width: int, grid: tuple[int, int]) -> None:
        """Draws the weights from torch's global generator."""
        super().__init__()
        width = config.width
        self.config = config
        self.input_width, self.width, self.num_tokens = input_width, width, config.num_latents
        self.grid = grid
        self.input_norm = nn.LayerNorm(input_width)
        self.input_projection = nn.Linear(input_width, width)
        self.latents = nn.Parameter(torch.empty(config.num_latents, width))
        self.layers = nn.ModuleList(PerceiverLayer(config) for _ in range(config.num_layers))
        self.output_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(config.dropout)
        nn.init.uniform_(self.latents, -QUERY_INIT, QUERY_INIT)
        positions = sincos_positions(grid, width) if config.positions else None
        self.register_buffer("positions", positions, persistent=False)

    def forward(self, features: Float[Tensor, "B P Din"]) -> Float[Tensor, "B N W"]:
        """Pools a batch of patch tokens."""
        check_features(features, self.input_width, self.grid)
        inputs = self.input_projection(self.dropout(self.input_norm(features)))  # (B, P, W)
        latents = self.latents.expand(features.shape[0], -1, -1)
        for layer in self.layers:
            latents = layer(latents, inputs, self.positions)
        tokens: Tensor = self.output_norm(latents)
        return tokens


@dataclass(frozen=True, kw_only=True)
class PerceiverConfig:
    """Shape of a Perceiver resampler.

    Attributes:
        num_latents: pooled tokens a picture (N).
        width: numbers a pooled token; a multiple of ``num_heads``.
        num_layers: each is cross-attention, self-attention and feed-forward.
        num_heads: attention heads.
        feed_forward_ratio: width of the feed-forward's middle, in widths.
        positions: adds fixed sines and cosines of row and column to the keys (width then a
            multiple of 4).
        dropout: share of the normalised inputs, and of the feed-forward's middle, that is zeroed
            in training.
    """

    num_latents: int = 4
    width: int = 384
    num_layers: int = 2
    num_heads: int = 6
    feed_forward_ratio: int = 2
    positions: bool = True
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Checks the fields.

        Raises:
            ValueError: where a field can't work.
        """
        counts = ("num_latents", "width", "num_layers", "num_heads", "feed_forward_ratio")
        for name in counts:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        check_heads(self.width, self.num_heads)
        check_probability("dropout", self.dropout)

    def build(self, input_width: int, grid: tuple[int, int]) -> PerceiverResampler:
        """Builds the pooling for tokens of this width on this grid of rows and columns."""
        return PerceiverResampler(self, input_width, grid)
