"""What a decoder has to know of a causal language model of transformers, whatever its family."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SLIDING, FULL = "sliding_attention", "full_attention"


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """Facts of a model's config, by names that all families share.

    Attributes:
        family: `model_type` of the config, such as "qwen2".
        width: D, the width of the word embeddings.
        vocab_size: V, rows of the vocabulary projection.
        max_positions: how many positions the model has; None for no limit.
        window: a word attends to so many positions, itself included; None for all before it.
        by_layer: whether some layers have the window and others not.
        logit_scale: factor of the logits (Cohere, Granite).
        soft_cap: logits are `soft_cap * tanh(logits / soft_cap)` (Gemma 2); None for plain logits.
        stop_ids: tokens that end an answer, as the model's generation config lists them.
        cache_argument: the name under which the model takes keys and values: `past_key_values`,
            which transformers 5.24 renames to `cache`.
    """

    family: str
    width: int
    vocab_size: int
    max_positions: int | None
    window: int | None
    by_layer: bool
    logit_scale: float
    soft_cap: float | None
    stop_ids: tuple[int, ...]
    cache_argument: str

    @classmethod
    def of(cls, model: PreTrainedModel) -> ModelFacts:
        """Reads the facts of a model; a model of images and text has them in its `text_config`.

        Raises:
            ValueError: if the model has no vocabulary projection.
        """
        config: Any = model.config.get_text_config()
        embedding: Any = model.get_input_embeddings()
        head: Any = model.get_output_embeddings()  # type: ignore[no-untyped-call]
        if head is None:
            raise ValueError(
                f"a model of the family {config.model_type} can't be a decoder: it has no "
                "vocabulary projection; choose a causal language model"
            )
        kinds = getattr(config, "layer_types", None) or ()
        window = getattr(config, "sliding_window", None)
        if kinds and SLIDING not in kinds:
            window = None
        stop_ids = getattr(model.generation_config, "eos_token_id", None)
        stop_ids = [stop_ids] if isinstance(stop_ids, int) else stop_ids or ()
        arguments = inspect.signature(type(model.base_model).forward).parameters
        return cls(
            family=config.model_type,
            width=embedding.weight.shape[1],
            vocab_size=head.weight.shape[0],
            max_positions=getattr(config, "max_position_embeddings", None),
            window=window,
            by_layer=SLIDING in kinds,
            logit_scale=(getattr(config, "logit_scale", None) or 1.0)
            / (getattr(config, "logits_scaling", None) or 1.0),
            soft_cap=getattr(config, "final_logit_softcapping", None),
            stop_ids=tuple(stop_ids),
            cache_argument="cache" if "cache" in arguments else "past_key_values",
        )

    def logits(self, projected: Tensor) -> Tensor:
        """Returns the logits (..., V) of what the vocabulary projection computed, (..., V)."""
        if self.logit_scale != 1.0:
            projected = projected * self.logit_scale
        if self.soft_cap is not None:
            projected = self.soft_cap * torch.tanh(projected / self.soft_cap)
        return projected

    def masks(
        self,
        allowed: Bool[Tensor, "B S S_total"],
        rows: Int[Tensor, "B S"],
        columns: Int[Tensor, "B S_total"],
        make: Callable[[Tensor], Any],
    ) -> Any:
        """Returns the mask of all layers, or a table of one per kind of layer.

        A window counts positions, not columns: packed questions restart after the prefix, and each
        sees as much of it as it would alone.

        Args:
            allowed: True if the row may attend to the column.
            rows: positions of the new words.
            columns: positions of all words, the cached ones included.
            make: turns such a table (B, S, S_total) into what the layers take: an additive mask
                (B, 1, S, S_total), or one of blocks.
        """
        full = make(allowed)
        if self.window is None:
            return full
        near = rows[:, :, None] - columns[:, None, :] < self.window
        sliding = make(allowed & near)
        return {FULL: full, SLIDING: sliding} if self.by_layer else sliding
