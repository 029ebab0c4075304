"""The mean and deviation of each channel of the features, for visual tokens that use them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from edge_glass.encoders.base import JoinsLayers
from edge_glass.fusion.visual_tokens import ChannelNorm
from edge_glass.fusion.vlm import VisionLanguageModel
from edge_glass.training.features.cache import Features, gather

if TYPE_CHECKING:
    from edge_glass.training.params import Params

NUM_IMAGES = 256  # spread evenly over the training images


@torch.no_grad()
def fit_channels(model: VisionLanguageModel, features: Features, params: Params) -> None:
    """Gives a model's `ChannelNorm`, if it has one, the numbers of the training images."""
    tokens = model.visual_tokens.grid_tokens
    if tokens is None or not isinstance(tokens.norm, ChannelNorm):
        return
    rows = np.linspace(0, len(features) - 1, min(NUM_IMAGES, len(features))).astype(int)
    sample = gather(features, torch.from_numpy(rows)).flatten(0, 1)  # (images * P, Din)
    encoder, size = params.vision_encoder.config, model.config.image_size
    layered = isinstance(encoder, JoinsLayers)
    tokens.norm.fit(sample, encoder.layer_widths(size) if layered else sample.shape[1:])
