"""The start token: once in front of the image, in training, in generation and after saving."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from edge_glass.decoders.tokenizer import CHAT_TEMPLATE
from edge_glass.fusion.prompt import IGNORED, example_ids, prompt_ids
from edge_glass.fusion.start_token import start_id
from edge_glass.fusion.vlm import VisionLanguageModel

QUESTION = "how many dogs are there?"
BuildVlm = Callable[..., VisionLanguageModel]


def opened_by(model: VisionLanguageModel, token: str, template: str) -> VisionLanguageModel:
    """The same weights with a tokenizer whose template uses `token` as its start token."""
    tokenizer = model.tokenizer
    tokenizer.bos_token, tokenizer.chat_template = token, template
    model.start_id = start_id(tokenizer)
    return model


@pytest.mark.parametrize("fusion", ["concat", "gated"])
def test_a_start_token_stands_once_in_front_of_the_image(tiny_vlm: BuildVlm, fusion: str) -> None:
    model = tiny_vlm("qwen2_5_tiny", fusion)
    plain = prompt_ids(model.tokenizer, QUESTION)
    opened_by(model, "<unk>", "{{ bos_token }}" + CHAT_TEMPLATE)
    assert model.start_id == model.tokenizer.unk_token_id
    assert prompt_ids(model.tokenizer, QUESTION) == plain  # not inside

    seen: list[tuple[torch.Tensor, Any]] = []
    model.decoder.register_forward_pre_hook(
        lambda _, inputs, named: seen.append((inputs[0], named)), with_kwargs=True
    )
    ids, labels = example_ids(model.tokenizer, QUESTION, "two")
    rows = [torch.tensor([2 * each]) for each in (ids, labels)]
    segments = torch.tensor([[0] * len(ids) + [1] * len(ids)])
    features = torch.randn(1, 9, 24)
    output = model(features, rows[0], segments, rows[1])
    embeds, named = seen[0]
    prefix = 1 + (9 if fusion == "concat" else 0)
    assert named["prefix_length"] == prefix
    start = model.decoder.embed(torch.tensor([[model.start_id]]))
    assert torch.equal(embeds[:, :1], start)
    assert embeds.shape[1] == output.labels.shape[1] == prefix + 2 * len(ids)
    assert (output.labels[:, :prefix] == IGNORED).all()
    # both packed questions see it, as each alone does
    single = model(
        features, rows[0][:, : len(ids)], segments[:, : len(ids)], rows[1][:, : len(ids)]
    )
    both, alone = output.hidden_states[-1][:, prefix:], single.hidden_states[-1][:, prefix:]
    torch.testing.assert_close(both, torch.cat((alone, alone), dim=1), rtol=1e-4, atol=1e-4)
    # and generation has the same positions
    seen.clear()
    model.answer_features(features, [QUESTION])
    assert torch.equal(seen[0][0][:, :1], start)
    assert seen[0][1]["prefix_length"] == prefix


def test_a_token_that_opens_each_turn_stays_in_the_turns(tiny_vlm: BuildVlm) -> None:
    model = opened_by(tiny_vlm("qwen2_5_tiny", "concat"), "<user>", CHAT_TEMPLATE * 2)
    assert prompt_ids(model.tokenizer, QUESTION)[0] == model.tokenizer.bos_token_id
    assert model.start_id is None


def test_no_start_token_without_one(tiny_vlm: BuildVlm) -> None:
    assert tiny_vlm("trm", "concat").start_id is None


def test_a_saved_model_puts_it_in_the_same_place(tiny_vlm: BuildVlm, tmp_path: Path) -> None:
    model = opened_by(
        tiny_vlm("qwen2_5_tiny", "concat"), "<unk>", "{{ bos_token }}" + CHAT_TEMPLATE
    )
    model.save_pretrained(tmp_path / "model")
    loaded = VisionLanguageModel.from_pretrained(tmp_path / "model", load_vision_encoder=False)
    assert loaded.start_id == model.start_id
    features = torch.randn(1, 9, 24)
    assert loaded.answer_features(features, [QUESTION]) == model.answer_features(
        features, [QUESTION]
    )
    saved = json.loads((tmp_path / "model" / "tokenizer_config.json").read_text())
    assert saved["bos_token"] == "<unk>"
