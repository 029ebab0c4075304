"""The model before its first step: fresh weights, and what it takes from other stages."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from edge_glass.encoders.checkpoint import check_tensors, load_checkpoint
from edge_glass.encoders.components import Component
from edge_glass.fusion.vlm import VisionLanguageModel
from edge_glass.fusion.vlm_config import VlmConfig
from edge_glass.fusion.word_matches import AlignedSpace
from edge_glass.training.features.cache import FeatureIndex
from edge_glass.training.folders import ALIGNED
from edge_glass.training.runtime.progress import say
from edge_glass.training.vlm_qa.aligned_space import aligned_space, load_aligned_space, names_in
from edge_glass.training.vlm_qa.channels import fit_channels
from edge_glass.training.vlm_qa.training_data import TrainingData

if TYPE_CHECKING:
    from edge_glass.training.params import Params


def new_model(
    params: Params, index: FeatureIndex, data: TrainingData, device: torch.device
) -> VisionLanguageModel:
    """Builds the model, and gives it the aligned space and the channels of the training images."""
    names = names_in(data.samples, data.tokenizer) if params.vlm_qa.naming.weight else ()
    if params.vlm_qa.naming.weight and not len(names):
        say("vlm_qa: no answer names an object, so patches are not read as names")
    model = build_model(
        params, index, data.tokenizer,
        conversations=data.conversations, device=device, num_names=len(names),
    )  # fmt: skip
    load_aligned_space(model, data.samples)
    fit_channels(model, data.features, params)
    return model


def build_model(
    params: Params,
    index: FeatureIndex,
    tokenizer: Any,
    *,
    conversations: bool = False,
    device: torch.device | None = None,
    num_names: int = 0,
) -> VisionLanguageModel:
    """Builds the model with fresh weights, and the pooling's weights from `align`."""
    space, dim = None, params.vlm_qa.visual_tokens.aligned_dim
    if dim:
        space = aligned_space(dim, params.vlm_qa.word_dropout, index.vision_width, num_names)
    config = model_config(params, index, conversations=conversations, space=space)
    model = VisionLanguageModel(config, tokenizer, device)
    pooling = model.visual_tokens.pooling
    if pooling is not None:
        _, tensors = load_checkpoint(ALIGNED)
        own = {
            name.removeprefix("pooling."): value
            for name, value in tensors.items()
            if name.startswith("pooling.")
        }
        check_tensors(pooling.state_dict(), own, where=f"{ALIGNED}: pooling")
        pooling.load_state_dict(own, strict=True)
    return model


def model_config(
    params: Params, index: FeatureIndex, *, conversations: bool, space: AlignedSpace | None
) -> VlmConfig:
    """Returns the config of the model.

    Args:
        params: the chosen options.
        index: of the feature cache.
        conversations: whether it learns turns after others.
        space: of `visual_tokens.aligned_dim`, None if that is 0.
    """
    image_size = index.image_sizes["questions"]
    vision = replace(params.vision_encoder.config, image_size=image_size)
    return VlmConfig(
        vision_encoder=Component(name=params.vision_encoder.name, config=vision),
        visual_tokens=params.vlm_qa.visual_tokens,
        pooling=params.pooling if params.vlm_qa.visual_tokens.uses_pooling else None,
        fusion=params.fusion,
        decoder=params.decoder,
        input_width=index.vision_width,
        grid=index.grids["questions"],
        image_size=image_size,
        max_new_tokens=params.vlm_qa.max_new_tokens,
        conversations=conversations,
        max_description_tokens=(
            params.vlm_qa.max_description_tokens if params.vlm_qa.mixture.captions else None
        ),
        aligned_space=space,
    )
