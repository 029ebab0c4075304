"""The interface of a fusion: visual tokens and word embeddings in, decoder inputs out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class FusedInputs:
    """Inputs of a decoder.

    Attributes:
        inputs_embeds: (B, S, D), the visual prefix (if any) followed by the text.
        attention_mask: (B, S), 1 at real positions, 0 at padding.
        prefix_length: number of visual positions in front of the text (0 without a prefix).
    """

    inputs_embeds: Tensor
    attention_mask: Tensor
    prefix_length: int


@dataclass(frozen=True, kw_only=True)
class VlmOutput:
    """Result of a training step's forward pass.

    Attributes:
        hidden_states: one (B, S, D) per supervision step of the decoder; the last is the answer.
            Only positions that predict a label are sure to be computed, see `Decoder.forward`.
        labels: (B, S), `prompt.IGNORED` at positions that are not learned, such as the prefix.
        visual: (B, N, Dv), the visual tokens.
    """

    hidden_states: tuple[Tensor, ...]
    labels: Tensor
    visual: Tensor


class Fusion(nn.Module, ABC):
    """Brings visual tokens (B, N, visual_width) into a decoder of width D.

    A fusion keeps no state between calls. With the same visual tokens a word gets the same
    embedding alone and within its text, so `extend` also serves cached decoding.

    Attributes:
        reading_width: so many numbers at the start of a visual token are a word embedding that fits
            it, see `patch_readings.py`; 0 without readings.
    """

    reading_width = 0

    def __init__(self, visual_width: int, width: int) -> None:
        super().__init__()
        self.visual_width = visual_width
        self.width = width

    @abstractmethod
    def prefix(self, visual: Float[Tensor, "B N Dv"]) -> Float[Tensor, "B K D"]:
        """Returns the visual positions in front of the text; K may be 0."""

    @abstractmethod
    def extend(
        self, visual: Float[Tensor, "B N Dv"], text_embeds: Float[Tensor, "B T D"]
    ) -> Float[Tensor, "B T D"]:
        """Returns the word embeddings, each with what the fusion adds to it."""

    def attention_weights(
        self, visual: Float[Tensor, "B N Dv"], text_embeds: Float[Tensor, "B T D"]
    ) -> Float[Tensor, "B T N"] | None:
        """Returns how much each word takes of each visual token, the mean over the heads.

        Each row sums to 1. It is None if the fusion does not attend: `concat` leaves the choice to
        the decoder.
        """
        del visual, text_embeds
        return None

    def forward(
        self,
        visual: Float[Tensor, "B N Dv"],
        text_embeds: Float[Tensor, "B T D"],
        attention_mask: Int[Tensor, "B T"] | None = None,
    ) -> FusedInputs:
        """Fuses a whole text.

        `attention_mask` is 1 for words and 0 for padding on either side; None means all words.
        """
        if visual.shape[-1] != self.visual_width:
            raise ValueError(
                f"visual tokens are {visual.shape[-1]} wide, but this fusion was built for "
                f"{self.visual_width}; build it with visual_width={visual.shape[-1]}"
            )
        if text_embeds.shape[-1] != self.width or text_embeds.shape[0] != visual.shape[0]:
            raise ValueError(
                f"text_embeds is {tuple(text_embeds.shape)}, expected "
                f"({visual.shape[0]}, T, {self.width}) for visual tokens {tuple(visual.shape)}"
            )
        if attention_mask is None:
            attention_mask = text_embeds.new_ones(text_embeds.shape[:2], dtype=torch.long)
        prefix = self.prefix(visual)
        ones = attention_mask.new_ones(prefix.shape[:2])
        return FusedInputs(
            inputs_embeds=torch.cat([prefix, self.extend(visual, text_embeds)], dim=1),
            attention_mask=torch.cat([ones, attention_mask], dim=1),
            prefix_length=prefix.shape[1],
        )
