"""The interface of a decoder: embed words, run on embeddings, project to the vocabulary."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Iterable

    from transformers import PreTrainedTokenizerFast


class Cache(Protocol):
    """Keys and values of the positions that a decoder has read, for a batch of rows."""

    def select(self, rows: Int[Tensor, " N"]) -> Cache:
        """Returns a cache of these rows, in this order; a row may come several times.

        It is a copy, so that a text that is read with it leaves the original as it is.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class DecoderOutput:
    """Output of a decoder.

    Attributes:
        hidden_states: one (B, S, D) tensor per supervision step; the last one is the answer.
            Ordinary decoders have exactly one. `Decoder.project` turns any of them into logits.
        cache: keys and values of all positions so far; pass it to the next call, which changes it
            in place. None unless `use_cache` was set.
    """

    hidden_states: tuple[Tensor, ...]
    cache: Cache | None = None


class Decoder(nn.Module, ABC):
    """A causal language decoder over embeddings.

    Attributes:
        width: D, the width of the input embeddings and of the hidden states.
        vocab_size: V, rows of the vocabulary projection; may exceed the tokenizer's size.
        stop_ids: tokens that end an answer besides the tokenizer's end-of-sequence token.
        max_positions: how many positions a text may have, its prefix included; None for no limit.
    """

    width: int
    vocab_size: int
    stop_ids: tuple[int, ...] = ()
    max_positions: int | None = None

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the base weights."""
        return next(self.parameters()).dtype

    @property
    @abstractmethod
    def word_embeddings(self) -> Tensor:
        """The table that `embed` looks up, (V, D)."""

    @abstractmethod
    def embed(self, input_ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T D"]:
        """Turns token ids into the embeddings that `forward` takes."""

    @abstractmethod
    def forward(
        self,
        inputs_embeds: Float[Tensor, "B S D"],
        attention_mask: Int[Tensor, "B S_total"] | Bool[Tensor, "B S S_total"],
        position_ids: Int[Tensor, "B S"] | None = None,
        cache: object | None = None,
        use_cache: bool = False,
        prefix_length: int = 0,
        needed: Bool[Tensor, "B S"] | None = None,
    ) -> DecoderOutput:
        """Runs the decoder on S new positions that follow those in `cache`.

        Args:
            inputs_embeds: the new positions only.
            attention_mask: either (B, S_total), 1 = keep, with padding on either side; or boolean
                (B, S, S_total), True = the query row may attend to the key column (several
                questions packed over one image). S_total includes the cached positions. The
                decoder adds causality.
            position_ids: (B, S) rotary positions. If None, they are counted over the kept columns
                of a two-dimensional mask; a three-dimensional mask needs them.
            cache: `DecoderOutput.cache` of the previous call; None starts a new sequence.
            use_cache: returns a cache; never set it in training.
            prefix_length: positions `position_ids < prefix_length` attend to each other in both
                directions if the decoder's config has `bidirectional_prefix`. Other decoders
                ignore it.
            needed: the positions whose hidden states are used, None for all. A decoder may leave
                the others out in its last layer, to save time; their hidden states are then 0.
        """

    @abstractmethod
    def project(self, hidden: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch V"]:
        """Turns hidden states into logits. Call it on labelled positions only, as V is large."""

    def saved_state(self) -> dict[str, Tensor]:
        """Returns the tensors that a checkpoint must hold in addition to the decoder's config."""
        return dict(self.state_dict())

    def load_saved_state(self, state: dict[str, Tensor]) -> None:
        """Loads what `saved_state` returned."""
        self.load_state_dict(state, strict=True)


class DecoderConfig(Protocol):
    """A decoder's frozen config dataclass, listed in `tables.DECODERS`."""

    def build_tokenizer(self, texts: Iterable[str]) -> PreTrainedTokenizerFast:
        """Builds the tokenizer from the training texts; decoders from the hub ignore the texts."""
        ...

    def build(
        self, tokenizer: PreTrainedTokenizerFast, device: torch.device | None = None
    ) -> Decoder:
        """Builds the decoder for this tokenizer's vocabulary on a device, None for the CPU.

        Fresh weights are drawn on the CPU, so that they are the same for each device. Pretrained
        weights can be read to the device directly.
        """
        ...
