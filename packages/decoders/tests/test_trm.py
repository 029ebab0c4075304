from __future__ import annotations

import pytest
import torch

from edge_glass.decoders.trm import TinyRecursiveConfig, TinyRecursiveDecoder


def decoder(**options: object) -> TinyRecursiveDecoder:
    torch.manual_seed(0)
    fields = {"width": 32, "num_heads": 2, "intermediate_dim": 64} | options
    return TinyRecursiveDecoder(TinyRecursiveConfig(**fields), vocab_size=40).eval()  # type: ignore[arg-type]


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_no_future_token_reaches_an_answer(norm: str) -> None:
    model = decoder(norm=norm)
    x = torch.randn(1, 6, 32)
    changed = x.clone()
    changed[:, 4] += 1.0
    mask = torch.ones(1, 6, dtype=torch.long)
    before = model(x, mask).hidden_states[-1]
    after = model(changed, mask).hidden_states[-1]
    assert torch.equal(before[:, :4], after[:, :4])
    assert (before[:, 4:] - after[:, 4:]).abs().amax(dim=-1).min() > 1e-3
