"""Cross-attention fusion: each word attends to the visual tokens and adds what it finds.

The text keeps its length, so a decoder needs no extra positions for an image.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from edge_glass.encoders.limits import MAX_WIDTH, check_between, check_share
from edge_glass.fusion.base import Fusion


@dataclass(frozen=True, kw_only=True)
class CrossAttentionConfig:
    """Options of `cross_attention`.

    Attributes:
        num_heads: attention heads; must divide the decoder's width.
        dropout: probability of dropping a feature of the injected signal, in [0, 1).
    """

    num_heads: int = 8
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_between(self, 1, MAX_WIDTH, "num_heads")
        check_share(self, "dropout")

    def build(self, *, visual_width: int, width: int) -> CrossAttentionFusion:
        return CrossAttentionFusion(self, visual_width, width)


class CrossAttention(nn.Module):
    """Multi-head attention of words (B, T, D) to visual tokens (B, N, Dv); returns (B, T, D)."""

    def __init__(self, num_heads: int, visual_width: int, width: int) -> None:
        super().__init__()
        if width % num_heads:
            raise ValueError(
                f"num_heads is {num_heads}, which does not divide the decoder's width {width}; "
                "choose a divisor"
            )
        self.num_heads = num_heads
        self.query_norm = nn.LayerNorm(width)
        self.visual_norm = nn.LayerNorm(visual_width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(visual_width, 2 * width)
        self.output = nn.Linear(width, width)

    def forward(
        self, text_embeds: Float[Tensor, "B T D"], visual: Float[Tensor, "B N Dv"]
    ) -> Float[Tensor, "B T D"]:
        attended = F.scaled_dot_product_attention(*self._heads(text_embeds, visual))
        mixed: Tensor = self.output(attended.transpose(1, 2).flatten(2))
        return mixed

    def weights(
        self, text_embeds: Float[Tensor, "B T D"], visual: Float[Tensor, "B N Dv"]
    ) -> Float[Tensor, "B T N"]:
        """Returns how much each word takes of each visual token, the mean over the heads."""
        query, key, _ = self._heads(text_embeds, visual)
        weights: Tensor = (query @ key.mT / query.shape[-1] ** 0.5).softmax(dim=-1)
        return weights.mean(dim=1)

    def _heads(self, text_embeds: Tensor, visual: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns query, key and value, each (B, heads, T or N, D / heads)."""
        query = self.query(self.query_norm(text_embeds))
        key, value = self.key_value(self.visual_norm(visual)).chunk(2, dim=-1)
        query, key, value = (
            each.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for each in (query, key, value)
        )
        return query, key, value


def feed_forward(width: int) -> nn.Sequential:
    """Builds the pre-norm feed-forward layer that follows an attention, twice as wide inside."""
    wide, narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
    return nn.Sequential(nn.LayerNorm(width), wide, nn.GELU(), narrow)


class CrossAttentionFusion(Fusion):
    """h = text + dropout(attention(text, visual)); returns h + dropout(feed_forward(h))."""

    def __init__(self, config: CrossAttentionConfig, visual_width: int, width: int) -> None:
        super().__init__(visual_width, width)
        self.attention = CrossAttention(config.num_heads, visual_width, width)
        self.feed_forward = feed_forward(width)
        self.dropout = nn.Dropout(config.dropout)

    def prefix(self, visual: Float[Tensor, "B N Dv"]) -> Float[Tensor, "B 0 D"]:
        return visual.new_zeros(visual.shape[0], 0, self.width)

    def extend(
        self, visual: Float[Tensor, "B N Dv"], text_embeds: Float[Tensor, "B T D"]
    ) -> Float[Tensor, "B T D"]:
        hidden = text_embeds + self.dropout(self.attention(text_embeds, visual))
        fused: Tensor = hidden + self.dropout(self.feed_forward(hidden))
        return fused

    def attention_weights(
        self, visual: Float[Tensor, "B N Dv"], text_embeds: Float[Tensor, "B T D"]
    ) -> Float[Tensor, "B T N"]:
        return self.attention.weights(text_embeds, visual)
