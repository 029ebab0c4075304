"""What is printed and refused before the first step."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from edge_glass.decoders.causal_lm_config import CausalLmConfig
from edge_glass.encoders.components import Component
from edge_glass.encoders.towers.efficientnet import EfficientNetLite0Config
from edge_glass.fusion.concat import ConcatConfig
from edge_glass.fusion.visual_tokens import VisualTokensConfig
from edge_glass.fusion.vlm import VisionLanguageModel
from edge_glass.fusion.vlm_config import VlmConfig
from edge_glass.training.vlm_qa.packing import pack_questions
from edge_glass.training.vlm_qa.reports import starting_lines, visual_length
from edge_glass.training.vlm_qa.token_arrays import TokenArrays

ROWS = [
    {"image": 0, "question": "how many dogs are there?", "answer": "two"},
    {"image": 0, "question": "is it red?", "answer": "no"},
    {"image": 1, "question": "what is it?", "answer": "a dog"},
]
SIZES = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
}


def built(**options: Any) -> tuple[VisionLanguageModel, TokenArrays]:
    sizes = SIZES | {"max_position_embeddings": options.pop("positions", 64)}
    decoder = CausalLmConfig(config=sizes, **options)
    tokenizer = decoder.build_tokenizer([f"{row['question']} {row['answer']}" for row in ROWS])
    config = VlmConfig(
        vision_encoder=Component(name="efficientnet_lite0", config=EfficientNetLite0Config()),
        visual_tokens=VisualTokensConfig(width=8, dropout=0.5),
        pooling=None,
        fusion=Component(name="concat", config=ConcatConfig()),
        decoder=Component(name="qwen2_5_tiny", config=decoder),
        input_width=4,
        grid=(3, 3),
        image_size=96,
        max_new_tokens=4,
    )
    samples, _ = pack_questions(ROWS, tokenizer, max_questions=8, max_length=100)
    return VisionLanguageModel(config, tokenizer).train(), samples


def test_the_cost_of_the_texts_is_one_line() -> None:
    model, samples = built()
    # 6, 4 and 4 words; <user>, <assistant> and <eos>; answers of 1, 1 and 2 words
    expected = "9.0 tokens per question with its answer, 2 of them for a turn of the chat template"
    lines = list(starting_lines(model, samples, 9, "portable"))
    assert [line.partition("; ")[0] for line in lines] == [expected]
    assert lines[0].endswith("13.5 per image behind 9 visual tokens")


def test_a_context_that_is_too_short_is_refused_with_the_remedy() -> None:
    model, samples = built(positions=18)
    longest = "has 10 tokens behind 9 visual tokens, but the decoder accepts 18 positions"
    with pytest.raises(ValueError, match=f"{longest}; set vlm_qa.max_length to at most 9, or"):
        list(starting_lines(model, samples, 9, "native"))
    model, samples = built(positions=19)  # two packed questions are longer, but share positions
    assert len(list(starting_lines(model, samples, 9, "native"))) == 1


def test_bfloat16_on_a_cpu_warns_with_portable_alone() -> None:
    model, samples = built(dtype="bfloat16")
    *_, warning = starting_lines(model, samples, 9, "portable")
    assert warning.startswith("warning: bfloat16 on a CPU is many times slower")
    assert len(list(starting_lines(model, samples, 9, "native"))) == 1


def test_the_visual_length_draws_no_random_number() -> None:
    model, _ = built()
    state = torch.get_rng_state()
    assert visual_length(model, 9, 4) == 9
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
