"""One decoder class for all families: packing, their own logits, generation, adapters, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest
import torch
from torch import Tensor

from edge_glass.decoders.causal_lm import CausalLmDecoder
from edge_glass.decoders.causal_lm_config import CausalLmConfig
from edge_glass.decoders.contract import EXACT, QUANTIZED, ROUNDED, check_contract, tolerance_of
from edge_glass.decoders.lora import LoraOptions
from edge_glass.decoders.pretrained import check_layers
from edge_glass.decoders.sampling import generate
from tiny_families import FAMILIES, REFUSED, VOCAB, tiny_model

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

QUICK = ("llama", "gemma2", "mistral", "gpt2", "cohere")  # the others are alike, and take seconds
EACH = pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in FAMILIES]
)
LORA = LoraOptions(rank=2, alpha=4, dropout=0.0, target_modules="all-linear")
# float32: the same sums in a different order, two layers deep, on logits of deviation 1 to 10
TOLERANCE = {"atol": 2e-4, "rtol": 1e-4}


def logits(model: CausalLmDecoder, ids: Tensor, mask: Tensor, positions: Tensor | None) -> Tensor:
    hidden = model(model.embed(ids), mask, position_ids=positions).hidden_states[-1]
    return model.project(hidden).detach()


@EACH
def test_logits_are_the_models_own_and_packed_questions_equal_each_alone(name: str) -> None:
    causal_lm = tiny_model(*FAMILIES[name])
    model = CausalLmDecoder(causal_lm).eval()
    ids = torch.randint(3, VOCAB, (1, 20))
    ones = torch.ones_like(ids)
    own = causal_lm(input_ids=ids, attention_mask=ones, use_cache=False).logits.detach()
    torch.testing.assert_close(logits(model, ids, ones, None), own, **TOLERANCE)

    # a prefix of 4 and questions of 7 and 9: longer than a window of 6
    group = torch.tensor([0] * 4 + [1] * 7 + [2] * 9)
    mask = (group[None, :] == 0) | (group[:, None] == group[None, :])
    positions = torch.tensor([[*range(11), *range(4, 13)]])
    packed = logits(model, ids, mask[None], positions)
    for question in (1, 2):
        kept = ids[:, (group == 0) | (group == question)]
        alone = causal_lm(input_ids=kept, use_cache=False).logits.detach()
        torch.testing.assert_close(packed[:, group == question], alone[:, 4:], **TOLERANCE)
    check_contract(model)


@EACH
def test_cached_generation_equals_uncached_with_padding_on_the_left(name: str) -> None:
    model = CausalLmDecoder(tiny_model(*FAMILIES[name])).eval()
    x = model.embed(torch.randint(3, VOCAB, (2, 9))).detach()
    mask = torch.ones(2, 9, dtype=torch.long)
    mask[0, :4] = 0
    words = [
        generate(model, x, mask, model.embed, 8, VOCAB, use_cache=use_cache)
        for use_cache in (True, False)
    ]
    assert torch.equal(*words)
    alone = generate(model, x[:1, 4:], mask[:1, 4:], model.embed, 8, VOCAB)
    assert torch.equal(words[0][:1], alone)


@EACH
def test_adapters_on_all_linear_layers_train_and_are_saved(name: str) -> None:
    pytest.importorskip("peft")
    model = CausalLmDecoder(tiny_model(*FAMILIES[name]), lora=LORA).train()
    ids = torch.randint(3, VOCAB, (1, 12))
    x = model.embed(ids)
    hidden = model(x, torch.ones_like(ids)).hidden_states[-1]
    model.project(hidden).square().mean().backward()
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    assert len(trained) >= 2 * 2 * 3  # A and B, two layers, three linear layers in each
    head = model.causal_lm.get_output_embeddings()
    assert not any(each.requires_grad for each in head.parameters())
    for key, parameter in trained.items():
        assert ".lora_" in key
        # the router of a mixture may not use an expert's layer, but never all of them
        if "lora_B" in key and "expert" not in key:
            assert parameter.grad is not None, key
            assert parameter.grad.abs().sum() > 0, key
    with torch.no_grad():
        for parameter in trained.values():
            parameter.add_(0.1 * torch.randn_like(parameter))
    other = CausalLmDecoder(tiny_model(*FAMILIES[name]), lora=LORA)
    other.load_saved_state(model.saved_state())
    ones = torch.ones_like(ids)
    found = logits(other.eval(), ids, ones, None)
    assert torch.equal(found, logits(model.eval(), ids, ones, None))


@pytest.mark.slow
@pytest.mark.parametrize("name", list(FAMILIES))
def test_the_check_passes_in_bfloat16(name: str) -> None:
    check_contract(CausalLmDecoder(tiny_model(*FAMILIES[name]).to(torch.bfloat16)))


@pytest.mark.parametrize("name", ["llama", "gpt2"])  # GPT-2 calls its layers n_layer
def test_the_tolerance_for_rounding_grows_with_the_layers(name: str) -> None:
    model = CausalLmDecoder(tiny_model(*FAMILIES[name]))
    rounded = CausalLmDecoder(tiny_model(*FAMILIES[name]).to(torch.bfloat16))
    for layers, factor in ((2, 1.0), (16, 1.0), (36, 1.5), (64, 2.0)):
        model.causal_lm.config.num_hidden_layers = layers
        rounded.causal_lm.config.num_hidden_layers = layers
        assert tolerance_of(model) == EXACT
        assert tolerance_of(rounded) == ROUNDED * factor
    rounded.quantization = "4bit"
    assert tolerance_of(rounded) == QUANTIZED * factor


@pytest.mark.parametrize("bits", ["4bit", "8bit"])
@pytest.mark.parametrize("name", ["llama", "qwen2"])
def test_a_quantised_model_passes_the_check_and_trains_adapters(
    name: str, bits: Literal["4bit", "8bit"], tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    pytest.importorskip("bitsandbytes")
    pytest.importorskip("peft")
    wide = {"hidden_size": 64, "intermediate_size": 128, "tie_word_embeddings": name == "qwen2"}
    tiny_model(name, wide).save_pretrained(tmp_path)
    options = CausalLmConfig(model=str(tmp_path), quantization=bits, lora=LORA, dtype="bfloat16")
    model = options.build(tokenizer).train()
    ids = torch.randint(3, VOCAB, (1, 12))
    hidden = model(model.embed(ids), torch.ones_like(ids)).hidden_states[-1]
    model.project(hidden).float().square().mean().backward()
    grads = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
    assert len(grads) == 2 * 2 * 7
    assert all(each is not None and each.isfinite().all() for each in grads.values())


@pytest.mark.parametrize("name", list(REFUSED))
@pytest.mark.parametrize(
    "dtype", [torch.float32, pytest.param(torch.bfloat16, marks=pytest.mark.slow)]
)
def test_models_that_are_no_decoders_are_refused_by_name(name: str, dtype: torch.dtype) -> None:
    causal_lm = tiny_model(*REFUSED[name]).to(dtype)
    family = REFUSED[name][0]
    with pytest.raises(ValueError, match=rf"family {family} can't be a decoder: .*; choose a mod"):
        check_contract(CausalLmDecoder(causal_lm))


def test_layers_without_attention_are_refused_before_weights_are_read(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    for name in ("mamba", "gpt_neo", "qwen3_next", "lfm2 with convolutions"):
        config = tiny_model(*REFUSED[name]).config
        with pytest.raises(ValueError, match=rf"{REFUSED[name][0]} has layers of the kinds \["):
            check_layers(config)
    config.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"lfm2 has layers of the kinds \['conv'\]"):
        CausalLmConfig(model=str(tmp_path)).build(tokenizer)


@pytest.mark.parametrize("training", [False, True])
def test_the_check_changes_nothing(training: bool) -> None:
    model = CausalLmDecoder(tiny_model("llama", {"attention_dropout": 0.5})).train(training)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = torch.get_rng_state()
    check_contract(model)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training == training
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert all(each.grad is None for each in model.parameters())


def test_the_check_fails_if_a_future_model_reads_the_mask_differently() -> None:
    causal_lm = tiny_model("llama", {})
    causal_lm.base_model.register_forward_pre_hook(
        lambda _, args, named: (args, {**named, "position_ids": None}), with_kwargs=True
    )
    with pytest.raises(ValueError, match="a packed question differs from the same question alone"):
        check_contract(CausalLmDecoder(causal_lm))
