"""The Perceiver resampler (Jaegle et al. 2021; Alayrac et al. 2022): latents gather patch tokens.

What is unusual: each layer is cross-attention, self-attention and feed-forward, all pre-norm, with
separate norms for latents and inputs. Self-attention and feed-forward start as zero, so that a
fresh resampler is a sum of attentions near the mean over the patches, and learns from there; with
the usual initialisation it stayed at chance for a long time. It needs no bottleneck: with
`width: null` the latents gather the frozen features as they are.
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
)
from edge_glass.encoders.base import Pooling
from edge_glass.encoders.limits import (
    MAX_LAYERS,
    MAX_WIDTH,
    check_at_least,
    check_between,
    check_positive,
    check_share,
)
from edge_glass.encoders.positions import sincos_positions


class Attention(nn.Module):
    """Multi-head attention of queries to a context.

    Without a bottleneck (`project_values` False) the heads average the context as it is; each head
    averages its own part of the dims.
    """

    def __init__(
        self, width: int, num_heads: int, *, key_dim: int, project_values: bool = True
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Linear(width, key_dim)
        self.key = nn.Linear(width, key_dim)
        self.value = nn.Linear(width, width) if project_values else nn.Identity()
        self.output = nn.Linear(width, width) if project_values else nn.Identity()

    def forward(self, x: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Maps queries (B, N, W), keys and values (B, S, W) to (B, N, W)."""
        weights = self.weights(x, keys)
        value = rearrange(self.value(values), "b s (h d) -> b h s d", h=self.num_heads)
        y: Tensor = self.output(rearrange(weights @ value, "b h n d -> b n (h d)"))
        return y

    def weights(self, x: Tensor, keys: Tensor) -> Tensor:
        """Returns the weights (B, h, N, S) of keys (B, S, W) for queries (B, N, W)."""
        query, key = (
            rearrange(part, "b n (h d) -> b h n d", h=self.num_heads)
            for part in (self.query(x), self.key(keys))
        )
        # Written out: the fused kernels need keys and values of the same dim.
        found: Tensor = (query @ key.mT / query.shape[-1] ** 0.5).softmax(dim=-1)
        return found


class PerceiverLayer(nn.Module):
    """Cross-attention to the inputs, self-attention among the latents, feed-forward."""

    def __init__(self, config: PerceiverConfig, width: int) -> None:
        super().__init__()
        narrow, hidden = config.width is not None, config.hidden_width(width)
        key_dim = config.key_dim or width
        self.latent_norm = nn.LayerNorm(width)
        self.input_norm = nn.LayerNorm(width)
        heads = config.num_heads
        self.cross_attention = Attention(width, heads, key_dim=key_dim, project_values=narrow)
        self.self_norm = nn.LayerNorm(width)
        self.self_attention = Attention(width, heads, key_dim=key_dim, project_values=narrow)
        # LayerScale (Touvron et al. 2021, arXiv 2103.17239): self-attention starts as zero.
        self.self_scale = nn.Parameter(torch.zeros(width))
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward_in = nn.Linear(width, hidden)
        self.feed_forward_out = nn.Linear(hidden, width)
        self.dropout = nn.Dropout(config.dropout)
        nn.init.zeros_(self.feed_forward_out.weight)
        nn.init.zeros_(self.feed_forward_out.bias)

    def forward(self, latents: Tensor, inputs: Tensor, positions: Tensor | None) -> Tensor:
        """Maps latents (B, N, W) and inputs (B, P, W) to latents (B, N, W)."""
        keys, values = self.keys_and_values(inputs, positions)
        x = latents + self.cross_attention(self.latent_norm(latents), keys, values)
        normed = self.self_norm(x)
        x = x + self.self_scale * self.self_attention(normed, normed, normed)
        hidden = F.gelu(self.feed_forward_in(self.feed_forward_norm(x)))
        y: Tensor = x + self.feed_forward_out(self.dropout(hidden))
        return y

    def keys_and_values(self, inputs: Tensor, positions: Tensor | None) -> tuple[Tensor, Tensor]:
        """Returns what the cross-attention reads of the inputs, (B, P, W) each."""
        values: Tensor = self.input_norm(inputs)
        return values if positions is None else values + positions, values


