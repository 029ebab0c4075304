from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from edge_glass.decoders.layers import (
    CausalSelfAttention,
    RMSNorm,
    SwiGLU,
    rotary_table,
    rotate,
)

TOLERANCE = 1e-5  # float32 sums of at most 96 products of unit size


def rotation(positions: torch.Tensor, head_dim: int) -> torch.Tensor:
    table = rotary_table(64, head_dim, theta=10_000.0)
    return torch.view_as_complex(table[positions])[:, :, None]


def test_rms_norm_divides_by_the_root_mean_square() -> None:
    norm = RMSNorm(16)
    torch.nn.init.normal_(norm.weight)
    x = torch.randn(2, 3, 16)
    expected = x / (x.pow(2).mean(dim=-1, keepdim=True) + 1e-6).sqrt() * norm.weight
    torch.testing.assert_close(norm(x), expected, atol=TOLERANCE, rtol=TOLERANCE)


def test_swiglu_is_the_gated_product() -> None:
    mlp = SwiGLU(16, 24)
    x = torch.randn(2, 3, 16)
    gate, up = mlp.gate_up.weight[:24], mlp.gate_up.weight[24:]
    hidden = x @ gate.T / (1 + torch.exp(-(x @ gate.T))) * (x @ up.T)
    torch.testing.assert_close(mlp(x), hidden @ mlp.down.weight.T, atol=TOLERANCE, rtol=TOLERANCE)


def test_rotary_table_is_cos_and_sin_of_position_times_frequency() -> None:
    table = rotary_table(8, 6, theta=100.0)
    for position in range(8):
        for pair in range(3):
            angle = position * 100.0 ** (-2 * pair / 6)
            expected = torch.tensor([math.cos(angle), math.sin(angle)])
            # one rounding from double to float32
            torch.testing.assert_close(table[position, pair], expected, atol=1e-7, rtol=0)


def test_rotated_products_depend_on_the_distance_only() -> None:
    query, key = torch.randn(1, 1, 1, 8), torch.randn(1, 1, 1, 8)

    def product(at: int, other: int) -> float:
        q = rotate(query, rotation(torch.tensor([[at]]), 8))
        k = rotate(key, rotation(torch.tensor([[other]]), 8))
        return float((q * k).sum())

    assert math.isclose(product(3, 1), product(40, 38), abs_tol=1e-5)
    assert math.isclose(product(9, 9), float((query * key).sum()), abs_tol=1e-5)
    assert abs(product(3, 1) - product(3, 2)) > 1e-3


def test_rotation_turns_neighbouring_pairs() -> None:
    x = torch.randn(1, 2, 1, 4)
    positions = torch.tensor([[5, 7]])
    turned = rotate(x, rotation(positions, 4))
    for index, position in enumerate((5, 7)):
        for pair in range(2):
            angle = position * 10_000.0 ** (-2 * pair / 4)
            a, b = x[0, index, 0, 2 * pair : 2 * pair + 2].tolist()
            expected = [
                a * math.cos(angle) - b * math.sin(angle),
                a * math.sin(angle) + b * math.cos(angle),
            ]
            torch.testing.assert_close(
                turned[0, index, 0, 2 * pair : 2 * pair + 2],
                torch.tensor(expected),
                atol=1e-6,
                rtol=1e-6,
            )


def test_attention_equals_softmax_of_masked_products() -> None:
    attention = CausalSelfAttention(width=16, num_heads=2)
    x = torch.randn(2, 5, 16)
    turn = rotation(torch.arange(5).expand(2, 5), 8)
    allowed = torch.ones(5, 5, dtype=torch.bool).tril()
    bias = torch.zeros(2, 1, 5, 5).masked_fill(~allowed, torch.finfo(torch.float32).min)

    q, k, v = (x @ attention.qkv.weight.T).split(16, dim=-1)
    mixed = torch.empty(2, 5, 16)
    for head in range(2):
        columns = slice(8 * head, 8 * head + 8)
        turned = [rotate(part[:, :, None, columns], turn)[:, :, 0] for part in (q, k)]
        scores = turned[0] @ turned[1].mT / math.sqrt(8)
        weights = F.softmax(scores.masked_fill(~allowed, float("-inf")), dim=-1)
        mixed[:, :, columns] = weights @ v[:, :, columns]
    expected = mixed @ attention.out.weight.T
    torch.testing.assert_close(attention(x, bias, turn), expected, atol=TOLERANCE, rtol=TOLERANCE)
