"""Retrieval of unseen groups among all captions and all images."""

from __future__ import annotations

from typing import Any

import torch

from edge_glass.training.evaluation.alignment.among_all import recall_among_all
from edge_glass.training.evaluation.alignment.config import EvaluateAlignConfig
from edge_glass.training.evaluation.alignment.embedded_split import EmbeddedSplit
from edge_glass.training.features.captions import CaptionRows

CONFIG = EvaluateAlignConfig(ks=(1, 2), block_size=4, bootstrap_samples=1, tsne_points=1)
UNITS = torch.eye(4)


def split(names: list[str], images: list[int], more: list[int]) -> EmbeddedSplit:
    """A split whose group g has the text e_g; its images are unit vectors, one per group."""
    rows: dict[str, Any] = dict.fromkeys(CaptionRows.__annotations__)
    rows |= {"group_names": names, "group_captions": [f"a {name}" for name in names]}
    text, numbers = UNITS[: len(names)], torch.arange(len(names))
    fields = {
        "rows": CaptionRows(**rows), "image": UNITS[images], "image_groups": numbers,
        "text": text, "text_groups": numbers, "candidates": text, "candidate_groups": numbers,
        "captions": [], "all_captions": torch.cat([text, UNITS[more]]),
    }  # fmt: skip
    return EmbeddedSplit(**fields)


def test_captions_of_training_and_images_of_other_splits_compete() -> None:
    splits = {
        # the image of "sun" is like the trained caption e_3, not like its own, e_0
        "val_concept": split(["sun", "sea"], [3, 1], [3]),
        # an image like "sea" that shows something else, and one more image of "sun"
        "val_vendor": split(["dog", "sun"], [1, 0], []),
        "test_vendor": split(["cat"], [0], []),
    }
    found = recall_among_all("val_concept", splits, UNITS[[3, 3]], (4,), CONFIG)
    assert (found["captions"], found["images"]) == (3, 4)
    # e_3 is the nearest to all images of training, and loses what it has in excess
    assert found["4"]["i2t_corrected"]["R@1"] == 0.5
    # e_3 is nearer to the trained caption; "sea" finds its caption
    assert found["4"]["i2t"]["R@1"] == 0.5
    # "sun" finds the other split's image of the same group; for "sea" a wrong image scores as much
    assert found["4"]["t2i"]["R@1"] == 0.5
    assert found["4"]["t2i"]["R@2"] == 1.0
