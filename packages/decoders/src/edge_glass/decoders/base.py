"""What every decoder offers: embed words, run on embeddings, project to the vocabulary."""

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


@dataclass(frozen=True, kw_only=True)
class DecoderOutput:
    """What a decoder returns.

    Attributes:
        hidden_states: One (B, S, D) tensor a supervision step; the last one is the answer. Ordinary
            decoders have exactly one. `Decoder.project` turns any of them into logits.
        cache: Keys and values of all positions so far, to be given back with the next tokens; None
            unless `use_cache` was set. It is changed in place by the next call.
    """

    hidden_states: tuple[Tensor, ...]
    cache: object | None = None


class Decoder(nn.Module, ABC):
    """A causal language decoder over embeddings.

    Attributes:
        width: D, the width of the embeddings that go in and of the hidden states that come out.
        vocab_size: V, the number of rows of the vocabulary projection (may exceed the tokenizer's).
    """

    width: int
    vocab_size: int

    @abstractmethod
    def embed(self, input_ids: Int[Tensor, "b t"]) -> Float[Tensor, "b t d"]:
        """Turns word ids into the embeddings that `forward` takes."""

    @abstractmethod
    def forward(
        self,
        inputs_embeds: Float[Tensor, "b s d"],
        attention_mask: Int[Tensor, "b total"] | Bool[Tensor, "b s total"],
        position_ids: Int[Tensor, "b s"] | None = None,
        cache: object | None = None,
        use_cache: bool = False,
        prefix_length: int = 0,
    ) -> DecoderOutput:
        """Runs the decoder on S new positions that follow those in `cache`.

        Args:
            inputs_embeds: (B, S, D), the new positions only.
            attention_mask: Either (B, S_total), 1 = keep, padding on either side, or boolean
                (B, S, S_total), True = the query row may attend to the key column (several
                questions packed over one picture). S_total counts the cached positions too.
                Causality is added here.
            position_ids: (B, S) rotary positions. From a two-dimensional mask they are counted over
                the kept columns; with a three-dimensional one they must be given.
            cache: `DecoderOutput.cache` of the call before; None starts anew.
            use_cache: Return a cache. Never set it in training.
            prefix_length: Positions `position_ids < prefix_length` may see one another both ways,
                where the decoder's config has `bidirectional_prefix`. Others ignore it.

        Raises:
            ValueError: The mask's or the position ids' shape does not fit the embeddings'.
        """

    @abstractmethod
    def project(self, hidden: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch v"]:
        """Turns hidden states into logits. Call it on labelled positions only: V is large."""

    def embedding_scale(self) -> float:
        """Root mean square of `embed` over the vocabulary: the scale visual tokens need."""
        with torch.no_grad():
            ids = torch.arange(self.vocab_size, device=next(self.parameters()).device)[None]
            return float(self.embed(ids).float().square().mean().sqrt())

    def saved_state(self) -> dict[str, Tensor]:
        """Returns the tensors that an artefact must hold beside the decoder's config."""
        return dict(self.state_dict())

    def load_saved_state(self, state: dict[str, Tensor]) -> None:
        """Loads what `saved_state` returned.

        Raises:
            RuntimeError: A tensor is missing, unexpected or of another shape.
        """
        self.load_state_dict(state, strict=True)


class DecoderConfig(Protocol):
    """A decoder's frozen config dataclass, listed in `tables.DECODERS`."""

    def build_tokenizer(self, texts: Iterable[str]) -> PreTrainedTokenizerFast:
        """Makes the tokenizer from the training texts; decoders from the hub ignore the texts."""
        ...

    def build(self, tokenizer: PreTrainedTokenizerFast) -> Decoder:
        """Makes the decoder for this tokenizer's vocabulary."""
        ...
