"""Retrieval of unseen groups among all captions and all images, as a user's search does it.

The groups of a split that training has not seen are few, and choosing among them alone flatters: a
trained caption attracts images that it does not describe. Here the images of a split choose among
its own captions and those of training, also corrected for this attraction (`retrieval/hubs.py`).
Its captions choose among its own images and those of the other splits that are held out for the
same purpose.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from edge_glass.training.evaluation.alignment.config import EvaluateAlignConfig
from edge_glass.training.evaluation.alignment.embedded_split import EmbeddedSplit
from edge_glass.training.evaluation.retrieval.hubs import corrected_ranks
from edge_glass.training.evaluation.retrieval.recall import metrics_of_ranks, retrieval_metrics
from edge_glass.training.runtime.split_names import is_validation


def recall_among_all(
    name: str,
    splits: Mapping[str, EmbeddedSplit],
    bank: Tensor,
    dims: tuple[int, ...],
    config: EvaluateAlignConfig,
) -> dict[str, Any]:
    """Returns the scores of a split by dim and direction, and how many candidates there were.

    `bank` (K, E) are images of training.
    """
    split = splits[name]
    images, groups = [split.image], [split.image_groups]
    own = {group: number for number, group in enumerate(split.rows.group_names)}
    same = {caption: number for number, caption in enumerate(split.rows.group_captions)}
    for other, each in splits.items():
        if other == name or is_validation(other) != is_validation(name):
            continue
        # an image of a different split that shows one of this split's groups is a right answer
        numbers = [
            own.get(group, same.get(caption, -1))
            for group, caption in zip(each.rows.group_names, each.rows.group_captions, strict=True)
        ]
        images.append(each.image)
        groups.append(torch.tensor(numbers)[each.image_groups])
    image, image_groups = torch.cat(images), torch.cat(groups)
    caption_groups = torch.arange(len(split.all_captions))
    found: dict[str, Any] = {"captions": len(caption_groups), "images": len(image)}
    for dim in dims:
        found[str(dim)] = {
            "i2t": retrieval_metrics(
                split.image[:, :dim],
                split.all_captions[:, :dim],
                split.image_groups.numpy(),
                caption_groups.numpy(),
                config.ks,
                block_size=config.block_size,
            ),
            "i2t_corrected": metrics_of_ranks(
                corrected_ranks(
                    split.image[:, :dim],
                    split.all_captions[:, :dim],
                    bank[:, :dim],
                    split.image_groups.numpy(),
                ),
                config.ks,
            ),
            "t2i": retrieval_metrics(
                split.text[:, :dim],
                image[:, :dim],
                split.text_groups.numpy(),
                image_groups.numpy(),
                config.ks,
                block_size=config.block_size,
            ),
        }
    return found
