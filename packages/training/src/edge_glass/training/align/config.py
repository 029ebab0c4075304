"""How pooling and Matryoshka heads are trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edge_glass.encoders.dual_encoder_config import HeadConfig
from edge_glass.training.align.augmentation import AugmentationConfig
from edge_glass.training.loop.optim import OptimConfig


@dataclass(frozen=True, kw_only=True)
class AlignConfig:
    """Training of pooling and Matryoshka heads.

    Attributes:
        steps: optimizer steps.
        batch_size: pairs a step, all of them each other's negatives.
        matryoshka_dims: strictly descending; the first is the full width.
        matryoshka_weights: one a dim.
        n_dims_per_step: -1 for all dims each step, 1 for one drawn dim.
        contrastive_weight: weight of InfoNCE at the full width.
        matryoshka_weight: weight of the Matryoshka loss.
        text_dropout: probability that a caption is masked out of a step.
        head: the two Matryoshka heads.
        optim: the optimizer; its rate is the heads'.
        log_steps: curves are written every so many steps.
        checkpoint_steps: the state for a resume is saved every so many steps.
        certificate_steps: the certificate takes in the weights every so many steps.
        pooling_learning_rate: peak rate of the pooling; None for the heads' rate.
        num_shards: logical parts of a batch, a power of two; up to so many processes share a step.
        gradient_cache: embeds each shard twice, so that one shard at a time is in memory; the
            bytes are the same.
        validation_steps: retrieval on the validation splits is scored every so many steps.
        patience: stops after so many scores without a better one; None trains all steps.
        checkpoint: what the stage hands on, the `best` score's weights or the `last`.
        collapse_steps: a loss that is still that of chance after so many steps stops the run.
        augmentation: changes pictures at random, and then encodes them at each step; None works
            from the feature cache.
    """

    steps: int
    batch_size: int
    matryoshka_dims: tuple[int, ...]
    matryoshka_weights: tuple[float, ...]
    n_dims_per_step: Literal[-1, 1]
    contrastive_weight: float
    matryoshka_weight: float
    text_dropout: float
    head: HeadConfig
    optim: OptimConfig
    log_steps: int
    checkpoint_steps: int
    certificate_steps: int = 50
    pooling_learning_rate: float | None = None
    num_shards: int = 1
    gradient_cache: bool = False
    validation_steps: int = 100
    patience: int | None = None
    checkpoint: Literal["best", "last"] = "best"
    collapse_steps: int = 200
    augmentation: AugmentationConfig | None = None
