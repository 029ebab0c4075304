"""The classes that a tower was trained to tell apart, as pairs of a row and texts.

A class's row in the weights of a classifier is close to the features of the class's images, and the
class has a name. That makes a thousand pairs of features and text without an image. Stage `align`
trains on them beside the captions, so that the tower's knowledge of classes that no caption names
is kept.

Source: classifier-weight recycling, arXiv 2605.22484.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import torch
from torch import Tensor
from torch.nn import functional as F

IMAGENET = "imagenet_1k.tsv"  # names and definitions of WordNet; the file holds its licence
MAX_NAMES = 3  # of a class; the others are mostly Latin, or rare


@dataclass(frozen=True, kw_only=True)
class ClassifierRows:
    """The classes of a tower's classifier.

    Attributes:
        tokens: (C, D) a row per class in the shape of the tower's tokens, normalised.
        texts: C tuples of texts that describe a class.
    """

    tokens: Tensor
    texts: tuple[tuple[str, ...], ...]


def imagenet_rows(weight: Tensor, *, before: int = 0, width: int | None = None) -> ClassifierRows:
    """Returns the rows of a classifier of ImageNet-1k, in the order of its published classes.

    A row gets mean 0 and standard deviation 1. Nothing else is done to it: with a mean image or a
    covariance added, rows looked like images and their effect was gone.

    Args:
        weight: (1000, d) of the classifier.
        before: numbers of a token that lie before those that the classifier reads.
        width: dim of a token (D); d if None. The numbers that are not the classifier's are 0.
    """
    texts = imagenet_texts()
    if weight.ndim != 2 or len(weight) != len(texts):
        raise ValueError(
            f"the classifier has shape {tuple(weight.shape)}, expected ({len(texts)}, width)"
        )
    used = weight.shape[1]
    tokens = weight.new_zeros(len(weight), width or used)
    with torch.no_grad():
        tokens[:, before : before + used] = F.layer_norm(weight, (used,))
    return ClassifierRows(tokens=tokens, texts=texts)


@cache
def imagenet_texts() -> tuple[tuple[str, ...], ...]:
    """Returns three to five texts for each class of ImageNet-1k, from its names and definition."""
    content = files(__package__).joinpath(IMAGENET).read_text(encoding="utf-8")
    texts = []
    for line in content.splitlines():
        if line.startswith("#"):
            continue
        found, definition = line.split("\t")
        names = found.split(", ")[:MAX_NAMES]
        article = "an" if names[0][0].lower() in "aeiou" else "a"
        more = (f"A photo of {article} {names[0]}.", f"{names[0]}: {definition}")
        texts.append(tuple(dict.fromkeys((*names, *more))))
    return tuple(texts)
