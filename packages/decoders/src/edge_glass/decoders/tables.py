"""The built-in decoders by their names in `params.yaml`."""

from __future__ import annotations

from edge_glass.decoders.base import DecoderConfig
from edge_glass.decoders.causal_lm_config import CausalLmConfig
from edge_glass.decoders.trm import TinyRecursiveConfig

DECODERS: dict[str, type[DecoderConfig]] = {
    "trm": TinyRecursiveConfig,
    "causal_lm": CausalLmConfig,
    "qwen2_5_tiny": CausalLmConfig,
    "qwen2_5_0_5b": CausalLmConfig,
    "qwen2_5_3b": CausalLmConfig,
    "qwen2_5_7b": CausalLmConfig,
    "qwen3_0_6b": CausalLmConfig,
    "smollm2_135m": CausalLmConfig,
    "smollm2_360m": CausalLmConfig,
}
