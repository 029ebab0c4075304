"""Questions about images that were read once: the answers of the same questions one by one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from edge_glass.fusion.prompt import prompt_ids
from edge_glass.fusion.read_images import answer_prompts, read_images
from edge_glass.fusion.vlm import VisionLanguageModel

QUESTIONS = ["how many dogs are there?", "where is the cat?", "what colour is it?"]


@torch.no_grad()
@pytest.mark.parametrize("start", [False, True], ids=["no_start_token", "start_token"])
@pytest.mark.parametrize("fusion", ["concat", "gated"])
@pytest.mark.parametrize("decoder", ["trm", "qwen2_5_tiny"])
def test_answers_are_those_of_each_question_alone(
    tiny_vlm: Callable[..., VisionLanguageModel], decoder: str, fusion: str, start: bool
) -> None:
    model = tiny_vlm(decoder, fusion)
    if start:
        model.start_id = 3
    # a draw without two words whose logits differ by rounding only
    features = torch.randn(4, 9, 24, generator=torch.Generator().manual_seed(1))
    asked = [(image, question) for question in QUESTIONS for image in (2, 0, 3, 1, 2)]
    alone = [
        model.answer_features(features[image : image + 1], [question])[0]
        for image, question in asked
    ]
    images = read_images(model, features)
    assert images.length == (9 if fusion == "concat" else 0) + start
    prompts = [prompt_ids(model.tokenizer, question) for _, question in asked]
    for _ in range(2):  # the first answers leave the images as they were
        given = answer_prompts(model, images, [image for image, _ in asked], prompts)
        assert given == alone
    if decoder == "qwen2_5_tiny":  # the other one, untrained, says one thing
        assert len(set(alone)) > 1

    # and the hidden states of a prompt behind the cache are those of the whole text
    ids = torch.tensor([prompts[0]] * 2)
    rows = torch.tensor([2, 0])
    visual, ones = images.visual[rows], torch.ones_like(ids)
    fused = model.fused(visual, ids, ones)
    whole = model.decoder(
        fused.inputs_embeds, fused.attention_mask, prefix_length=fused.prefix_length
    )
    behind = model.decoder(
        model.fusion.extend(visual, model.decoder.embed(ids)),
        fused.attention_mask,
        cache=None if images.cache is None else images.cache.select(rows),
        use_cache=True,
    )
    expected = whole.hidden_states[-1][:, images.length :]
    # float32 through a few layers, summed in a different order
    torch.testing.assert_close(behind.hidden_states[-1], expected, rtol=1e-4, atol=1e-4)
    assert (expected[0] - expected[1]).abs().max() > 1e-3
