"""The embeddings of a split, as retrieval compares them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from edge_glass.training.features.captions import CaptionRows


@dataclass(frozen=True, kw_only=True)
class EmbeddedSplit:
    """The embeddings of a split on the CPU, not normalised, and their groups.

    Attributes:
        rows: the split's rows.
        image: (M, E) images.
        image_groups: (M,) their groups.
        text: (G, E) canonical captions of the split's groups.
        text_groups: (G,) their groups.
        candidates: (C, E) captions that images choose among; the first G are the split's own.
        candidate_groups: (C,) their groups.
        captions: C captions.
        all_captions: (A, E) captions of the split's groups, and of at most `MAX_OTHERS` others of
            training.
    """

    rows: CaptionRows
    image: Tensor
    image_groups: Tensor
    text: Tensor
    text_groups: Tensor
    candidates: Tensor
    candidate_groups: Tensor
    captions: list[str]
    all_captions: Tensor
