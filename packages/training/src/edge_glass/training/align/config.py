"""How pooling and Matryoshka heads are trained."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from edge_glass.encoders.dual_encoder_config import HeadConfig
from edge_glass.encoders.limits import check_at_least, check_positive, check_share
from edge_glass.training.align.augmentation import AugmentationConfig
from edge_glass.training.loop.config import RunConfig


@dataclass(frozen=True, kw_only=True)
class AlignConfig(RunConfig):
    """Training of pooling and Matryoshka heads. See `RunConfig` for the other options.

    All pairs of a batch are negatives of each other. The learning rate of `optim` is that of the
    heads.

    Attributes:
        validation_steps: number of steps between two scores of retrieval.
        matryoshka_dims: strictly descending; the first is the full width.
        matryoshka_weights: one per dim.
        n_dims_per_step: -1 for all dims at each step, 1 for one drawn dim.
        contrastive_weight: weight of InfoNCE at the full width.
        matryoshka_weight: weight of the Matryoshka loss.
        caption_dropout: probability that a caption is left out of a step's loss.
        recycle: rows of the vision encoder's own classifier in each step, as pairs with texts of
            their classes; they take places of the batch. A multiple of `num_microbatches`; 0 for
            none. It needs `encode.classifier_texts`.
        head: the two Matryoshka heads.
        pooling_learning_rate: peak rate of the pooling; None for the rate of the heads.
        gradient_cache: embeds each microbatch twice, so that only one microbatch at a time is in
            memory; the bytes are the same.
        collapse_steps: the run stops if the loss is still at chance after so many steps.
        num_workers: processes that decode images ahead, with `features: live`, or threads that
            read the cache ahead for a GPU; the bytes are the same.
        augmentation: changes images at random and encodes them at each step; None reads the
            feature cache.
    """

    validation_steps: int = 100
    matryoshka_dims: tuple[int, ...]
    matryoshka_weights: tuple[float, ...]
    n_dims_per_step: Literal[-1, 1]
    contrastive_weight: float
    matryoshka_weight: float
    caption_dropout: float
    recycle: int = 0
    head: HeadConfig
    pooling_learning_rate: float | None = None
    gradient_cache: bool = False
    collapse_steps: int = 200
    num_workers: int = 0
    augmentation: AugmentationConfig | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "validation_steps", "collapse_steps")
        check_at_least(self, 0, "num_workers")
        check_share(self, "caption_dropout")
        if self.recycle % self.num_microbatches or not 0 <= self.recycle < self.batch_size:
            raise ValueError(
                f"recycle is {self.recycle}, expected 0 or a multiple of num_microbatches "
                f"{self.num_microbatches} that is less than batch_size {self.batch_size}"
            )
        check_positive(self, "pooling_learning_rate")
        check_at_least(self, 0, "contrastive_weight", "matryoshka_weight")
        self._check_dims()

    def _check_dims(self) -> None:
        dims, weights = self.matryoshka_dims, self.matryoshka_weights
        if not dims or dims[-1] < 1 or any(a <= b for a, b in pairwise(dims)):
            raise ValueError(
                f"matryoshka_dims are {list(dims)}, expected positive numbers that strictly "
                "descend, such as [512, 256, 128]"
            )
        if len(weights) != len(dims):
            raise ValueError(
                f"found {len(weights)} matryoshka_weights for {len(dims)} matryoshka_dims, "
                "expected one per dim"
            )
        if not all(0 <= weight < math.inf for weight in weights) or not sum(weights) > 0:
            raise ValueError(
                f"matryoshka_weights are {list(weights)}, expected none below 0 and a sum above 0"
            )
        if self.contrastive_weight == self.matryoshka_weight == 0:
            raise ValueError(
                "contrastive_weight and matryoshka_weight are both 0, so there is no loss to "
                "train on: raise one of them"
            )
