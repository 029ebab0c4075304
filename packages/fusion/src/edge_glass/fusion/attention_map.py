"""Attention maps: how much each word takes of each patch of an image.

The weights are those of the attention itself. They show what a model reads, not why it answers as
it does (Jain and Wallace, 2019, arXiv:1902.10186).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from edge_glass.fusion.attention_recorder import AttentionRecorder
from edge_glass.fusion.prompt import prompt_ids

if TYPE_CHECKING:
    from edge_glass.fusion.vlm import VisionLanguageModel


@dataclass(frozen=True, kw_only=True)
class WordAttention:
    """Attention of words to patches.

    Attributes:
        ids: T token ids.
        weights: (T, P), on the CPU; each row sums to 1.
    """

    ids: tuple[int, ...]
    weights: Tensor


@torch.no_grad()
def fusion_attention(
    model: VisionLanguageModel, features: Float[Tensor, "1 P Din"], token_ids: Sequence[int]
) -> WordAttention | None:
    """Returns how much each token takes of each patch through the fusion.

    It is None if the fusion does not attend. The share of a patch is the sum, over visual tokens,
    of the token's attention to it and its weight of the patch.
    """
    with model.autocast():
        visual = model.see(features)
        ids = torch.tensor([list(token_ids)], device=model.device)
        words = model.fusion.attention_weights(visual, model.embed(visual, ids))
    return None if words is None else _on_patches(model, features, token_ids, words[0])


@torch.no_grad()
def decoder_attention(
    model: VisionLanguageModel,
    features: Float[Tensor, "1 P Din"],
    question: str,
    answer_ids: Sequence[int],
    history: Sequence[str] = (),
) -> WordAttention | None:
    """Returns what the decoder reads of each patch when it chooses each token of an answer.

    It is the mean over all attention heads and layers, of the visual prefix alone: rows are divided
    by their share of the prefix. It is None if the fusion writes no prefix.
    """
    prompt = prompt_ids(model.tokenizer, question, history)
    ids = torch.tensor([[*prompt, *answer_ids]], device=model.device)
    with model.autocast():
        visual = model.see(features)
        fused = model.fused(visual, ids, torch.ones_like(ids))
        num_visual = visual.shape[1] if fused.prefix_length >= visual.shape[1] else 0
        if num_visual == 0 or not answer_ids:
            return None
        with AttentionRecorder() as recorder:
            model.decoder(
                fused.inputs_embeds, fused.attention_mask, prefix_length=fused.prefix_length
            )
    # Each token is predicted by the position before it.
    first = fused.prefix_length + len(prompt) - 1
    rows = recorder.mean()[0, first : first + len(answer_ids)]
    shares = rows[:, fused.prefix_length - num_visual : fused.prefix_length]
    return _on_patches(model, features, answer_ids, shares / shares.sum(dim=-1, keepdim=True))


def _on_patches(
    model: VisionLanguageModel,
    features: Float[Tensor, "1 P Din"],
    ids: Sequence[int],
    words: Float[Tensor, "T N"],
) -> WordAttention | None:
    """Turns shares of visual tokens into shares of patches."""
    patches = model.visual_tokens.patch_weights(features.float())
    if patches is None:
        return None
    return WordAttention(ids=tuple(ids), weights=(words.float() @ patches[0].float()).cpu())
