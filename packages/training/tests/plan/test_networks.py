"""Networks without weights have the sizes of the real ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from edge_glass.decoders.causal_lm_config import CausalLmConfig
from edge_glass.decoders.lora import LoraOptions
from edge_glass.decoders.tokenizer import word_tokenizer
from edge_glass.encoders.components import Component
from edge_glass.encoders.towers.timm_vision import TimmVisionConfig
from edge_glass.encoders.towers.transformers_vision import ClipVisionConfig
from edge_glass.training.plan.networks import (
    EmptyDecoder,
    UnknownSizeError,
    Vocabulary,
    empty_vision,
)

SIZES = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2,
}  # fmt: skip


# from the model cards, or from the index of the weights
@pytest.mark.parametrize(
    ("model", "number"),
    [
        ("Qwen/Qwen2.5-7B-Instruct", 7_615_616_512),
        ("Qwen/Qwen2.5-3B-Instruct", 3_085_938_688),
        ("Qwen/Qwen2.5-0.5B-Instruct", 494_032_768),
        ("Qwen/Qwen3-0.6B", 596_049_920),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", 134_515_008),
        ("HuggingFaceTB/SmolLM2-360M-Instruct", 361_821_120),
    ],
)
def test_hub_models_have_their_published_number_of_weights(model: str, number: int) -> None:
    config = CausalLmConfig(model=model, revision="0" * 40, license="?", dtype="bfloat16")
    decoder = EmptyDecoder(config=config).build(Vocabulary(size=100))
    assert sum(each.numel() for each in decoder.parameters()) == number
    assert {each.dtype for each in decoder.parameters()} == {torch.bfloat16}


def test_adapters_have_the_documented_size() -> None:
    """Rank 64 on Qwen2.5-7B: 161 million numbers."""
    config = CausalLmConfig(
        model="Qwen/Qwen2.5-7B-Instruct", revision="0" * 40, license="?", lora=LoraOptions(rank=64)
    )
    decoder = EmptyDecoder(config=config).build(Vocabulary(size=100))
    trained = [each for each in decoder.parameters() if each.requires_grad]
    assert sum(each.numel() for each in trained) == 161_480_704


def test_a_model_from_scratch_has_the_real_ones_tensors() -> None:
    config = CausalLmConfig(config=SIZES, lora=LoraOptions(rank=4))
    tokenizer = word_tokenizer(["red green blue"], max_vocab=100)
    real = config.build(tokenizer)
    empty = EmptyDecoder(config=config).build(Vocabulary(size=len(tokenizer)))
    assert {name: each.shape for name, each in empty.named_parameters()} == {
        name: each.shape for name, each in real.named_parameters()
    }


def test_clip_reads_the_paper_s_patches() -> None:
    encoder = empty_vision(Component(name="clip_vit_l14_336", config=ClipVisionConfig()), 336, 12)
    assert (encoder.grid, encoder.width) == ((12, 12), 1024)
    # 24 layers of 12.6 M weights without the last, and the embeddings
    weights = sum(each.numel() for each in encoder.parameters())
    assert 23 * 12_596_224 < weights < 23 * 12_596_224 + 1_500_000


def test_a_hub_model_or_a_gguf_file_of_unknown_size_is_named(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.touch()
    for model in ("some/model", str(file)):
        config = CausalLmConfig(model=model, revision="0" * 40, license="?")
        with pytest.raises(UnknownSizeError, match=r"model.* not known here.*config\.json"):
            EmptyDecoder(config=config).build(Vocabulary(size=10))


def test_a_quantised_model_without_adapters_is_frozen() -> None:
    config = CausalLmConfig(
        model="HuggingFaceTB/SmolLM2-135M-Instruct", revision="0" * 40, license="?", lora=None,
        quantization="4bit",
    )  # fmt: skip
    decoder = EmptyDecoder(config=config, num_layers=1).build(Vocabulary(size=10))
    assert not any(each.requires_grad for each in decoder.parameters())


def test_a_tower_of_timm_is_not_downloaded() -> None:
    config = TimmVisionConfig(model="some/model", revision="0" * 40, license="?")
    with pytest.raises(UnknownSizeError, match=r"some/model.*config\.json"):
        empty_vision(Component(name="timm_vision", config=config), 224, "none")
