"""Caption rows as index tensors over the feature cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from edge_glass.encoders.files import DataError
from edge_glass.training.engine.determinism import generator
from edge_glass.training.features.cache import prepared_rows, text_features
from edge_glass.training.folders import FEATURES
from edge_glass.training.runtime.canonical_caption import canonical_caption
from edge_glass.training.runtime.split_names import TRAIN


@dataclass(frozen=True, kw_only=True)
class CaptionRows:
    """M rows of a caption split.

    Attributes:
        images: (M,) row of the image's features.
        groups: (M,) equal for rows that show the same thing: they are not negatives of each other.
            Rows of one concept or image are, and those whose groups are scored with equal captions.
        texts: M tensors, each with the rows of the captions of the image. Only in the split
            "train": other splits have no features of these captions, and no tensors here.
        canonical: (M,) row of the caption that retrieval is scored with.
        features: (K, D) of the distinct texts of the split.
        captions: M canonical captions, as text.
        text_numbers: (K,) equal for distinct texts of equal canonical form.
        group_names: concept or image of each group's first row, by the group's number.
        group_captions: canonical form of the caption that the group is scored with, by its number.
        labels: M classes that plots use for colours; "" if the data have none.
    """

    images: Tensor
    groups: Tensor
    texts: list[Tensor]
    canonical: Tensor
    features: Tensor
    captions: list[str]
    text_numbers: Tensor
    group_names: list[str]
    group_captions: list[str]
    labels: list[str]

    def negatives(self, rows: Tensor, texts: Tensor) -> Tensor:
        """Returns (B, 2) numbers of a batch; rows that share one of them are no negatives.

        `rows` (B,) are drawn with the captions `texts` (B,), rows of `features`. An image can have
        several captions, so that a group alone does not exclude that two drawn ones are equal.
        """
        return torch.stack([self.groups[rows], self.text_numbers[texts]], dim=1)

    def draw_texts(self, rows: Tensor, *, seed: int, step: int) -> Tensor:
        """Draws one caption for each of `rows` by (seed, step); returns its row in `features`."""
        draws = torch.rand(len(rows), generator=generator(seed, "caption", step))
        chosen = [
            self.texts[row][int(draw * len(self.texts[row]))]
            for row, draw in zip(rows.tolist(), draws.tolist(), strict=True)
        ]
        return torch.stack(chosen)


def caption_rows(split: str, prepared: Path) -> CaptionRows:
    """Reads the rows of a caption split."""
    rows = prepared_rows("captions", split, prepared)
    index, features = text_features(split)
    captions = [row["canonical_caption"] for row in rows]
    groups, names, scored = group_rows([row["group"] for row in rows], captions)
    forms: dict[str, int] = {}
    text_numbers = [forms.setdefault(canonical_caption(text), len(forms)) for text in index]
    try:
        texts = [
            torch.tensor(
                [index[text] for text in dict.fromkeys((row["caption"], *row["transcripts"]))]
            )
            for row in (rows if split == TRAIN else ())
        ]
        canonical = torch.tensor([index[row["canonical_caption"]] for row in rows])
    except KeyError as error:
        raise DataError(
            f"{FEATURES}/captions/{split}: found no features of the caption "
            f"{str(error.args[0])[:60]!r}, which `prepare` wrote: run `dvc repro encode` again"
        ) from None
    return CaptionRows(
        images=torch.tensor([row["image"] for row in rows]),
        groups=torch.tensor(groups),
        texts=texts,
        canonical=canonical,
        features=features,
        captions=captions,
        text_numbers=torch.tensor(text_numbers),
        group_names=names,
        group_captions=scored,
        labels=[row["label"] for row in rows],
    )


def group_rows(
    given: Sequence[str], captions: Sequence[str]
) -> tuple[list[int], list[str], list[str]]:
    """Returns the group of each row, and of each group the name and the caption's canonical form.

    Args:
        given: M concepts, or images for data without concepts. Equal ones are one group.
        captions: M canonical captions. A group is scored with that of its first row, and groups
            that are scored with equal captions are one.
    """
    numbers: dict[str, int] = {}
    names: list[str] = []
    forms: dict[str, int] = {}
    for name, caption in zip(given, captions, strict=True):
        if name not in numbers:
            number = numbers[name] = forms.setdefault(canonical_caption(caption), len(forms))
            if number == len(names):
                names.append(name)
    return [numbers[name] for name in given], names, list(forms)


def first_rows(groups: Tensor) -> dict[int, int]:
    """Returns the first row of each group in `groups` (M,), by the group's number."""
    first: dict[int, int] = {}
    for row, group in enumerate(groups.tolist()):
        first.setdefault(group, row)
    return first
