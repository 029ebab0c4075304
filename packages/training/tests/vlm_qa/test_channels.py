from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from edge_glass.fusion.visual_tokens import ChannelNorm
from edge_glass.training.engine.processes import Processes
from edge_glass.training.features.cache import read_index, vision_features
from edge_glass.training.vlm_qa.channels import fit_channels
from edge_glass.training.vlm_qa.model import build_model
from edge_glass.training.vlm_qa.training_data import read_training_data


def test_channels_get_the_numbers_of_the_training_images(configure: Callable[..., Any]) -> None:
    params = configure(visual_tokens={"kind": "grid", "width": 8, "norm": "channel"})
    index = read_index()
    data = read_training_data(params, index, Processes())
    model = build_model(params, index, data.tokenizer)
    fit_channels(model, data.features, params)
    assert model.visual_tokens.grid_tokens is not None
    norm = model.visual_tokens.grid_tokens.norm
    assert isinstance(norm, ChannelNorm)
    tokens = torch.tensor(vision_features("questions", "train")[:]).float().flatten(0, 1)
    # bfloat16
    torch.testing.assert_close(norm.mean, tokens.mean(dim=0), rtol=0.005, atol=1e-4)
    parts = params.vision_encoder.config.layer_widths(model.config.image_size)
    assert sum(parts) == index.vision_width
    shares = [part.var(dim=0).sum() for part in norm(tokens).split(parts, dim=1)]
    assert max(shares) < 2 * min(shares)  # far from the ratio of their widths
