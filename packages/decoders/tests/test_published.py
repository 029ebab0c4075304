from __future__ import annotations

import pytest
import torch

from edge_glass.decoders.lora import LoraOptions, add_adapters
from edge_glass.decoders.published import QWEN2_5_3B, QWEN2_5_7B, PublishedModel


# Trainable: rank * (in + out) for each of a layer's seven linear layers, by hand for 7B:
# 64 * (2 * (3584 + 3584) + 2 * (3584 + 512) + 3 * (3584 + 18944)) * 28
@pytest.mark.parametrize(
    ("published", "trainable"), [(QWEN2_5_3B, 119_734_272), (QWEN2_5_7B, 161_480_704)]
)
def test_parameter_counts_on_the_meta_device(published: PublishedModel, trainable: int) -> None:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    with torch.device("meta"):
        model = Qwen2ForCausalLM(Qwen2Config(**published.config))
        assert sum(p.numel() for p in model.parameters()) == published.num_parameters
        adapted = add_adapters(model, LoraOptions())
    counts = [p.numel() for p in adapted.parameters() if p.requires_grad]
    assert sum(counts) == trainable
    assert len(counts) == 2 * 7 * len(model.model.layers)
