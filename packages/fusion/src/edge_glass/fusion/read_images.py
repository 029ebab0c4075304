"""Images that the decoder has read once, for any number of questions about each.

The visual prefix attends to nothing behind it, so its keys and values are the same for every
question. With a prefix of 580 positions and questions of 60, five questions about an image cost 880
positions and not 3,200. Answers equal those of `answer_features` up to float rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from edge_glass.decoders.base import Cache
from edge_glass.decoders.sampling import Sampling, generate
from edge_glass.fusion.generation import word_arguments
from edge_glass.fusion.prompt import left_padded

if TYPE_CHECKING:
    from edge_glass.fusion.vlm import VisionLanguageModel


@dataclass(frozen=True, kw_only=True)
class ReadImages:
    """What the decoder keeps of M images.

    Attributes:
        visual: (M, N, Dv), the visual tokens.
        cache: of the start token and the prefix; None if there is neither.
        length: the number of positions in `cache`.
    """

    visual: Tensor
    cache: Cache | None
    length: int


@torch.no_grad()
def read_images(model: VisionLanguageModel, features: Float[Tensor, "M P Din"]) -> ReadImages:
    """Runs the decoder over the visual prefix of each image."""
    with model.autocast():
        visual = model.see(features)
        prefix = _prefix(model, visual)
        length = prefix.shape[1]
        if not length:
            return ReadImages(visual=visual, cache=None, length=0)
        ones = torch.ones(prefix.shape[:2], dtype=torch.long, device=prefix.device)
        output = model.decoder(prefix, ones, use_cache=True, prefix_length=length)
    return ReadImages(visual=visual, cache=output.cache, length=length)


@torch.no_grad()
def answer_prompts(
    model: VisionLanguageModel,
    images: ReadImages,
    rows: Sequence[int],
    prompts: Sequence[Sequence[int]],
) -> list[str]:
    """Answers prompts of `prompt_ids` greedily in one batch; prompt n is about image `rows[n]`.

    The cache of an image is copied for each prompt about it.
    """
    input_ids, mask = left_padded(prompts, int(model.tokenizer.pad_token_id))
    input_ids, mask = input_ids.to(model.device), mask.to(model.device)
    numbers = torch.tensor(rows, device=model.device)
    ones = mask.new_ones(len(rows), images.length)
    with model.autocast():
        visual = images.visual[numbers]
        words = generate(
            **word_arguments(model, visual, Sampling()),
            inputs_embeds=model.fusion.extend(visual, model.embed(visual, input_ids)),
            attention_mask=torch.cat([ones, mask], dim=1),
            cache=None if images.cache is None else images.cache.select(numbers),
        )
    texts = model.tokenizer.batch_decode(words, skip_special_tokens=True)
    return [text.strip() for text in texts]


def _prefix(model: VisionLanguageModel, visual: Tensor) -> Float[Tensor, "M K D"]:
    """Returns what stands in front of every question: the start token, if any, and the image."""
    prefix = model.fusion.prefix(visual)
    if model.start_id is None:
        return prefix
    start = torch.full((len(visual), 1), model.start_id, device=visual.device)
    return torch.cat([model.decoder.embed(start), prefix], dim=1)
