from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn.functional import normalize

from edge_glass.fusion.vlm import VisionLanguageModel

BuildVlm = Callable[..., VisionLanguageModel]


@pytest.mark.parametrize("decoder", ["trm", "qwen2_5_tiny"])
@torch.no_grad()
def test_a_patch_is_read_as_the_word_that_fits_it(tiny_vlm: BuildVlm, decoder: str) -> None:
    model = tiny_vlm(decoder, "concat", aligned_dim=4, num_names=3)
    assert model.matches is not None
    readings = model.matches.readings
    assert readings is not None
    readings.vectors.copy_(torch.eye(4)[:3])
    patches = normalize(torch.tensor([[[1.0, 0, 0, 0], [1.0, 1.0, 0, 0]]]), dim=-1)
    table = model.decoder.embed(readings.token_ids)
    scores = torch.exp(readings.log_sharpness) * torch.tensor([[1.0, 0, 0], [0.5**0.5] * 2 + [0.0]])
    expected = scores.softmax(dim=-1) @ table / model.decoder.embed(torch.arange(50)).std()
    # the size of all words of the vocabulary, whose mean is not quite 0
    torch.testing.assert_close(readings(patches, model.decoder)[0], expected, rtol=0.2, atol=0.1)


@torch.no_grad()
def test_readings_stand_in_front_of_visual_tokens_and_in_the_prefix(tiny_vlm: BuildVlm) -> None:
    model = tiny_vlm("trm", "concat", aligned_dim=4, num_names=3)
    features, width = torch.randn(2, 9, 24), model.decoder.width
    visual, tokens = model.see(features), model.visual_tokens(features)
    assert model.matches is not None
    assert model.matches.readings is not None
    torch.testing.assert_close(visual[..., width:], tokens)
    read = model.matches.readings(tokens[..., -4:], model.decoder)
    torch.testing.assert_close(visual[..., :width], read)
    without = model.fusion.projector(visual)  # type: ignore[operator]
    torch.testing.assert_close(model.fusion.prefix(visual), without + read)
