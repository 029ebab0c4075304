"""Block masks are the masks of SDPA; on a GPU FlexAttention gives its numbers, and repeats."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor

from edge_glass.decoders.causal_lm_config import CausalLmConfig
from edge_glass.decoders.masks import may_attend
from edge_glass.decoders.packed_attention import NAME, block_mask, use_flex

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
SIZES = {
    "hidden_size": 256, "intermediate_size": 128, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 4096,
}  # fmt: skip
# prints a hash of outputs and gradients for lengths in the order of the arguments
HASHES = """
import hashlib, sys, torch
from edge_glass.decoders.packed_attention import attend, block_mask
from types import SimpleNamespace
torch.use_deterministic_algorithms(True)
for length in map(int, sys.argv[1:]):
    torch.manual_seed(length)
    drawn = [torch.randn(2, heads, length, 64, device="cuda") for heads in (4, 2, 2)]
    leaves = [each.bfloat16().requires_grad_() for each in drawn]
    table = torch.ones(2, length, length, dtype=torch.bool, device="cuda").tril()
    output = attend(SimpleNamespace(), *leaves, block_mask(table), scaling=0.125)[0]
    output.float().square().sum().backward()
    digest = hashlib.sha256()
    for each in (output, *(leaf.grad for leaf in leaves)):
        digest.update(each.detach().float().cpu().numpy().tobytes())
    print(length, digest.hexdigest())
"""


def packed(length: int) -> tuple[Tensor, Tensor]:
    """A mask (1, S, S) of two questions behind a prefix, and their positions."""
    group = torch.tensor([0, 1, 2]).repeat_interleave(torch.tensor([length // 2, 40, 24]))
    mask = (group[None, :] == 0) | (group[:, None] == group[None, :])
    start = length // 2
    positions = [*range(start + 40), *range(start, start + 24)]
    return mask[None], torch.tensor([positions])


def test_a_block_mask_has_what_may_be_attended() -> None:
    mask, positions = packed(400)
    allowed = may_attend(mask, positions)
    blocks: Any = block_mask(allowed)
    rows = torch.arange(allowed.shape[1])
    found = blocks.mask_mod(torch.tensor(0), None, rows[:, None], rows[None, :])
    assert torch.equal(found, allowed[0])
    # of 3 x 3 blocks those above the diagonal are left out
    assert blocks.to_dense()[0, 0].tolist() == [[1, 0, 0], [1, 1, 0], [1, 1, 1]]


def test_a_model_that_drops_attention_is_refused(
    sizes: dict[str, Any], tokenizer: PreTrainedTokenizerFast
) -> None:
    config = CausalLmConfig(config={**sizes, "attention_dropout": 0.1})
    with pytest.raises(ValueError, match=r"attention_dropout is 0.1; set packed_attention: sdpa"):
        use_flex(config.build(tokenizer).causal_lm)


def test_a_cpu_computes_as_before(
    sizes: dict[str, Any], tokenizer: PreTrainedTokenizerFast
) -> None:
    model = CausalLmConfig(config=sizes, packed_attention="flex").build(tokenizer)
    assert not model.flex
    assert model.causal_lm.config._attn_implementation == "sdpa"


def test_an_unknown_attention_is_refused() -> None:
    with pytest.raises(ValueError, match="packed_attention is 'flash', expected one of flex, sdpa"):
        CausalLmConfig(packed_attention="flash")  # type: ignore[arg-type]


@pytest.mark.gpu
@needs_gpu
def test_a_gpu_gets_the_numbers_of_sdpa(tokenizer: PreTrainedTokenizerFast) -> None:
    device, found = torch.device("cuda"), {}
    mask, positions = (each.to(device) for each in packed(400))
    x = torch.randn(1, mask.shape[1], SIZES["hidden_size"], device=device)
    for kind in ("sdpa", "flex"):
        torch.manual_seed(0)
        config = CausalLmConfig(config=SIZES, packed_attention=kind)  # type: ignore[arg-type]
        model = config.build(tokenizer, device)
        with torch.autocast("cuda", torch.bfloat16):
            output = model(x, mask, position_ids=positions).hidden_states[-1]
        output.float().square().mean().backward()
        gradients = [each.grad for each in model.parameters() if each.grad is not None]
        found[kind] = [output.detach().float(), *gradients]
    assert model.causal_lm.config._attn_implementation == NAME
    for flex, sdpa in zip(found["flex"], found["sdpa"], strict=True):
        # products of bfloat16 have 8 bits; two layers round several times
        assert (flex - sdpa).norm() <= 0.03 * sdpa.norm()


@pytest.mark.gpu
@needs_gpu
def test_a_length_gives_the_same_bits_whatever_was_compiled_before() -> None:
    outputs = []
    for lengths in (["256", "704", "960"], ["960", "704", "256"]):
        done = subprocess.run(
            [sys.executable, "-c", HASHES, *lengths], capture_output=True, text=True, check=True
        )
        outputs.append(sorted(done.stdout.splitlines()))
    assert outputs[0] == outputs[1]
    assert len(outputs[0]) == 3
