"""Sizes of the hub models that params.yaml names, from the config.json of their pinned commits.

A model in a folder, in a package or in the hub's local cache needs no entry here.
"""

from __future__ import annotations

from typing import Any

_NAMES = (
    "vocab_size", "tie_word_embeddings", "hidden_size", "intermediate_size", "num_hidden_layers",
    "num_attention_heads", "num_key_value_heads",
)  # fmt: skip
_DECODERS: dict[str, tuple[Any, ...]] = {
    "Qwen/Qwen2.5-7B-Instruct": ("qwen2", 152_064, False, 3584, 18_944, 28, 28, 4),
    "Qwen/Qwen2.5-3B-Instruct": ("qwen2", 151_936, True, 2048, 11_008, 36, 16, 2),
    "Qwen/Qwen2.5-0.5B-Instruct": ("qwen2", 151_936, True, 896, 4864, 24, 14, 2),
    "Qwen/Qwen3-0.6B": ("qwen3", 151_936, True, 1024, 3072, 28, 16, 8),
    "HuggingFaceTB/SmolLM2-135M-Instruct": ("llama", 49_152, True, 576, 1536, 30, 9, 3),
    "HuggingFaceTB/SmolLM2-360M-Instruct": ("llama", 49_152, True, 960, 2560, 32, 15, 5),
}

PUBLISHED: dict[str, dict[str, Any]] = {
    **{
        model: {"model_type": kind, **dict(zip(_NAMES, sizes, strict=True))}
        for model, (kind, *sizes) in _DECODERS.items()
    },
    "openai/clip-vit-large-patch14-336": {
        "model_type": "clip_vision_model", "hidden_size": 1024, "intermediate_size": 4096,
        "num_hidden_layers": 24, "num_attention_heads": 16, "image_size": 336, "patch_size": 14,
    },
    "sentence-transformers/all-mpnet-base-v2": {
        "model_type": "mpnet", "vocab_size": 30_527, "hidden_size": 768,
        "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
        "max_position_embeddings": 514,
    },
}  # fmt: skip
