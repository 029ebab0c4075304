"""The poolings of this package by name: a plain table of config classes.

The frozen encoders have a table of their own, `towers/tables.py`: stage `encode` depends on it and
must not run again when a pooling changes.
"""

from __future__ import annotations

from typing import Any

from edge_glass.encoders.attention_pooling import AttentionPoolingConfig
from edge_glass.encoders.mean_pooling import MeanPoolingConfig
from edge_glass.encoders.perceiver import PerceiverConfig

POOLINGS: dict[str, type[Any]] = {
    "attention": AttentionPoolingConfig,
    "mean": MeanPoolingConfig,
    "perceiver": PerceiverConfig,
}
