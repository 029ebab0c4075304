"""Sizes of the hub models that params.yaml names, from the config.json of their pinned commits.

A model in a folder, in a package or in the hub's local cache needs no entry here.
"""

from __future__ import annotations

from typing import Any

_QWEN2 = {"model_type": "qwen2", "vocab_size": 151_936, "tie_word_embeddings": True}
_LLAMA = {"model_type": "llama", "vocab_size": 49_152, "tie_word_embeddings": True}

PUBLISHED: dict[str, dict[str, Any]] = {
    "Qwen/Qwen2.5-7B-Instruct": {
        **_QWEN2, "vocab_size": 152_064, "tie_word_embeddings": False, "hidden_size": 3584,
        "intermediate_size": 18_944, "num_hidden_layers": 28, "num_attention_heads": 28,
        "num_key_value_heads": 4,
    },
    "Qwen/Qwen2.5-3B-Instruct": {
        **_QWEN2, "hidden_size": 2048, "intermediate_size": 11_008, "num_hidden_layers": 36,
        "num_attention_heads": 16, "num_key_value_heads": 2,
    },
    "Qwen/Qwen2.5-0.5B-Instruct": {
        **_QWEN2, "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24,
        "num_attention_heads": 14, "num_key_value_heads": 2,
    },
    "Qwen/Qwen3-0.6B": {
        **_QWEN2, "model_type": "qwen3", "hidden_size": 1024, "intermediate_size": 3072,
        "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8,
        "head_dim": 128,
    },
    "HuggingFaceTB/SmolLM2-135M-Instruct": {
        **_LLAMA, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
        "num_attention_heads": 9, "num_key_value_heads": 3,
    },
    "HuggingFaceTB/SmolLM2-360M-Instruct": {
        **_LLAMA, "hidden_size": 960, "intermediate_size": 2560, "num_hidden_layers": 32,
        "num_attention_heads": 15, "num_key_value_heads": 5,
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
