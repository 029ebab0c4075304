"""The beginning-of-sequence token: in front of the image, once, instead of in each question.

In training, pretrained models read this token at position 0 of every text, and they learn to give
it much of their attention. Behind an image it would be at a later position, and there would be one
per packed question.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from edge_glass.fusion.base import FusedInputs

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def start_id(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """Returns the token that the chat template writes once, in front; None if there is none.

    A token that also opens each turn, as in SmolLM2, is part of the turns.
    """
    return _start_id(tokenizer, str(tokenizer.chat_template), tokenizer.bos_token_id)


@lru_cache(maxsize=4)
def _start_id(tokenizer: PreTrainedTokenizerBase, template: str, bos: int | None) -> int | None:
    if bos is None:
        return None
    rendered = tokenizer.apply_chat_template(
        [{"role": "user", "content": "?"}],
        chat_template=template,
        add_generation_prompt=True,
        return_dict=True,
    )
    ids: list[int] = list(rendered["input_ids"])  # type: ignore[index,call-overload,arg-type]
    return bos if ids[0] == bos and ids.count(bos) == 1 else None


def without_start(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> list[int]:
    """Returns the ids of a prompt without the token of `start_id` in front of them."""
    if ids and ids[0] == tokenizer.bos_token_id and ids[0] == start_id(tokenizer):
        return list(ids[1:])
    return list(ids)


def with_start(fused: FusedInputs, start: Float[Tensor, "B 1 D"]) -> FusedInputs:
    """Puts the embedded start token in front of the inputs, as part of their prefix."""
    mask = fused.attention_mask
    return replace(
        fused,
        inputs_embeds=torch.cat([start, fused.inputs_embeds], dim=1),
        attention_mask=torch.cat([mask.new_ones(mask.shape[0], 1), mask], dim=1),
        prefix_length=fused.prefix_length + 1,
    )
