"""The frozen encoders by name: plain tables of config classes."""

from __future__ import annotations

from typing import Any

from edge_glass.encoders.towers.efficientnet import EfficientNetLite0Config
from edge_glass.encoders.towers.sentence import SentenceConfig
from edge_glass.encoders.towers.timm_vision import TimmVisionConfig
from edge_glass.encoders.towers.transformers_vision import (
    ClipVisionConfig,
    TransformersVisionConfig,
)

VISION_ENCODERS: dict[str, type[Any]] = {
    "clip_vit_l14_336": ClipVisionConfig,
    "efficientnet_lite0": EfficientNetLite0Config,
    "timm_vision": TimmVisionConfig,
    "transformers_vision": TransformersVisionConfig,
}
TEXT_ENCODERS: dict[str, type[Any]] = {
    "all_minilm_l6_v2": SentenceConfig,
    "all_mpnet_base_v2": SentenceConfig,
    "sentence_transformer": SentenceConfig,
}
