from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor

from edge_glass.decoders.causal_lm import CausalLmDecoder
from edge_glass.decoders.causal_lm_config import CausalLmConfig
from edge_glass.decoders.lora import ADAPTER, LoraOptions

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

pytest.importorskip("peft")
WIDTH, LAYERS, RANK = 64, 2, 4  # as conftest.py sizes the model
LORA = LoraOptions(rank=RANK, alpha=16, dropout=0.0)


def logits(model: CausalLmDecoder, x: Tensor) -> Tensor:
    mask = torch.ones(x.shape[:2], dtype=torch.long)
    return model.project(model(x, mask).hidden_states[-1]).detach()


def build(folder: Path, tokenizer: PreTrainedTokenizerFast, **options: Any) -> CausalLmDecoder:
    return CausalLmConfig(model=str(folder), **options).build(tokenizer).eval()


def disturb(model: CausalLmDecoder) -> None:
    """Gives the adapters weights as training would."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))


def test_adapters_change_nothing_at_the_start(
    qwen_folder: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    x = torch.randn(2, 5, WIDTH)
    base = logits(build(qwen_folder, tokenizer), x)
    adapted = build(qwen_folder, tokenizer, lora=LORA)
    assert torch.equal(logits(adapted, x), base)  # B is zero: not a bit moves
    disturb(adapted)
    assert (logits(adapted, x) - base).abs().max() > 1e-3


def test_only_adapters_are_trained_on_all_seven_layers(
    qwen_folder: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    model = build(qwen_folder, tokenizer, lora=LORA)
    disturb(model)
    x = model.embed(torch.arange(6)[None])
    hidden = model(x, torch.ones(1, 6, dtype=torch.long)).hidden_states[-1]
    model.project(hidden).square().mean().backward()
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    for name, parameter in model.named_parameters():
        assert ("lora_" in name) == parameter.requires_grad
        assert (parameter.grad is not None) == parameter.requires_grad, name
        assert parameter.grad is None or parameter.grad.abs().sum() > 0, name
    half = WIDTH // 2  # two key-value heads for four query heads
    linear = 2 * (WIDTH + WIDTH) + 2 * (WIDTH + half) + 3 * (WIDTH + 96)
    assert sum(p.numel() for p in trained.values()) == 2 * RANK * linear


def test_saved_adapters_give_equal_logits(
    qwen_folder: Path, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    model = build(qwen_folder, tokenizer, lora=LORA)
    disturb(model)
    state = model.saved_state()
    assert len(state) == 2 * 7 * LAYERS
    save_file(state, tmp_path / "adapter.safetensors")
    other = build(qwen_folder, tokenizer, lora=LORA)
    other.load_saved_state(load_file(tmp_path / "adapter.safetensors"))
    x = torch.randn(2, 5, WIDTH)
    assert torch.equal(logits(other, x), logits(model, x))


def test_errors(qwen_folder: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    model = build(qwen_folder, tokenizer, lora=LORA)
    state = model.saved_state()
    wider = build(qwen_folder, tokenizer, lora=LoraOptions(rank=8)).saved_state()
    with pytest.raises(ValueError, match="use the rank and the model"):
        model.load_saved_state(wider)
    with pytest.raises(ValueError, match="28 missing"):
        model.load_saved_state({})
    with pytest.raises(ValueError, match="1 unexpected"):
        model.load_saved_state(state | {"other": torch.zeros(1)})
    with pytest.raises(ValueError, match=r"\['query'\] match no layer; choose among \['down_proj'"):
        build(qwen_folder, tokenizer, lora=LoraOptions(target_modules=("query", "v_proj")))
    with pytest.raises(ValueError, match="rank is 0"):
        LoraOptions(rank=0)


def test_a_single_name_of_a_layer_is_not_taken_letter_by_letter() -> None:
    with pytest.raises(ValueError, match="target_modules is 'q_proj', expected all-linear or a li"):
        LoraOptions(target_modules="q_proj")  # type: ignore[arg-type]


def gradients(model: CausalLmDecoder, ids: Tensor) -> dict[str, Tensor]:
    hidden = model(model.embed(ids), torch.ones_like(ids)).hidden_states[-1]
    with model.autocast():
        model.project(hidden).float().square().mean().backward()
    found = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


@pytest.mark.parametrize("recompute", [False, True])
def test_a_bfloat16_base_gives_adapters_bfloat16_inputs(
    qwen_folder: Path, tokenizer: PreTrainedTokenizerFast, recompute: bool
) -> None:
    from peft.tuners.lora import LoraLayer

    model = build(
        qwen_folder, tokenizer, lora=LORA, dtype="bfloat16", gradient_checkpointing=recompute
    ).train()
    disturb(model)
    seen = set()
    for name, module in model.named_modules():
        if name.endswith(f"lora_dropout.{ADAPTER}"):
            module.register_forward_pre_hook(lambda _, inputs: seen.add(inputs[0].dtype))
    ids = torch.arange(12)[None] % 8
    kept = gradients(model, ids)
    assert seen == {torch.bfloat16}
    # the adapters, what the optimizer changes, and their gradients are float32
    assert {value.dtype for value in kept.values()} == {torch.float32}
    assert len(kept) == 2 * 7 * LAYERS
    for module in model.modules():
        if isinstance(module, LoraLayer):
            module.cast_input_dtype_enabled = True
    cast = gradients(model, ids)
    assert seen == {torch.bfloat16, torch.float32}
    # without dropout the cast adds no digit: autocast rounds the same numbers back
    assert all(torch.equal(value, cast[name]) for name, value in kept.items())
