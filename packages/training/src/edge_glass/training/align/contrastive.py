"""The contrastive loss that `align` minimises, defined in plain torch.

This file is the definition. Training computes the same values and gradients a microbatch at a time
(`microbatched_loss.py`), and tests compare the two. Rows of a batch that belong to the same group
are not negatives of each other, and a dropped caption takes no part in the loss.

Sources: Radford et al. 2021 (CLIP), arXiv 2103.00020; Kusupati et al. 2022 (Matryoshka
Representation Learning), arXiv 2205.13147.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor


def contrastive_loss(
    image: Float[Tensor, "B D"],
    text: Float[Tensor, "B D"],
    logit_scale: Float[Tensor, ""],
    groups: Int[Tensor, " B *G"],
    keep_text: Bool[Tensor, " B"],
) -> Float[Tensor, ""]:
    """Returns the symmetric InfoNCE loss: the mean of both directions over the kept rows.

    Args:
        image: embeddings; row i belongs to row i of `text`. Normalised here.
        text: embeddings, normalised here.
        logit_scale: logarithm of the inverse temperature.
        groups: (B,) or (B, G); two rows that have a number in common, in the same column, are not
            negatives of each other.
        keep_text: False if the row's caption is dropped. A dropped caption is neither a query nor a
            candidate; its image remains a candidate for the other captions.
    """
    logits = logit_scale.exp() * F.normalize(image, dim=1) @ F.normalize(text, dim=1).T  # (B, B)
    rows = torch.arange(len(logits), device=logits.device)
    other = rows[:, None] != rows
    columns = groups.reshape(len(groups), -1)  # (B, G)
    same_group = other & (columns[:, None] == columns).any(dim=2)
    dropped_text = other & ~keep_text

    find_text = logits.masked_fill(same_group | dropped_text, -torch.inf)  # image i chooses a text
    find_image = logits.T.masked_fill(same_group, -torch.inf)  # text i chooses an image
    loss = 0.5 * F.cross_entropy(find_text, rows, reduction="none")
    loss = loss + 0.5 * F.cross_entropy(find_image, rows, reduction="none")  # (B,)
    return (loss * keep_text).sum() / keep_text.sum().clamp_min(1)


def matryoshka_loss(
    image: Float[Tensor, "B E"],
    text: Float[Tensor, "B E"],
    logit_scale: Float[Tensor, ""],
    terms: Mapping[int, float],
    groups: Int[Tensor, " B *G"],
    keep_text: Bool[Tensor, " B"],
) -> Float[Tensor, ""]:
    """Returns the weighted sum of the contrastive losses of the embeddings' first numbers.

    `terms` maps a dim, at most E, to its weight, as `MatryoshkaTerms.at` returns them; all dims
    share `logit_scale`. The other arguments are those of `contrastive_loss`.
    """
    losses = [
        weight * contrastive_loss(image[:, :dim], text[:, :dim], logit_scale, groups, keep_text)
        for dim, weight in terms.items()
    ]
    return torch.stack(losses).sum()
