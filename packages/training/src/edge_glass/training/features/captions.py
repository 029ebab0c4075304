"""Caption rows as index tensors over the feature cache."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from edge_glass.training.engine.determinism import generator
from edge_glass.training.features.cache import prepared_rows, text_features


@dataclass(frozen=True, kw_only=True)
class CaptionRows:
    """M rows of a caption split.

    Attributes:
        images: (M,) row of the image's features.
        groups: (M,) equal for rows that show the same thing: they are not negatives of each other.
        texts: M tensors, each with the rows of the captions of the image.
        canonical: (M,) row of the caption that retrieval is scored with.
        features: (K, D) of the distinct texts of the split.
        captions: M canonical captions, as text.
        group_names: name of each group, by its number.
        labels: M classes that plots use for colours; "" if the data have none.
    """

    images: Tensor
    groups: Tensor
    texts: list[Tensor]
    canonical: Tensor
    features: Tensor
    captions: list[str]
    group_names: list[str]
    labels: list[str]

    def draw_texts(self, rows: Tensor, *, seed: int, step: int) -> Tensor:
        """Draws one caption for each of `rows` by (seed, step); returns its row in `features`."""
        draws = torch.rand(len(rows), generator=generator(seed, "caption", step))
        chosen = [
            self.texts[row][int(draw * len(self.texts[row]))]
            for row, draw in zip(rows.tolist(), draws.tolist(), strict=True)
        ]
        return torch.stack(chosen)


def caption_rows(split: str, prepared: Path) -> CaptionRows:
    """Reads a split.

    Raises:
        DataError: The split is missing or empty.
    """
    rows = prepared_rows("captions", split, prepared)
    index, features = text_features(split)
    numbers: dict[str, int] = {}
    for row in rows:
        numbers.setdefault(row["group"], len(numbers))
    texts = [
        torch.tensor([index[text] for text in dict.fromkeys((row["caption"], *row["transcripts"]))])
        for row in rows
    ]
    return CaptionRows(
        images=torch.tensor([row["image"] for row in rows]),
        groups=torch.tensor([numbers[row["group"]] for row in rows]),
        texts=texts,
        canonical=torch.tensor([index[row["canonical_caption"]] for row in rows]),
        features=features,
        captions=[row["canonical_caption"] for row in rows],
        group_names=list(numbers),
        labels=[row["label"] for row in rows],
    )


def first_rows(groups: Tensor) -> dict[int, int]:
    """Returns the first row of each group in `groups` (M,), by the group's number."""
    first: dict[int, int] = {}
    for row, group in enumerate(groups.tolist()):
        first.setdefault(group, row)
    return first
