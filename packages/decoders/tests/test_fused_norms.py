"""Fused norms equal those of transformers up to rounding; other kinds of norms stay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from edge_glass.decoders.causal_lm_config import CausalLmConfig
from edge_glass.decoders.fused_norms import fuse_norms

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_frozen_norms_are_fused_and_keep_their_numbers(
    sizes: dict[str, Any], tokenizer: PreTrainedTokenizerFast, dtype: torch.dtype
) -> None:
    decoder = CausalLmConfig(config=sizes).build(tokenizer)
    model = decoder.causal_lm.to(dtype)
    norms = [each for each in model.modules() if type(each).__name__ == "Qwen2RMSNorm"]
    assert fuse_norms(model) == 0  # they are trained
    model.requires_grad_(False)
    for norm in norms:
        nn.init.normal_(norm.weight)
    x = torch.randn(3, 5, sizes["hidden_size"], dtype=dtype)
    expected = norms[0](x)
    assert fuse_norms(model) == len(norms) == 2 * sizes["num_hidden_layers"] + 1
    with torch.autocast("cpu", torch.bfloat16):
        found = norms[0](x)
    assert found.dtype == dtype
    # two roundings of bfloat16; in float32, a sum of 64 squares in a different order
    tolerance = {torch.float32: 1e-5, torch.bfloat16: 2**-7}[dtype]
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=1e-6)


def test_a_norm_that_multiplies_by_one_plus_its_weight_stays() -> None:
    from transformers.models.gemma.modeling_gemma import GemmaRMSNorm

    norm: Any = GemmaRMSNorm(16)
    norm.requires_grad_(False)
    assert fuse_norms(norm) == 0
    assert "forward" not in vars(norm)
