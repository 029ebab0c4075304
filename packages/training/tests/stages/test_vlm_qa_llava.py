"""Visual tokens of kind llava: trained like others, and refused with a fusion that changes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from edge_glass.encoders.components import ConfigError
from edge_glass.fusion.vlm import VisionLanguageModel
from edge_glass.training.stages import vlm_qa

pytestmark = pytest.mark.usefixtures("restore_torch")
TOKENS = {"kind": "llava", "width": 32, "dropout": 0.0, "train_pooling": False}
PLAIN = {"fusions": {"concat": {"projector": "none"}}}


def test_one_step_changes_the_projector_which_is_the_whole_prefix(
    configure: Callable[..., Any],
) -> None:
    models = []
    for steps in (2, 3):
        vlm_qa.run(configure(PLAIN, visual_tokens=TOKENS, steps=steps, validation_steps=0))
        models.append(VisionLanguageModel.from_pretrained("models/vlm_qa"))
    first, second = (each.visual_tokens.llava_projector for each in models)
    assert first is not None
    assert second is not None
    assert all(
        not torch.equal(one, two)
        for one, two in zip(first.parameters(), second.parameters(), strict=True)
    )
    features = torch.randn(1, 4, models[0].config.input_width)
    visual = models[0].visual_tokens(features)
    assert torch.equal(models[0].fusion.prefix(visual), first(features))


def test_a_fusion_or_a_width_that_does_not_fit_is_refused(configure: Callable[..., Any]) -> None:
    with pytest.raises(ConfigError, match=r"vlm_qa\.tiny: visual_tokens\.kind is llava with the"):
        configure(visual_tokens=TOKENS)
    with pytest.raises(ConfigError, match=r"set visual_tokens\.width: 32"):
        configure(PLAIN, visual_tokens={**TOKENS, "width": 24})
    with pytest.raises(ConfigError, match=r"kind is grid with the fusion concat; kind llava and"):
        configure(PLAIN, visual_tokens={**TOKENS, "kind": "grid"})
