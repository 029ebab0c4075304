"""A causal language model of transformers as a decoder: pretrained, or a small Qwen2 from scratch.

The model always receives a complete four-dimensional attention mask. Without a mask
transformers 5.23 guesses packing from position ids, and drops the guess if a cache is used. Packed
questions would then attend to each other.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from edge_glass.decoders.base import Decoder, DecoderOutput
from edge_glass.decoders.fused_norms import fuse_norms
from edge_glass.decoders.lora import LoraOptions, adapter_state, add_adapters, load_adapter_state
from edge_glass.decoders.masks import additive, check_mask, may_attend, rotary_positions
from edge_glass.decoders.model_facts import ModelFacts
from edge_glass.decoders.packed_attention import BLOCK, PackedAttention, block_mask, use_flex

if TYPE_CHECKING:
    from transformers import DynamicCache, PreTrainedModel


@dataclass(kw_only=True)
class CausalLmCache:
    """Keys and values of all layers, and the positions (B, S_past) that they belong to.

    The cache of transformers keeps every position, also in layers with a sliding window: the mask
    decides which ones a word attends to.
    """

    keys_values: DynamicCache
    positions: Tensor | None = None

    @property
    def length(self) -> int:
        """The number of positions so far."""
        return 0 if self.positions is None else self.positions.shape[1]

    def extend(self, positions: Int[Tensor, "B S"]) -> Int[Tensor, "B S_total"]:
        """Adds the positions of new words and returns all."""
        past = positions[:, :0] if self.positions is None else self.positions
        self.positions = torch.cat((past, positions), dim=1)
        return self.positions

    def select(self, rows: Int[Tensor, " N"]) -> CausalLmCache:
        """Returns a copy of these rows, see `base.Cache`."""
        keys_values = type(self.keys_values)()
        layers: Any = self.keys_values.layers  # the type includes kinds that `check_layers` refuses
        for number, layer in enumerate(layers):
            if layer.keys is not None and layer.values is not None:
                keys_values.update(layer.keys[rows], layer.values[rows], number)
        positions = None if self.positions is None else self.positions[rows]
        return CausalLmCache(keys_values=keys_values, positions=positions)


class CausalLmDecoder(Decoder):
    """Wraps a causal language model; `self.model` includes the adapters, if there are any.

    Attributes:
        facts: what its config holds.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        lora: LoraOptions | None = None,
        quantization: str = "none",
        gradient_checkpointing: bool | int = False,
        packed_attention: PackedAttention = "sdpa",
    ) -> None:
        super().__init__()
        self.lora, self.quantization = lora, quantization
        self.facts = ModelFacts.of(model)
        self.family = self.facts.family
        self.width, self.vocab_size = self.facts.width, self.facts.vocab_size
        self.stop_ids, self.max_positions = self.facts.stop_ids, self.facts.max_positions
        if gradient_checkpointing:
            checkpoint_layers(model, every=int(gradient_checkpointing))
        if lora is not None or quantization != "none":
            model.requires_grad_(False)
        # a model is built on its device; one on a CPU computes as transformers does
        on_gpu = next(model.parameters()).device.type == "cuda"
        if on_gpu:
            fuse_norms(model)
        self.flex = on_gpu and packed_attention == "flex"
        if self.flex:
            use_flex(model)
        self.model: nn.Module = model
        if lora is not None:
            self.model = add_adapters(model, lora)

    @property
    def causal_lm(self) -> PreTrainedModel:
        """The transformers model; with LoRA its layers contain the adapters."""
        model: Any = self.model
        if self.lora is not None:
            model = model.get_base_model()
        return cast("PreTrainedModel", model)

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the word embeddings, in which the model expects its inputs."""
        return self.word_embeddings.dtype

    def autocast(self) -> AbstractContextManager[object]:
        """Returns the context that bfloat16 layers with float32 adapters need, see `lora.py`."""
        device = next(self.parameters()).device.type
        if self.lora is None or self.dtype == torch.float32 or torch.is_autocast_enabled(device):
            return nullcontext()
        return torch.autocast(device, self.dtype)

    @property
    def word_embeddings(self) -> Tensor:
        """The table of the model."""
        embedding: Any = self.causal_lm.get_input_embeddings()
        return cast("Tensor", embedding.weight)

    def embed(self, input_ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T D"]:
        """Looks up tokens in the model's embedding."""
        return self.causal_lm.get_input_embeddings()(input_ids)  # type: ignore[no-any-return]

    def project(self, hidden: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch V"]:
        """Applies the model's own vocabulary projection."""
        head: Any = self.causal_lm.get_output_embeddings()  # type: ignore[no-untyped-call]
        return self.facts.logits(head(hidden.to(head.weight.dtype)))

    def forward(
        self,
        inputs_embeds: Float[Tensor, "B S D"],
        attention_mask: Int[Tensor, "B S_total"] | Bool[Tensor, "B S S_total"],
        position_ids: Int[Tensor, "B S"] | None = None,
        cache: object | None = None,
        use_cache: bool = False,
        prefix_length: int = 0,  # noqa: ARG002 - the model was trained causally throughout
        needed: Bool[Tensor, "B S"] | None = None,  # noqa: ARG002 - its layers compute all
    ) -> DecoderOutput:
        """Runs the model, always causal."""
        past = self._past(cache, use_cache)
        batch, queries, _ = inputs_embeds.shape
        check_mask(attention_mask, batch, queries, 0 if past is None else past.length)
        positions = rotary_positions(attention_mask, position_ids, batch, queries)
        self._check_length(attention_mask.shape[-1], positions)
        columns = positions if past is None else past.extend(positions)
        inputs_embeds = inputs_embeds.to(self.dtype)
        allowed = may_attend(attention_mask, positions)
        in_blocks = self.flex and attention_mask.ndim == 3 and past is None and queries >= BLOCK
        make = block_mask if in_blocks else partial(additive, dtype=inputs_embeds.dtype)
        with self.autocast():
            output = self.causal_lm.base_model(
                inputs_embeds=inputs_embeds,
                attention_mask=self.facts.masks(allowed, positions, columns, make),
                position_ids=positions,
                use_cache=past is not None,
                **{self.facts.cache_argument: None if past is None else past.keys_values},
            )
        return DecoderOutput(hidden_states=(output.last_hidden_state,), cache=past)

    def saved_state(self) -> dict[str, Tensor]:
        """Returns the adapters with LoRA, nothing for a frozen quantised base, else all weights.

        A tensor that has several names, such as a tied vocabulary projection, is stored under its
        first name, because safetensors refuses to store a tensor twice.
        """
        if self.lora is not None:
            return adapter_state(self.model)
        if self.quantization != "none":
            return {}
        state = super().saved_state()
        return {name: state[name] for name in dict.fromkeys(_first_names(state).values())}

    def load_saved_state(self, state: dict[str, Tensor]) -> None:
        if self.lora is not None:
            load_adapter_state(self.model, state)
        elif self.quantization != "none":
            if state:
                raise ValueError(
                    f"{len(state)} tensors for a frozen {self.quantization} decoder without "
                    "adapters, expected none; use the lora options that it was saved with"
                )
        else:
            firsts = _first_names(super().saved_state())
            copies = {name: state[first] for name, first in firsts.items() if first in state}
            super().load_saved_state(state | copies)

    def _past(self, cache: object | None, use_cache: bool) -> CausalLmCache | None:
        from transformers import DynamicCache

        if cache is None:
            return CausalLmCache(keys_values=DynamicCache()) if use_cache else None
        if not isinstance(cache, CausalLmCache):
            raise TypeError(
                f"cache is a {type(cache).__name__}, expected the CausalLmCache that this decoder "
                "returned; do not mix decoders within one generation"
            )
        return cache

    def _check_length(self, columns: int, positions: Tensor) -> None:
        """Refuses positions that the model does not have; packed questions share positions."""
        limit = self.max_positions
        if limit is None or columns <= limit:
            return
        needed = int(positions.max()) + 1
        if needed > limit:
            raise ValueError(
                f"{self.family}: {needed} positions, but the model accepts {limit}; "
                "shorten the text"
            )


def checkpoint_layers(model: PreTrainedModel, *, every: int) -> None:
    """Makes each `every`-th layer compute its activations again in the backward pass."""
    # transformers 5.17 has the name gradient_checkpointing_enable, later ones the other
    renamed = getattr(model, "activation_checkpointing_enable", None)
    enable: Any = renamed or model.gradient_checkpointing_enable
    enable({"use_reentrant": False}, every_n_layers=every)


def _first_names(state: dict[str, Tensor]) -> dict[str, str]:
    """Returns for each name the first name of the same tensor, which is its own for most."""
    firsts: dict[tuple[int, torch.Size, tuple[int, ...]], str] = {}
    return {
        name: firsts.setdefault((value.data_ptr(), value.shape, value.stride()), name)
        if value.numel()
        else name
        for name, value in state.items()
    }
