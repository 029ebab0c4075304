"""What reaches what in the whole model, with every fusion and both small decoders."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from edge_glass.decoders.sampling import Sampling, generate
from edge_glass.fusion.prompt import prompt_ids
from edge_glass.fusion.vlm import VisionLanguageModel

QUESTIONS = ["how many dogs are there?", "where is the cat?", "what?"]
BOTH = pytest.mark.parametrize(
    ("decoder", "fusion"),
    list(itertools.product(("trm", "qwen2_5_tiny"), ("concat", "cross_attention", "gated"))),
)
BuildVlm = Callable[..., VisionLanguageModel]


def logits(model: VisionLanguageModel, features: Tensor, ids: Tensor) -> Tensor:
    """Of each word of a question, (B, T, V)."""
    ids = F.pad(ids, (0, 1))  # a position is computed if the word after it has a label
    output = model(features, ids, torch.zeros_like(ids), ids)
    return model.decoder.project(output.hidden_states[-1][:, -ids.shape[1] : -1])


def question(model: VisionLanguageModel, at: int = 0) -> Tensor:
    return torch.tensor([prompt_ids(model.tokenizer, QUESTIONS[at])])


@BOTH
@torch.no_grad()
def test_every_patch_of_an_image_reaches_every_logit(
    tiny_vlm: BuildVlm, decoder: str, fusion: str
) -> None:
    model = tiny_vlm(decoder, fusion)
    features, ids = torch.randn(1, 9, 24), question(model)
    before = logits(model, features, ids)
    for place in range(9):
        changed = features.clone()
        changed[:, place] += torch.randn(24)
        moved = logits(model, changed, ids) != before
        assert moved.float().mean() > 0.99, place  # one of a thousand may round to the same number


@BOTH
@torch.no_grad()
def test_no_future_word_reaches_a_logit(tiny_vlm: BuildVlm, decoder: str, fusion: str) -> None:
    model = tiny_vlm(decoder, fusion)
    features, ids = torch.randn(1, 9, 24), question(model)
    before = logits(model, features, ids)
    for word in range(ids.shape[1]):
        changed = ids.clone()
        changed[0, word] = (ids[0, word] + 1) % model.decoder.vocab_size
        moved = (logits(model, features, changed) - before).abs()
        assert moved[:, :word].sum() == 0
        assert moved[:, word:].amax(dim=-1).min() > 0


@BOTH
@pytest.mark.parametrize("side", ["left", "right"])
@torch.no_grad()
def test_cached_equals_uncached_and_each_question_alone(
    tiny_vlm: BuildVlm, decoder: str, fusion: str, side: str
) -> None:
    model = tiny_vlm(decoder, fusion)
    features = torch.randn(3, 9, 24)
    prompts = [question(model, at) for at in range(3)]
    length = max(prompt.shape[1] for prompt in prompts)
    ids = torch.zeros(3, length, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for at, prompt in enumerate(prompts):
        size = prompt.shape[1]
        columns = slice(length - size, length) if side == "left" else slice(0, size)
        ids[at, columns], mask[at, columns] = prompt[0], 1

    def continued(rows: slice, inputs: Tensor, keep: Tensor, use_cache: bool) -> list[list[int]]:
        visual = model.visual_tokens(features[rows])
        fused = model.fusion(visual, model.decoder.embed(inputs), keep)
        # Sampled, because a greedy untrained model may repeat one word.
        return generate(
            model.decoder,
            fused.inputs_embeds,
            fused.attention_mask,
            lambda token: model.fusion.extend(visual, model.decoder.embed(token)),
            max_new_tokens=8,
            eos_token_id=model.decoder.vocab_size,
            prefix_length=fused.prefix_length,
            sampling=Sampling(temperature=1.0),
            examples=range(3)[rows],
            use_cache=use_cache,
        ).tolist()

    whole = continued(slice(0, 3), ids, mask, True)
    assert whole == continued(slice(0, 3), ids, mask, False)
    for at, prompt in enumerate(prompts):
        assert continued(slice(at, at + 1), prompt, torch.ones_like(prompt), True) == [whole[at]]
    assert len({word for row in whole for word in row}) > 4


@pytest.mark.parametrize("decoder", ["trm", "qwen2_5_tiny"])
@torch.no_grad()
def test_shut_gates_give_the_text_only_decoder(tiny_vlm: BuildVlm, decoder: str) -> None:
    model = tiny_vlm(decoder, "gated", fusion_options={"num_heads": 2, "gate_init": 0.0})
    ids = question(model)
    embeds = model.decoder.embed(F.pad(ids, (0, 1)))  # as in `logits`
    text_only = model.decoder(embeds, torch.ones(embeds.shape[:2])).hidden_states[-1]
    expected = model.decoder.project(text_only[:, :-1])
    for _ in range(2):
        found = logits(model, torch.randn(1, 9, 24), ids)
        # the packed mask in three dimensions and the plain one become the same additive mask
        assert torch.equal(found, expected)


@BOTH
def test_gradient_reaches_every_trained_tensor_and_no_frozen_one(
    tiny_vlm: BuildVlm, decoder: str, fusion: str
) -> None:
    model = tiny_vlm(decoder, fusion, "both").train()
    check_gradients(model, frozen={"visual_tokens.pooling"})


def test_gradient_reaches_adapters_and_not_their_base(tiny_vlm: BuildVlm, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    model = lora_vlm(tiny_vlm, tmp_path / "base").train()
    check_gradients(model, frozen={"visual_tokens.pooling", "decoder.model.base_model"})
    names = [name for name, value in model.decoder.named_parameters() if value.requires_grad]
    assert len(names) == 2 * 7 * 2
    assert all("lora_" in name for name in names)


def test_an_artefact_of_adapters_holds_them_and_gives_equal_logits(
    tiny_vlm: BuildVlm, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    pytest.importorskip("peft")
    model = lora_vlm(tiny_vlm, tmp_path / "base").eval()
    model.save_pretrained(tmp_path / "model")
    tensors = load_file(tmp_path / "model" / "model.safetensors")
    decoder = [name for name in tensors if name.startswith("decoder.")]
    assert len(decoder) == 2 * 7 * 2
    assert all("lora_" in name for name in decoder)
    assert {name.split(".")[0] for name in tensors} == {"visual_tokens", "fusion", "decoder"}
    assert any(name.startswith("visual_tokens.pooling.") for name in tensors)
    loaded = VisionLanguageModel.from_pretrained(tmp_path / "model", load_vision_encoder=False)
    features, ids = torch.randn(1, 9, 24), question(model)
    assert torch.equal(logits(loaded, features, ids), logits(model, features, ids))


def lora_vlm(tiny_vlm: BuildVlm, folder: Path) -> VisionLanguageModel:
    """A model over a Qwen2 checkpoint in `folder` with adapters that change something."""
    base = tiny_vlm("qwen2_5_tiny", "concat")
    base.decoder.causal_lm.save_pretrained(folder)  # type: ignore[operator,union-attr]
    base.tokenizer.save_pretrained(folder)
    options = {"model": str(folder), "lora": {"rank": 4, "dropout": 0.0}}
    model = tiny_vlm("qwen2_5_7b", "concat", "both", decoder_options=options)
    with torch.no_grad():
        for name, parameter in model.decoder.named_parameters():
            if "lora_" in name:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def check_gradients(model: VisionLanguageModel, frozen: set[str]) -> None:
    ids = question(model)
    logits(model, torch.randn(1, 9, 24), ids).square().mean().backward()
    parameters = dict(model.named_parameters())
    for name, parameter in parameters.items():
        assert (parameter.grad is not None) == parameter.requires_grad, name
        assert parameter.grad is None or parameter.grad.abs().sum() > 0, name
    still = {name for name, parameter in parameters.items() if not parameter.requires_grad}
    assert all(name.startswith(tuple(frozen)) for name in still)
    assert {start for start in frozen if any(name.startswith(start) for name in still)} == frozen
