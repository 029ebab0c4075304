"""Tiny random models of many families, in the real classes of transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

VOCAB = 97
SIZES: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GPT: dict[str, Any] = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
WINDOW = 6
# name: (model_type, what differs from SIZES)
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {}),
    "qwen2": ("qwen2", {"tie_word_embeddings": True}),
    "qwen3": ("qwen3", {"head_dim": 8}),
    "gemma2": ("gemma2", {"head_dim": 8, "sliding_window": WINDOW, "query_pre_attn_scalar": 8}),
    "gemma3_text": (
        "gemma3_text",
        {
            "head_dim": 8,
            "sliding_window": WINDOW,
            "query_pre_attn_scalar": 8,
            "layer_types": ["sliding_attention", "full_attention"],
        },
    ),
    "mistral": ("mistral", {"sliding_window": WINDOW}),
    "phi3": ("phi3", {}),
    "gpt_neox": ("gpt_neox", {}),
    "gpt2": ("gpt2", GPT),
    "opt": (
        "opt",
        {"ffn_dim": 48, "word_embed_proj_dim": 16, "max_position_embeddings": 64},
    ),
    "starcoder2": ("starcoder2", {"sliding_window": WINDOW}),
    "granite": ("granite", {"logits_scaling": 8.0, "embedding_multiplier": 3.0}),
    "cohere": ("cohere", {"logit_scale": 0.0625}),
    "cohere2": ("cohere2", {"logit_scale": 0.0625, "sliding_window": WINDOW, "head_dim": 8}),
    "olmo2": ("olmo2", {}),
    "smollm3": ("smollm3", {}),
    "stablelm": ("stablelm", {}),
    "phi": ("phi", {}),
    "gptj": ("gptj", {**GPT, "rotary_dim": 4}),
    "falcon": ("falcon", {"alibi": False}),
    "ministral": ("ministral", {"sliding_window": WINDOW, "head_dim": 8}),
    "exaone4": ("exaone4", {"sliding_window": WINDOW, "head_dim": 8, "sliding_window_pattern": 2}),
    "gpt_oss": (
        "gpt_oss",
        {
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "sliding_window": WINDOW,
            "head_dim": 8,
        },
    ),
    "qwen3_moe": (
        "qwen3_moe",
        {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "head_dim": 8},
    ),
}
REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "bloom": ("bloom", {"n_layer": 2, "n_head": 4}),
    "falcon with ALiBi": ("falcon", {"alibi": True, "new_decoder_architecture": False}),
    "mpt": ("mpt", {"d_model": 32, "n_heads": 4, "n_layers": 2}),
    "mamba": ("mamba", {"state_size": 4}),
    "mamba2": ("mamba2", {"state_size": 4, "num_heads": 8, "head_dim": 8, "n_groups": 2}),
    "gpt_neo": (
        "gpt_neo",
        {
            "num_layers": 2,
            "num_heads": 4,
            "attention_types": [[["global", "local"], 1]],
            "window_size": WINDOW,
            "max_position_embeddings": 64,
        },
    ),
    "qwen3_next": (
        "qwen3_next",
        {
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 16,
            "shared_expert_intermediate_size": 16,
            "head_dim": 8,
            "linear_num_value_heads": 4,
            "linear_num_key_heads": 2,
            "linear_key_head_dim": 8,
            "linear_value_head_dim": 8,
        },
    ),
    "lfm2 with convolutions": ("lfm2", {"layer_types": ["conv", "full_attention"]}),
}


def tiny_model(model_type: str, options: dict[str, Any]) -> PreTrainedModel:
    """Builds a model whose weights are large enough that each layer moves the logits."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(model_type, **{**SIZES, **options})
    if not AutoModelForCausalLM._model_mapping[type(config)]._supports_sdpa:
        config._attn_implementation = "eager"
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.normal_(std=0.25)
    return model.eval()  # type: ignore[no-any-return]
