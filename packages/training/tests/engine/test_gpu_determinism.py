"""A training step with fused attention repeats bit by bit on a GPU; skipped without one."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from edge_glass.training.engine.determinism import ENVIRONMENT, make_deterministic, set_environment

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]


@pytest.mark.parametrize("masked", [False, True], ids=["flash", "memory_efficient"])
def test_two_steps_with_fused_attention_are_equal(
    masked: bool, monkeypatch: pytest.MonkeyPatch, restore_torch: None
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    set_environment("native")
    make_deterministic(1)
    torch.manual_seed(0)
    shape = (4, 8, 1024, 64)
    inputs = [torch.randn(shape, device="cuda", dtype=torch.bfloat16) for _ in range(3)]
    mask = torch.zeros(4, 1, 1024, 1024, device="cuda", dtype=torch.bfloat16)
    mask = mask.masked_fill(torch.ones_like(mask, dtype=torch.bool).triu(1), float("-inf"))
    bias = mask if masked else None
    chosen = torch._fused_sdp_choice(*inputs, bias, is_causal=not masked)
    kinds = torch.nn.attention.SDPBackend
    assert chosen == (kinds.EFFICIENT_ATTENTION if masked else kinds.FLASH_ATTENTION).value

    def gradients() -> list[torch.Tensor]:
        leaves = [each.clone().requires_grad_() for each in inputs]
        output = F.scaled_dot_product_attention(*leaves, attn_mask=bias, is_causal=not masked)
        output.float().square().sum().backward()
        return [output.detach(), *(each.grad for each in leaves if each.grad is not None)]

    first = gradients()
    assert len(first) == 4
    for _ in range(5):
        assert all(torch.equal(*pair) for pair in zip(first, gradients(), strict=True))
