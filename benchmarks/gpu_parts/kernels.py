"""Kernels of a training step: whether they repeat bit by bit, and what they replace.

FlexAttention with a block mask is measured beside scaled dot product attention (SDPA) with a mask,
and torch's RMS norm beside that of Transformers.
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
    from edge_glass.decoders.causal_lm_config import CausalLmConfig
    from edge_glass.decoders.tokenizer import word_tokenizer
    from edge_glass.fusion.packing import packed_mask, packed_positions

    segments, prefix = packed(size)
    sizes = {**size.small, "num_hidden_layers": 2}
    ids = torch.ones_like(segments)
    mask, positions = packed_mask(segments, prefix), packed_positions(segments, prefix)
    found: dict[str, Any] = {}
    hidden: list[Tensor] = []
    for name in ("sdpa", "flex"):
        config = CausalLmConfig(config=sizes, dtype=size.dtype, packed_attention=name)  # type: ignore[arg-type]
        torch.manual_seed(0)
        decoder = config.build(word_tokenizer(["a"], 8), torch.device(size.device)).train()
        visual = torch.randn(len(ids), prefix, decoder.width, device=size.device)

        def gradients(decoder: Any = decoder, visual: Tensor = visual) -> list[Tensor]:
            decoder.zero_grad()
            embeds = torch.cat((visual, decoder.embed(ids)), 1)
            output = decoder(embeds, mask, position_ids=positions).hidden_states[-1]
            output.float().square().mean().backward()
            return [output.detach(), *(p.grad for p in decoder.parameters() if p.grad is not None)]

        first, second = gradients(), gradients()
        found[f"{name}_repeats"] = all(
            torch.equal(*pair) for pair in zip(first, second, strict=True)
        )
        hidden.append(first[0][:, :prefix].float())
    found["relative_difference"] = ((hidden[1] - hidden[0]).norm() / hidden[0].norm()).item()
    return found


def flex(size: Size) -> dict[str, Any]:
    """FlexAttention of packed questions against SDPA with a mask, forward and backward."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    from edge_glass.decoders.masks import additive, may_attend
    from edge_glass.decoders.packed_attention import attend, block_mask
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
    masks = {"sdpa": additive(allowed, torch.bfloat16)}
    if device.type == "cuda":  # FlexAttention has no backward pass on a CPU
        masks["flex"] = block_mask(allowed)
    layer = SimpleNamespace(num_key_value_groups=heads // groups, is_causal=True, training=True)
    functions: dict[str, Any] = {"sdpa": sdpa_attention_forward, "flex": attend}

    def both_ways(name: str) -> list[Tensor]:
        leaves = [each.clone().requires_grad_() for each in (q, k, v)]
        output: Tensor = functions[name](layer, *leaves, masks[name], scaling=head**-0.5)[0]
        output.float().square().mean().backward()
        return [output.detach(), *(each.grad for each in leaves if each.grad is not None)]

    found: dict[str, Any] = {
        f"{name}_ms": timed(lambda name=name: both_ways(name), device)  # type: ignore[misc]
        for name in masks
    }
    if "flex" in masks:
        found["mask_ms"] = timed(lambda: block_mask(allowed), device)
        found["flex_faster"] = found["sdpa_ms"] / found["flex_ms"]
        once, again = both_ways("flex"), both_ways("flex")
        found["flex_repeats"] = all(torch.equal(*pair) for pair in zip(once, again, strict=True))
        real = F.pad(segments, (prefix, 0), value=0) != -1
        error = (once[0] - both_ways("sdpa")[0]).float()[real].abs().max()
        found["largest_difference"] = error.item()
    return found


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