class PerceiverResampler(Pooling):
    """Several layers of learned latents over projected patch tokens."""

    positions: Tensor | None

    def __init__(self, config: PerceiverConfig, input_width: int, grid: tuple[int, int]) -> None:
        """Draws the weights from torch's global generator."""
        super().__init__()
        narrow, width = config.width is not None, config.width or input_width
        check_heads(width, config.num_heads)
        self.config = config
        self.input_width, self.width, self.num_tokens = input_width, width, config.num_latents
        self.grid = grid
        # Without weights: each layer normalises its inputs again, with weights of its own.
        self.input_norm = nn.LayerNorm(input_width, elementwise_affine=False)
        self.input_projection = nn.Linear(input_width, width) if narrow else nn.Identity()
        self.latents = nn.Parameter(torch.empty(config.num_latents, width))
        self.layers = nn.ModuleList(PerceiverLayer(config, width) for _ in range(config.num_layers))
        self.output_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(config.dropout)
        nn.init.uniform_(self.latents, -QUERY_INIT, QUERY_INIT)
        positions = sincos_positions(grid, width) if config.positions else None
        self.register_buffer("positions", positions, persistent=False)

    def forward(self, features: Float[Tensor, "B P Din"]) -> Float[Tensor, "B N W"]:
        inputs = self._inputs(features)
        tokens: Tensor = self.output_norm(self._latents(inputs, len(self.layers)))
        return tokens

    def attention_weights(self, features: Float[Tensor, "B P Din"]) -> Float[Tensor, "B N P"]:
        """Returns the weights of the last layer's cross-attention, see `Pooling`."""
        inputs = self._inputs(features)
        latents = self._latents(inputs, len(self.layers) - 1)
        last = self.layers[-1]
        assert isinstance(last, PerceiverLayer)
        keys, _ = last.keys_and_values(inputs, self.positions)
        return last.cross_attention.weights(last.latent_norm(latents), keys).mean(dim=1)

    def _inputs(self, features: Float[Tensor, "B P Din"]) -> Float[Tensor, "B P W"]:
        check_features(features, self.input_width, self.grid)
        inputs: Tensor = self.input_projection(self.dropout(self.input_norm(features)))
        return inputs

    def _latents(self, inputs: Float[Tensor, "B P W"], num_layers: int) -> Tensor:
        """Returns the latents (B, N, W) after the first layers."""
        latents = self.latents.expand(inputs.shape[0], -1, -1)
        for layer in list(self.layers)[:num_layers]:
            latents = layer(latents, inputs, self.positions)
        return latents


@dataclass(frozen=True, kw_only=True)
class PerceiverConfig:
    """Shape of a Perceiver resampler.

    Attributes:
        num_latents: pooled tokens per image (N).
        width: dim of a pooled token (W), a multiple of `num_heads`. Below the dim of the features
            it is a bottleneck; None lets the latents average the normalised features.
        key_dim: dim of keys and queries, which choose the patches; `width` if None.
        num_layers: each is cross-attention, self-attention and feed-forward.
        num_heads: attention heads.
        feed_forward_ratio: dim inside the feed-forward, as a multiple of `width`.
        positions: adds fixed sines and cosines of row and column to the keys (`width` is then a
            multiple of 4).
        dropout: share of the normalised inputs, and of the numbers inside the feed-forward, that is
            zeroed in training.
    """

    num_latents: int = 4
    width: int | None = 384
    key_dim: int | None = None
    num_layers: int = 2
    num_heads: int = 6
    feed_forward_ratio: float = 2.0
    positions: bool = True
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_at_least(self, 1, "num_latents")
        check_between(self, 1, MAX_WIDTH, "width", "key_dim", "num_heads")
        check_between(self, 1, MAX_LAYERS, "num_layers")
        check_positive(self, "feed_forward_ratio")
        check_between(self, 0, 100, "feed_forward_ratio")
        for width in (self.width, self.key_dim):
            if width is not None:
                check_heads(width, self.num_heads)
        check_share(self, "dropout")

    def hidden_width(self, width: int) -> int:
        """Returns the dim inside the feed-forward for tokens of this dim."""
        return max(1, round(width * self.feed_forward_ratio))

    def build(self, input_width: int, grid: tuple[int, int]) -> PerceiverResampler:
        """Builds the pooling for tokens of this width on this grid of rows and columns."""
        return PerceiverResampler(self, input_width, grid)
