"""Kernels of a training step: which attention repeats bit by bit, and what would be faster.

The pipeline uses PyTorch's scaled dot product attention with a mask, and the norms of Transformers.
FlexAttention with a block mask and torch's own RMS norm are measured beside them. They are no
options of the pipeline.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gpu_parts.project import Size

QUESTIONS = 5


def timed(call: Callable[[], Any], device: torch.device, repeats: int = 10) -> float:
    """Returns the median time of a call in milliseconds, after two that are not counted."""
    seconds = []
    for _ in range(repeats + 2):
        if device.type == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return 1e3 * statistics.median(seconds[2:])


def packed(size: Size) -> tuple[Tensor, int]:
    """Returns segment ids (B, T) of packed questions, and the length of the prefix."""
    prefix = (size.image_size // 14) ** 2
    each = size.question_words + size.answer_words + 3  # with the words of the template
    segments = torch.arange(QUESTIONS).repeat_interleave(each)
    length = -(-(prefix + len(segments)) // 64) * 64 - prefix
    segments = F.pad(segments, (0, length - len(segments)), value=-1)
    return segments.repeat(size.microbatch, 1).to(size.device), prefix


def attention(size: Size) -> dict[str, Any]:
    """Two steps of a decoder of two layers with packed questions, with each attention."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    from edge_glass.decoders.causal_lm_config import CausalLmConfig
    from edge_glass.decoders.tokenizer import word_tokenizer
    from edge_glass.fusion.packing import packed_mask, packed_positions

    segments, prefix = packed(size)
    sizes = {**size.small, "num_hidden_layers": 2}
    config = CausalLmConfig(config=sizes, dtype=size.dtype)  # type: ignore[arg-type]
    decoder = config.build(word_tokenizer(["a"], 8), torch.device(size.device)).train()
    ids = torch.ones_like(segments)
    mask, positions = packed_mask(segments, prefix), packed_positions(segments, prefix)
    visual = torch.randn(len(ids), prefix, decoder.width, device=size.device)

    def gradients() -> list[Tensor]:
        decoder.zero_grad()
        embeds = torch.cat((visual, decoder.embed(ids)), 1)
        output = decoder(embeds, mask, position_ids=positions).hidden_states[-1]
        output.float().square().mean().backward()
        return [output.detach(), *(p.grad for p in decoder.parameters() if p.grad is not None)]

    def repeats() -> str | bool:
        try:
            first = gradients()
            return all(torch.equal(*pair) for pair in zip(first, gradients(), strict=True))
        except RuntimeError as error:
            return f"refused: {str(error).splitlines()[0][:80]}"

    found: dict[str, Any] = {"chosen_repeats": repeats()}
    kinds = {"memory_efficient": SDPBackend.EFFICIENT_ATTENTION, "math": SDPBackend.MATH,
             "flash": SDPBackend.FLASH_ATTENTION}  # fmt: skip
    for name, kind in kinds.items():
        with sdpa_kernel(kind):
            found[f"{name}_repeats"] = repeats()
    return found


def flex(size: Size) -> dict[str, Any]:
    """FlexAttention with a block mask against the present attention, forward and backward."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    from edge_glass.decoders.masks import additive, may_attend
    from edge_glass.fusion.packing import packed_mask, packed_positions

    device = torch.device(size.device)
    segments, prefix = packed(size)
    heads, groups = size.large["num_attention_heads"], size.large["num_key_value_heads"]
    head = size.large["hidden_size"] // heads
    length = prefix + segments.shape[1]
    q, k, v = (
        torch.randn(len(segments), number, length, head, device=device, dtype=torch.bfloat16)
        for number in (heads, groups, groups)
    )
    allowed = may_attend(packed_mask(segments, prefix), packed_positions(segments, prefix))
    bias = additive(allowed, torch.bfloat16)
    whole = F.pad(segments, (prefix, 0), value=-2)

    def attends(b: Tensor, _: Tensor, row: Tensor, column: Tensor) -> Tensor:
        same = (whole[b, row] == whole[b, column]) | (column < prefix)
        return (row == column) | ((row >= column) & same & (whole[b, column] != -1))

    block = create_block_mask(attends, len(segments), None, length, length, device=device.type)
    compiled: Any = torch.compile(flex_attention) if device.type == "cuda" else flex_attention
    layer = SimpleNamespace(num_key_value_groups=heads // groups, is_causal=True, training=True)

    def present(*inputs: Tensor) -> Tensor:
        output: Tensor = sdpa_attention_forward(layer, *inputs, bias)[0]  # type: ignore[arg-type]
        return output.transpose(1, 2)

    def flexible(*inputs: Tensor) -> Tensor:
        output: Tensor = compiled(*inputs, block_mask=block, enable_gqa=True)
        return output

    def both_ways(function: Callable[..., Tensor]) -> list[Tensor]:
        leaves = [each.clone().requires_grad_(device.type == "cuda") for each in (q, k, v)]
        output = function(*leaves)
        if device.type == "cuda":  # FlexAttention has no backward pass on a CPU
            output.float().square().mean().backward()
        return [output.detach(), *(each.grad for each in leaves if each.grad is not None)]

    times = {name: timed(lambda f=f: both_ways(f), device)  # type: ignore[misc]
             for name, f in (("present", present), ("flex", flexible))}  # fmt: skip
    once, again = both_ways(flexible), both_ways(flexible)
    real = whole != -1
    error = (once[0] - both_ways(present)[0]).float().transpose(1, 2)[real].abs().max()
    return {
        "present_ms": times["present"], "flex_ms": times["flex"],
        "flex_faster": times["present"] / times["flex"],
        "flex_repeats": all(torch.equal(*pair) for pair in zip(once, again, strict=True)),
        "largest_difference": error.item(),
    }  # fmt: skip


def norms(size: Size) -> dict[str, Any]:
    """torch's RMS norm against that of Transformers, forward and backward."""
    from transformers.models.qwen2.modeling_qwen2 import Qwen2RMSNorm

    device, width = torch.device(size.device), size.large["hidden_size"]
    segments, prefix = packed(size)
    shape = (len(segments), prefix + segments.shape[1], width)
    x = torch.randn(shape, device=device, dtype=torch.bfloat16)
    norm: nn.Module = Qwen2RMSNorm(width, eps=1e-6).to(device, torch.bfloat16)  # type: ignore[no-untyped-call]
    norm.requires_grad_(False)
    weight = norm.weight

    def both_ways(function: Callable[[Tensor], Tensor]) -> list[Tensor]:
        leaf = x.clone().requires_grad_()
        output = function(leaf)
        output.float().square().mean().backward()
        assert leaf.grad is not None
        return [output.detach(), leaf.grad]

    def fused(values: Tensor) -> Tensor:
        return F.rms_norm(values, (width,), weight, 1e-6)  # type: ignore[arg-type]

    times = {name: timed(lambda f=f: both_ways(f), device)  # type: ignore[misc]
             for name, f in (("present", norm), ("fused", fused))}  # fmt: skip
    once, again = both_ways(fused), both_ways(fused)
    return {
        "present_ms": times["present"], "fused_ms": times["fused"],
        "fused_faster": times["present"] / times["fused"],
        "fused_repeats": all(torch.equal(*pair) for pair in zip(once, again, strict=True)),
    }  # fmt: skip
