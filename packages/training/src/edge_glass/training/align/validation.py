"""Retrieval on the validation splits while a model trains: it decides which weights are best."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from edge_glass.encoders.dual_encoder import DualEncoder
from edge_glass.training.evaluation.retrieval.recall import retrieval_curve
from edge_glass.training.features.cache import Features, gather, vision_features
from edge_glass.training.features.captions import CaptionRows, caption_rows, first_rows
from edge_glass.training.runtime import split_names

BATCH = 256  # images that are embedded in one call


@dataclass(frozen=True, kw_only=True)
class ValidationSplit:
    """Rows and features of a split.

    Attributes:
        rows: M images and captions.
        vision: (M, P, D) features of the images.
        captions: (G, D) text features, the caption of each group's first row.
        groups: (G,) the group of each caption.
    """

    rows: CaptionRows
    vision: Features
    captions: Tensor
    groups: Tensor


def validation_splits(names: list[str], prepared: Path) -> dict[str, ValidationSplit]:
    """Opens the validation splits; the others are never read here."""
    splits = {}
    for name in split_names.validation_splits(names):
        rows = caption_rows(name, prepared)
        first = first_rows(rows.groups)
        firsts = [first[number] for number in range(len(rows.group_names))]
        splits[name] = ValidationSplit(
            rows=rows,
            vision=vision_features("captions", name),
            captions=rows.features[rows.canonical[firsts]],
            groups=torch.arange(len(firsts)),
        )
    return splits


def validation_recall(
    model: DualEncoder, splits: dict[str, ValidationSplit], dims: tuple[int, ...]
) -> dict[str, float]:
    """Returns R@1 by split, a mean over both directions and all dims, and "mean" over the splits.

    Images choose among the captions of their split, of which there is one per group.
    """
    training = model.training
    model.eval()
    device = model.logit_scale.device
    found: dict[str, float] = {}
    for name, split in splits.items():
        with torch.inference_mode():
            images = split.rows.images
            image = torch.cat(
                [
                    model.image_embeddings(
                        gather(split.vision, images[start : start + BATCH]).to(device)
                    ).cpu()
                    for start in range(0, len(images), BATCH)
                ]
            )
            text = model.text_embeddings(split.captions.to(device)).cpu()
        curve = retrieval_curve(image, text, split.rows.groups, split.groups, dims, ks=(1,))
        values = [way["R@1"] for both in curve.values() for way in both.values()]
        found[name] = sum(values) / len(values)
    model.train(training)
    return {**found, "mean": sum(found.values()) / len(found)}
