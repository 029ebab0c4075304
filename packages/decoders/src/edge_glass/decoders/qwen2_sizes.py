"""Sizes of a Qwen2 model that is trained from scratch: their names, defaults and ranges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from torch import nn

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM

# Qwen2Config's defaults in transformers 5.23, written out: a saved model must stay the same if a
# later transformers changes them.
DEFAULT_SIZES: dict[str, Any] = {
    "attention_dropout": 0.0,
    "hidden_act": "silu",
    "hidden_size": 4096,
    "initializer_range": 0.02,
    "intermediate_size": 22_016,
    "max_position_embeddings": 32_768,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 32,
    "rms_norm_eps": 1e-6,
    "rope_parameters": {"rope_theta": 10_000.0, "rope_type": "default"},
    "tie_word_embeddings": False,
}
SIZES = (*DEFAULT_SIZES, "vocab_size")
MAX_SIZE = 10**6
_NUMBERS = {float: "a number", int: "a whole number"}


def complete_sizes(sizes: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the sizes with the defaults filled in.

    Qwen2Config itself accepts any name and any value: it would ignore a misspelt name, and fail
    later, or not at all, on a value.

    Raises:
        ValueError: names the field that is unknown, of the wrong type or out of range.
    """
    unknown = sorted(set(sizes) - set(SIZES))
    if unknown:
        raise ValueError(f"config has unknown fields {unknown}, allowed are {', '.join(SIZES)}")
    for name, value in sizes.items():
        kind = type(DEFAULT_SIZES.get(name, 0))
        if type(value) is not kind and (type(value), kind) != (int, float):
            raise ValueError(
                f"config.{name} is {value!r}, expected {_NUMBERS.get(kind, kind.__name__)}"
            )
        if kind is int and not 1 <= value <= MAX_SIZE:
            raise ValueError(f"config.{name} is {value}, expected 1 to {MAX_SIZE}")
        if kind is float and not 0 <= value < 1:
            raise ValueError(f"config.{name} is {value}, expected at least 0 and less than 1")
    return {**DEFAULT_SIZES, **sizes}


def build_qwen2(
    sizes: Mapping[str, Any], tokenizer: PreTrainedTokenizerFast, dtype: torch.dtype
) -> Qwen2ForCausalLM:
    """Builds a Qwen2 model with fresh weights, drawn from torch's global generator.

    `vocab_size` is the number of entries of the tokenizer, unless `sizes` has it.

    Raises:
        ValueError: if the sizes do not fit each other, or transformers refuses a value.
    """
    from transformers import Qwen2Config, Qwen2ForCausalLM

    _check_heads(sizes)
    fields = dict(sizes)
    try:
        config = Qwen2Config(
            vocab_size=fields.pop("vocab_size", len(tokenizer)),
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
            **fields,
        )
        config._attn_implementation = "sdpa"
        model = Qwen2ForCausalLM(config)
    except (KeyError, TypeError, ValueError) as error:  # of hidden_act or rope_parameters
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(
            f"config can't be built ({cause}); correct hidden_act or rope_parameters, or leave "
            "them out"
        ) from error
    _start_at_unit_scale(model)
    module: nn.Module = model
    return cast("Qwen2ForCausalLM", module.to(dtype))


def _start_at_unit_scale(model: Qwen2ForCausalLM) -> None:
    """Draws word embeddings of a root mean square of 1.

    Fusions add what they find in an image at that scale. Embeddings at Qwen2's 0.02 were a tenth of
    it, so that the first layer could hardly tell the words apart.
    """
    width = model.config.hidden_size
    nn.init.normal_(model.model.embed_tokens.weight)
    if model.config.tie_word_embeddings:  # logits of a variance of 1 all the same
        nn.init.constant_(model.model.norm.weight, width**-0.5)


def _check_heads(sizes: Mapping[str, Any]) -> None:
    width, heads = sizes["hidden_size"], sizes["num_attention_heads"]
    if width % (2 * heads):  # rotary positions turn pairs of numbers
        raise ValueError(
            f"config.hidden_size is {width}, expected a multiple of twice "
            f"config.num_attention_heads, which is {heads}"
        )
    groups = sizes["num_key_value_heads"]
    if heads % groups:
        raise ValueError(
            f"config.num_key_value_heads is {groups}, expected a divisor of "
            f"config.num_attention_heads, which is {heads}"
        )
