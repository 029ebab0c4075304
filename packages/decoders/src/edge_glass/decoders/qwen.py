"""Qwen2.5 as a decoder: from the hub with LoRA and quantised weights, or small and from scratch.

The model always receives a complete four-dimensional attention mask. Without a mask
transformers 5.23 guesses packing from position ids, and drops the guess if a cache is used. Packed
questions would then attend to each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from edge_glass.decoders.base import Decoder, DecoderOutput
from edge_glass.decoders.lora import LoraOptions, adapter_state, add_adapters, load_adapter_state
from edge_glass.decoders.masks import additive, check_mask, may_attend, rotary_positions
from edge_glass.decoders.quantization import (
    Quantization,
    keep_weights_as_stored,
    quantization_config,
)
from edge_glass.decoders.tokenizer import word_tokenizer

if TYPE_CHECKING:
    from transformers import DynamicCache, PreTrainedTokenizerFast, Qwen2ForCausalLM

EMBEDDING, TIED_HEAD = "model.model.embed_tokens.weight", "model.lm_head.weight"
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
_NUMBERS = {float: "a number", int: "a whole number"}
MAX_SIZE = 10**6
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, kw_only=True)
class QwenConfig:
    """Options of a Qwen2 decoder: `model` names a trained one, or `config` sizes a new one.

    Attributes:
        model: hub id or folder of a Qwen2 model. A hub id needs `revision` and `license`.
        revision: commit of a hub model, 40 hexadecimal digits, because a branch may change.
        license: licence of a hub model's weights, as its model card names it.
        config: fields of `transformers.Qwen2Config` for a model from scratch, see `SIZES`; missing
            ones are filled in from `DEFAULT_SIZES`, `vocab_size` from the tokenizer.
        dtype: precision of the base weights. Quantised layers have their own.
        quantization: of a hub model's linear layers, see `quantization.py`.
        lora: adapters on a frozen base. None trains all weights of an unquantised model.
        gradient_checkpointing: recomputes activations in the backward pass to save memory.
        max_vocab: limit of entries of the word tokenizer of a model from scratch.
    """

    model: str | None = None
    revision: str | None = None
    license: str | None = None
    config: Mapping[str, Any] | None = None
    dtype: Literal["float32", "bfloat16"] = "float32"
    quantization: Quantization = "none"
    lora: LoraOptions | None = None
    gradient_checkpointing: bool = False
    max_vocab: int = 8192

    def __post_init__(self) -> None:
        if (self.model is None) == (self.config is None):
            raise ValueError(
                f"model is {self.model!r} and config is {self.config!r}; give exactly one: "
                "model, a hub id or folder, or config, the sizes of a model from scratch"
            )
        if self.config is not None and self.quantization != "none":
            raise ValueError(
                f"quantization is {self.quantization!r}, but a model from scratch has "
                "nothing to quantise; set quantization: none"
            )
        # Qwen2Config itself accepts any name, and would ignore a misspelt one.
        unknown = sorted(set(self.config or {}) - set(SIZES))
        if unknown:
            raise ValueError(f"config has unknown fields {unknown}, allowed are {', '.join(SIZES)}")
        if self.config is not None:
            _check_sizes(self.config)
            object.__setattr__(self, "config", {**DEFAULT_SIZES, **self.config})
        if not 1 <= self.max_vocab <= MAX_SIZE:
            raise ValueError(f"max_vocab is {self.max_vocab}, expected 1 to {MAX_SIZE}")
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype is {self.dtype!r}, expected one of {', '.join(DTYPES)}")
        if self.model is not None and (not self.model or "\0" in self.model):
            raise ValueError(f"model is {self.model!r}, expected a hub id or a folder")
        if self.model is not None and not Path(self.model).is_dir():
            self._check_hub_model()

    @property
    def width(self) -> int | None:
        """The decoder's width (D), None if only the pretrained model holds it."""
        return None if self.config is None else self.config.get("hidden_size")

    def _check_hub_model(self) -> None:
        if self.revision is None or not re.fullmatch("[0-9a-f]{40}", self.revision):
            raise ValueError(
                f"revision of {self.model} is {self.revision!r}, expected a commit of 40 "
                "hexadecimal digits (there is no folder of that name either); pin the commit"
            )
        if not self.license:
            raise ValueError(f"license of {self.model} is missing; copy it from the model card")

    def build_tokenizer(self, texts: Iterable[str]) -> PreTrainedTokenizerFast:
        """Loads the hub model's tokenizer, or builds a word tokenizer for a model from scratch."""
        if self.model is None:
            return word_tokenizer(texts, max_vocab=self.max_vocab)
        from transformers import PreTrainedTokenizerFast

        # Not AutoTokenizer: for a Qwen2 model it replaces any tokenizer.json by Qwen's own rules.
        tokenizer = PreTrainedTokenizerFast.from_pretrained(
            self.model, revision=self.revision or "main"
        )
        return cast("PreTrainedTokenizerFast", tokenizer)

    def build(self, tokenizer: PreTrainedTokenizerFast) -> QwenDecoder:
        """Builds the decoder, with adapters if `lora` is given.

        Raises:
            ValueError: if the tokenizer has more entries than the model has rows, or bitsandbytes
                is missing.
        """
        model = self._pretrained() if self.config is None else self._from_scratch(tokenizer)
        if model.config.vocab_size < len(tokenizer):
            raise ValueError(
                f"qwen: the tokenizer has {len(tokenizer)} entries, the model only "
                f"{model.config.vocab_size} rows; use the tokenizer of the same model"
            )
        return QwenDecoder(model, self)

    def _from_scratch(self, tokenizer: PreTrainedTokenizerFast) -> Qwen2ForCausalLM:
        from transformers import Qwen2Config, Qwen2ForCausalLM

        fields = dict(self.config or {})
        config = Qwen2Config(
            vocab_size=fields.pop("vocab_size", len(tokenizer)),
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
            **fields,
        )
        config._attn_implementation = "sdpa"
        model: nn.Module = Qwen2ForCausalLM(config)
        return cast("Qwen2ForCausalLM", model.to(DTYPES[self.dtype]))

    def _pretrained(self) -> Qwen2ForCausalLM:
        from transformers import Qwen2ForCausalLM

        model = Qwen2ForCausalLM.from_pretrained(
            self.model,
            revision=self.revision or "main",
            dtype=DTYPES[self.dtype],
            attn_implementation="sdpa",
            quantization_config=quantization_config(self.quantization),
            use_safetensors=True,
        )
        keep_weights_as_stored(model)
        return model


