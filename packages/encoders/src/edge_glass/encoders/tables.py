"""The poolings by name: a plain table of config classes; `towers.tables` has the encoders."""

from __future__ import annotations

from typing import Any

from edge_glass.encoders.attention_pooling import AttentionPoolingConfig
from edge_glass.encoders.perceiver import PerceiverConfig

POOLINGS: dict[str, type[Any]] = {
    "attention": AttentionPoolingConfig,
    "perceiver": PerceiverConfig,
}
