"""The parts of the recursive block: RMSNorm, rotary positions, causal self-attention, SwiGLU.

Rotary pairs are neighbours (2i, 2i+1), so that a rotation is one complex product. On a CPU this
takes a quarter of the time of the usual split-halves form. The two forms differ only by a
fixed permutation of the learned query and key rows.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Complex, Float, Int
from torch import Tensor, nn

from edge_glass.decoders.cache import KeyValueCache


class RMSNorm(nn.Module):
    """x / rms(x) * weight (Zhang and Sennrich, 2019, arXiv:1910.07467)."""

    def __init__(self, width: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
        """Normalises the last axis."""
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)


def rotary_table(num_positions: int, head_dim: int, theta: float) -> Float[Tensor, "P E 2"]:
    """Returns cos and sin of position * theta^(-2i / head_dim), (P, E, 2) with E = head_dim / 2.

    Computed in double precision and rounded once, so that every machine gets the same table.
    Source: Su et al., 2021, arXiv:2104.09864.
    """
    frequencies = theta ** (-torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)
    angles = torch.arange(num_positions, dtype=torch.float64)[:, None] * frequencies
    return torch.stack((angles.cos(), angles.sin()), dim=-1).float()


def rotate(x: Float[Tensor, "B S H D"], rotation: Complex[Tensor, "B S 1 E"]) -> Tensor:
    """Rotates neighbouring pairs of each head, in float32, because bf16 has no complex type."""
    pairs = torch.view_as_complex(x.float().view(*x.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * rotation).flatten(-2).to(x.dtype)


class CausalSelfAttention(nn.Module):
    """Multi-head self-attention with rotary positions; one projection computes q, k and v."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(
        self,
        x: Float[Tensor, "B S D"],
        bias: Float[Tensor, "B 1 S S_total"],
        rotation: Complex[Tensor, "B S 1 E"],
        cache: KeyValueCache | None = None,
        call: int = 0,
        positions: Int[Tensor, "B L"] | None = None,
    ) -> Float[Tensor, "B L D"]:
        """Attends from S new positions, or from those in `positions` (L = S if None), to S_total.

        `bias` is added to the scores. `rotation` holds unit complex numbers for the new positions,
        E = head width / 2. `call` is the number of this attention call in the forward pass.
        """
        queries, keys, values = self._heads(x, rotation, positions)
        if positions is not None:
            bias = bias.take_along_dim(positions[:, None, :, None], dim=2)
        if cache is not None:
            keys, values = cache.extend(call, keys, values)
        mixed = F.scaled_dot_product_attention(
            queries.transpose(1, 2), keys.transpose(1, 2), values.transpose(1, 2), attn_mask=bias
        )
        return self.out(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def _heads(
        self, x: Tensor, rotation: Tensor, positions: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns rotated queries (B, L, H, head) and keys (B, S, H, head), and values."""
        if positions is None:
            heads = self.qkv(x).unflatten(-1, (3, self.num_heads, -1))  # (B, S, 3, H, head)
            # the backward pass of `split` is one copy; slices would take three
            queries_keys, values = heads.split([2, 1], dim=2)
            queries, keys = rotate(queries_keys.flatten(2, 3), rotation).chunk(2, dim=2)
            return queries, keys, values.squeeze(2)
        # queries at these positions only, so the parts of `qkv` are applied one by one
        query_weight, key_value_weight = self.qkv.weight.tensor_split([x.shape[-1]])
        queries = F.linear(at_positions(x, positions), query_weight)
        keys, values = (
            F.linear(x, key_value_weight).unflatten(-1, (2, self.num_heads, -1)).unbind(dim=2)
        )
        query_rotation = rotation.take_along_dim(positions[:, :, None, None], dim=1)
        queries = rotate(queries.unflatten(-1, (self.num_heads, -1)), query_rotation)
        return queries, rotate(keys, rotation), values


def at_positions(
    x: Float[Tensor, "B S D"], positions: Int[Tensor, "B L"] | None
) -> Float[Tensor, "B L D"]:
    """Returns x at these positions of each row, or all of x."""
    return x if positions is None else x.take_along_dim(positions[:, :, None], dim=1)


class SwiGLU(nn.Module):
    """down(silu(gate(x)) * up(x)) (Shazeer, 2020, arXiv:2002.05202); gate and up in one matrix."""

    def __init__(self, width: int, intermediate_dim: int) -> None:
        super().__init__()
        self.gate_up = nn.Linear(width, 2 * intermediate_dim, bias=False)
        self.down = nn.Linear(intermediate_dim, width, bias=False)

    def forward(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
        """Applies the gated feed-forward layer to the last axis."""
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)  # type: ignore[no-any-return]