def _check_sizes(config: Mapping[str, Any]) -> None:
    """Checks types and ranges: Qwen2Config accepts any, and fails later, or not at all."""
    for name, value in config.items():
        kind = type(DEFAULT_SIZES.get(name, 0))
        if type(value) is not kind and (type(value), kind) != (int, float):
            raise ValueError(
                f"config.{name} is {value!r}, expected {_NUMBERS.get(kind, kind.__name__)}"
            )
        if kind is int and not 1 <= value <= MAX_SIZE:
            raise ValueError(f"config.{name} is {value}, expected 1 to {MAX_SIZE}")
        if kind is float and not 0 <= value < 1:
            raise ValueError(f"config.{name} is {value}, expected at least 0 and less than 1")


class QwenDecoder(Decoder):
    """Wraps `Qwen2ForCausalLM`; `self.model` includes the adapters, if there are any."""

    def __init__(self, model: Qwen2ForCausalLM, config: QwenConfig) -> None:
        super().__init__()
        self.config = config
        self.width = model.config.hidden_size
        self.vocab_size = model.config.vocab_size
        if config.gradient_checkpointing:
            model.activation_checkpointing_enable({"use_reentrant": False})
        if config.lora is not None or config.quantization != "none":
            model.requires_grad_(False)
        self.model: nn.Module = model
        if config.lora is not None:
            self.model = add_adapters(model, config.lora)

    @property
    def causal_lm(self) -> Qwen2ForCausalLM:
        """The transformers model; with LoRA its layers contain the adapters."""
        model: Any = self.model
        if self.config.lora is not None:
            model = model.get_base_model()
        return cast("Qwen2ForCausalLM", model)

    def embed(self, input_ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T D"]:
        """Looks up tokens in the model's embedding."""
        return self.causal_lm.model.embed_tokens(input_ids)  # type: ignore[no-any-return]

    def project(self, hidden: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch V"]:
        """Applies the model's own vocabulary projection."""
        head = self.causal_lm.lm_head
        return head(hidden.to(head.weight.dtype))  # type: ignore[no-any-return]

    def forward(
        self,
        inputs_embeds: Float[Tensor, "B S D"],
        attention_mask: Int[Tensor, "B S_total"] | Bool[Tensor, "B S S_total"],
        position_ids: Int[Tensor, "B S"] | None = None,
        cache: object | None = None,
        use_cache: bool = False,
        prefix_length: int = 0,  # noqa: ARG002 - Qwen was trained causally throughout
    ) -> DecoderOutput:
        """Runs the model, always causal."""
        past = self._past(cache, use_cache)
        batch, queries, _ = inputs_embeds.shape
        cached = 0 if past is None else past.get_seq_length()
        check_mask(attention_mask, batch, queries, cached)
        limit = self.causal_lm.config.max_position_embeddings
        if cached + queries > limit:
            raise ValueError(
                f"qwen: {cached + queries} positions, but the model accepts {limit}; "
                "shorten the text"
            )
        positions = rotary_positions(attention_mask, position_ids, batch, queries)
        inputs_embeds = inputs_embeds.to(self.causal_lm.model.embed_tokens.weight.dtype)
        output = self.causal_lm.model(
            inputs_embeds=inputs_embeds,
            attention_mask=additive(may_attend(attention_mask, positions), inputs_embeds.dtype),
            position_ids=positions,
            past_key_values=past,
            use_cache=past is not None,
        )
        return DecoderOutput(hidden_states=(output.last_hidden_state,), cache=past)

    def saved_state(self) -> dict[str, Tensor]:
        """Returns the adapters with LoRA, nothing for a frozen quantised base, else all weights.

        A tied vocabulary projection is left out, because safetensors refuses to store a tensor
        twice.
        """
        if self.config.lora is not None:
            return adapter_state(self.model)
        if self.config.quantization != "none":
            return {}
        state = super().saved_state()
        if self.causal_lm.config.tie_word_embeddings:
            del state[TIED_HEAD]
        return state

    def load_saved_state(self, state: dict[str, Tensor]) -> None:
        if self.config.lora is not None:
            load_adapter_state(self.model, state)
        elif self.config.quantization != "none":
            if state:
                raise ValueError(
                    f"{len(state)} tensors for a frozen {self.config.quantization} decoder without "
                    "adapters, expected none; use the lora options that it was saved with"
                )
        elif self.causal_lm.config.tie_word_embeddings and EMBEDDING in state:
            super().load_saved_state(state | {TIED_HEAD: state[EMBEDDING]})
        else:
            super().load_saved_state(state)

    def _past(self, cache: object | None, use_cache: bool) -> DynamicCache | None:
        from transformers import DynamicCache

        if cache is None:
            return DynamicCache(config=self.causal_lm.config) if use_cache else None
        if not isinstance(cache, DynamicCache):
            raise TypeError(
                f"cache is a {type(cache).__name__}, expected the DynamicCache that this decoder "
                "returned; do not mix decoders within one generation"
            )
        return cache
