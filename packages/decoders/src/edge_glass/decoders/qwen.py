"""Qwen2.5 as a decoder: from the hub with LoRA and quantised weights, or small and from scratch.

Unusual: the attention mask always goes in as a finished four-dimensional one. transformers 5.23
guesses packing from position ids where no mask is given and drops that guess where a cache is used,
so that packed questions would see each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from edge_glass.decoders.base import Decoder, DecoderOutput
from edge_glass.decoders.lora import LoraOptions, adapter_state, add_adapters, load_adapter_state
from edge_glass.decoders.masks import additive, check_mask, may_attend, rotary_positions
from edge_glass.decoders.quantization import Quantization, quantization_config
from edge_glass.decoders.tokenizer import word_tokenizer

if TYPE_CHECKING:
    from transformers import DynamicCache, PreTrainedTokenizerFast, Qwen2ForCausalLM

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, kw_only=True)
class QwenConfig:
    """Either `model` with its `revision` and `license`, or `config` for a model from scratch.

    Attributes:
        model: Hub id or folder of a Qwen2 model.
        revision: Commit of a hub model; a branch name would change under a run.
        license: Licence of the model's weights, for people to read: nothing acts on it.
        config: Fields of `transformers.Qwen2Config`; the vocabulary size comes from the tokenizer.
        dtype: Precision of the base weights. Quantised layers have their own.
        quantization: Of a hub model's linear layers, see `quantization.py`.
        lora: Adapters; the base is frozen then. None trains every weight of an unquantised model.
        gradient_checkpointing: Recompute activations in the backward pass to save memory.
        max_vocab: Most entries of the word tokenizer of a model from scratch.
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
                f"qwen: model is {self.model!r} and config is {self.config!r}; give exactly one, "
                "a hub id or folder, or the sizes of a model from scratch"
            )
        if self.config is not None and self.quantization != "none":
            raise ValueError(
                f"qwen: quantization {self.quantization!r} with a model from scratch, which has "
                "nothing to quantise yet; set quantization: none"
            )
        if self.dtype not in DTYPES:
            raise ValueError(f"qwen: dtype is {self.dtype!r}, expected one of {', '.join(DTYPES)}")

    def build_tokenizer(self, texts: Iterable[str]) -> PreTrainedTokenizerFast:
        """Loads the hub model's tokenizer; makes one of words for a model from scratch."""
        if self.model is None:
            return word_tokenizer(texts, max_vocab=self.max_vocab)
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(  # type: ignore[no-any-return]
            self.model, revision=self.revision
        )

    def build(self, tokenizer: PreTrainedTokenizerFast) -> QwenDecoder:
        """Makes the decoder, with adapters where `lora` is given.

        Raises:
            ValueError: The tokenizer has more entries than the model has rows.
            RuntimeError: Quantisation was asked for and bitsandbytes is missing.
        """
        model = self._from_scratch(tokenizer) if self.model is None else self._pretrained()
        return QwenDecoder(model, self)

    def _from_scratch(self, tokenizer: PreTrainedTokenizerFast) -> Qwen2ForCausalLM:
        from transformers import Qwen2Config, Qwen2ForCausalLM

        assert self.config is not None
        fields = dict(self.config)
        given = fields.pop("vocab_size", len(tokenizer))
        if given < len(tokenizer):
            raise ValueError(
                f"qwen: config.vocab_size is {given}, but the tokenizer has {len(tokenizer)} "
                "entries; leave vocab_size out"
            )
        config = Qwen2Config(
            vocab_size=given,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
            **fields,
        )
        config._attn_implementation = "sdpa"
        return Qwen2ForCausalLM(config).to(DTYPES[self.dtype])

    def _pretrained(self) -> Qwen2ForCausalLM:
        from transformers import Qwen2ForCausalLM

        return Qwen2ForCausalLM.from_pretrained(
            self.model,
            revision=self.revision,
            dtype=DTYPES[self.dtype],
            attn_implementation="sdpa",
            quantization_config=quantization_config(self.quantization),
            use_safetensors=True,
        )


class QwenDecoder(Decoder):
    """Wraps `Qwen2ForCausalLM`; adapters, where there are any, sit inside `self.model`."""

    def __init__(self, model: Qwen2ForCausalLM, config: QwenConfig) -> None:
        super().__init__()
        self.config = config
        self.width = model.config.hidden_size
        self.vocab_size = model.config.vocab_size
        if config.gradient_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        if config.lora is not None:
            model.requires_grad_(False)
            self.model: nn.Module = add_adapters(model, config.lora)
        else:
            if config.quantization != "none":
                model.requires_grad_(False)
            self.model = model

    @property
    def causal_lm(self) -> Qwen2ForCausalLM:
        """The transformers model, adapters merged into its layers' calls by peft."""
        model: Any = self.model
        return model if self.config.lora is None else model.get_base_model()

    def embed(self, input_ids: Int[Tensor, "b t"]) -> Float[Tensor, "b t d"]:
        """Looks words up in the model's embedding."""
        return self.causal_lm.model.embed_tokens(input_ids)  # type: ignore[no-any-return]

    def project(self, hidden: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch v"]:
        """Applies the model's own vocabulary projection."""
        head = self.causal_lm.lm_head
        return head(hidden.to(head.weight.dtype))  # type: ignore[no-any-return]

    def forward(
        self,
        inputs_embeds: Float[Tensor, "b s d"],
        attention_mask: Int[Tensor, "b total"] | Bool[Tensor, "b s total"],
        position_ids: Int[Tensor, "b s"] | None = None,
        cache: object | None = None,
        use_cache: bool = False,
        prefix_length: int = 0,
    ) -> DecoderOutput:
        """Runs the model, always causal; see `Decoder.forward` for the arguments."""
        past = self._past(cache, use_cache)
        batch, queries, _ = inputs_embeds.shape
        cached = 0 if past is None else past.get_seq_length()
        check_mask(attention_mask, batch, queries, cached)
        limit = self.causal_lm.config.max_position_embeddings
        if cached + queries > limit:
            raise ValueError(
                f"qwen: {cached + queries} positions, but the model was made for {limit}; "
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
        """Adapters only with LoRA, nothing for a frozen quantised base, else all weights."""
        if self.config.lora is not None:
            model: Any = self.model
            return adapter_state(model)
        if self.config.quantization != "none":
            return {}
        return super().saved_state()

    def load_saved_state(self, state: dict[str, Tensor]) -> None:
        """Loads what `saved_state` returned.

        Raises:
            ValueError, RuntimeError: A tensor is missing, unexpected or of another shape.
        """
        if self.config.lora is not None:
            model: Any = self.model
            load_adapter_state(model, state)
        elif self.config.quantization != "none":
            if state:
                raise ValueError(
                    f"{len(state)} tensors for a frozen {self.config.quantization} decoder without "
                    "adapters, expected none; was it saved with lora?"
                )
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
