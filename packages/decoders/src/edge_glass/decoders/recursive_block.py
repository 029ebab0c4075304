"""The block that the steps of a tiny recursive model share: layers of attention and SwiGLU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn

from edge_glass.decoders.cache import KeyValueCache
from edge_glass.decoders.layers import CausalSelfAttention, RMSNorm, SwiGLU, at_positions

if TYPE_CHECKING:
    from edge_glass.decoders.trm import TinyRecursiveConfig


class RecursiveLayer(nn.Module):
    """Attention and SwiGLU with residuals; norms before each (pre) or after each sum (post)."""

    def __init__(self, config: TinyRecursiveConfig) -> None:
        super().__init__()
        self.post_norm = config.norm == "post"
        self.dropout = config.dropout
        self.attention = CausalSelfAttention(config.width, config.num_heads)
        self.mlp = SwiGLU(config.width, config.intermediate_dim)
        self.attention_norm = RMSNorm(config.width, config.rms_norm_eps)
        self.mlp_norm = RMSNorm(config.width, config.rms_norm_eps)

    def forward(
        self,
        x: Tensor,
        bias: Tensor,
        rotation: Tensor,
        cache: KeyValueCache | None,
        call: int,
        positions: Tensor | None = None,
    ) -> Tensor:
        """Runs the layer, (B, S, D) -> (B, S, D), or (B, L, D) at L positions of each row."""
        read = x if self.post_norm else self.attention_norm(x)
        mixed = self.attention(read, bias, rotation, cache, call, positions)
        x = at_positions(x, positions) + self._drop(mixed)
        if self.post_norm:
            x = self.attention_norm(x)
            return self.mlp_norm(x + self._drop(self.mlp(x)))  # type: ignore[no-any-return]
        return x + self._drop(self.mlp(self.mlp_norm(x)))

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training) if self.dropout else x


class RecursiveBlock(nn.Module):
    """The block that all recursion steps share."""

    def __init__(self, config: TinyRecursiveConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(RecursiveLayer(config) for _ in range(config.num_layers))
        # Pre-norm layers only add: without this norm the states would grow at each recursion.
        self.state_norm = (
            RMSNorm(config.width, config.rms_norm_eps) if config.norm == "pre" else nn.Identity()
        )

    def forward(
        self,
        x: Tensor,
        bias: Tensor,
        rotation: Tensor,
        cache: KeyValueCache | None,
        call: int,
        positions: Tensor | None = None,
    ) -> Tensor:
        """Runs the block, (B, S, D) -> (B, S, D); `call` counts its runs in this forward pass.

        The last layer computes its output only at `positions` (B, L), if they are given.
        """
        *first, last = enumerate(self.layers, call * len(self.layers))
        for number, layer in first:
            x = layer(x, bias, rotation, cache, number)
        number, layer = last
        x = layer(x, bias, rotation, cache, number, positions)
        return self.state_norm(x)  # type: ignore[no-any-return]
