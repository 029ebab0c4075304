"""Gated fusion: cross-attention behind tanh gates that start shut (as in Flamingo).

With both gates at 0 the decoder reads exactly the word embeddings. Training therefore starts as
the text-only decoder and learns to open the gates.

Source: Alayrac et al. 2022, "Flamingo", section 2.2 (gated xattn-dense layers).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from edge_glass.encoders.limits import MAX_WIDTH, check_between, check_share
from edge_glass.fusion.base import Fusion
from edge_glass.fusion.cross_attention import CrossAttention, feed_forward

MAX_GATE = 10  # beyond it, tanh in float32 is 1 and the gate can't learn


@dataclass(frozen=True, kw_only=True)
class GatedConfig:
    """Options of `gated`.

    Attributes:
        num_heads: attention heads; must divide the decoder's width.
        gate_init: initial value of both gates before tanh; 0 starts as the text-only decoder.
        dropout: probability of dropping a feature of the injected signal, in [0, 1).
    """

    num_heads: int = 8
    gate_init: float = 0.0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_between(self, 1, MAX_WIDTH, "num_heads")
        check_between(self, -MAX_GATE, MAX_GATE, "gate_init")
        check_share(self, "dropout")

    def build(self, *, visual_width: int, width: int) -> GatedFusion:
        return GatedFusion(self, visual_width, width)


class GatedFusion(Fusion):
    """h = text + tanh(a) * attention(text, visual); returns h + tanh(b) * feed_forward(h)."""

    def __init__(self, config: GatedConfig, visual_width: int, width: int) -> None:
        super().__init__(visual_width, width)
        self.attention = CrossAttention(config.num_heads, visual_width, width)
        self.feed_forward = feed_forward(width)
        self.dropout = nn.Dropout(config.dropout)
        self.attention_gate = nn.Parameter(torch.tensor(config.gate_init))
        self.feed_forward_gate = nn.Parameter(torch.tensor(config.gate_init))

    def prefix(self, visual: Float[Tensor, "B N Dv"]) -> Float[Tensor, "B 0 D"]:
        return visual.new_zeros(visual.shape[0], 0, self.width)

    def extend(
        self, visual: Float[Tensor, "B N Dv"], text_embeds: Float[Tensor, "B T D"]
    ) -> Float[Tensor, "B T D"]:
        attended = self.dropout(self.attention(text_embeds, visual))
        hidden = text_embeds + self.attention_gate.tanh() * attended
        fused: Tensor = hidden + self.feed_forward_gate.tanh() * self.dropout(
            self.feed_forward(hidden)
        )
        return fused

    def attention_weights(
        self, visual: Float[Tensor, "B N Dv"], text_embeds: Float[Tensor, "B T D"]
    ) -> Float[Tensor, "B T N"]:
        """Returns the weights before the gate, which multiplies all words' shares alike."""
        return self.attention.weights(text_embeds, visual)
