"""The built-in fusions by their names in `params.yaml`."""

from __future__ import annotations

from typing import Any

from edge_glass.fusion.concat import ConcatConfig
from edge_glass.fusion.cross_attention import CrossAttentionConfig
from edge_glass.fusion.gated import GatedConfig

FUSIONS: dict[str, type[Any]] = {
    "concat": ConcatConfig,
    "cross_attention": CrossAttentionConfig,
    "gated": GatedConfig,
}
