"""The built-in decoders by their names in `params.yaml`."""

from __future__ import annotations

from edge_glass.decoders.base import DecoderConfig
from edge_glass.decoders.qwen import QwenConfig
from edge_glass.decoders.trm import TinyRecursiveConfig

DECODERS: dict[str, type[DecoderConfig]] = {
    "trm": TinyRecursiveConfig,
    "qwen2_5_tiny": QwenConfig,
    "qwen2_5_3b": QwenConfig,
    "qwen2_5_7b": QwenConfig,
}
