"""Naming first: before the first step the image head learns alone to name what patches show.

A decoder from scratch answers from names (see `fusion/patch_readings.py`). What it learns while
most of them are wrong is of little use later. The head alone is a small part of the model, and its
steps are several times cheaper than those of the whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor

from edge_glass.encoders.limits import check_at_least, check_share
from edge_glass.fusion.vlm import VisionLanguageModel
from edge_glass.training.engine.determinism import reseed
from edge_glass.training.engine.order import step_batch
from edge_glass.training.features.cache import gather
from edge_glass.training.features.read_ahead import read_ahead
from edge_glass.training.loop.optim import (
    OptimConfig,
    build_adamw,
    clip_gradients,
    learning_rate_factor,
    set_learning_rate,
)
from edge_glass.training.runtime.progress import progress, say
from edge_glass.training.vlm_qa.naming_loss import naming_loss
from edge_glass.training.vlm_qa.packing import collate_questions

if TYPE_CHECKING:
    from edge_glass.training.vlm_qa.training_data import TrainingData

REPORTED = 50  # steps over which a loss that is printed is averaged, at most half of all


@dataclass(frozen=True, kw_only=True)
class NamingConfig:
    """How patches learn their names; used if `visual_tokens.aligned_dim` is above 0.

    Attributes:
        weight: of `naming_loss`, for a name beside the loss of an answer's token. 0 for neither
            this loss nor readings.
        steps: in which the image head learns alone, before all others; 0 for none. They have no
            saved state of their own: a run that was stopped among them begins again.
        batch_size: images of such a step.
        dropout: share of the features that are zeroed in such a step.
        optim: of such steps.
    """

    weight: float = 0.0
    steps: int = 0
    batch_size: int = 32
    dropout: float = 0.4
    optim: OptimConfig = field(
        default_factory=lambda: OptimConfig(learning_rate=1e-3, weight_decay=0.1, warmup_steps=50)
    )

    def __post_init__(self) -> None:
        check_at_least(self, 0, "weight", "steps")
        check_at_least(self, 1, "batch_size")
        check_share(self, "dropout")
        if self.steps and self.optim.warmup_steps > self.steps:
            raise ValueError(
                f"optim.warmup_steps is {self.optim.warmup_steps} and steps is {self.steps}: "
                "expected a warm-up that is not longer than the training; change one of them"
            )


def learn_names(
    model: VisionLanguageModel,
    data: TrainingData,
    config: NamingConfig,
    seed: int,
    num_workers: int = 0,
) -> None:
    """Trains a model's image head by `naming_loss`; does nothing if patches have no names.

    It changes the head and the sharpness of the readings, by the rows of questions. Each process of
    a run does the same, with the same result.

    Args:
        model: with the aligned space that `load_aligned_space` gives it.
        data: of the training split.
        config: its `steps` may be 0.
        seed: decides the order of the rows and what dropout takes.
        num_workers: processes that decode images ahead with `features: live`.
    """
    head = model.visual_tokens.aligned
    readings = None if model.matches is None else model.matches.readings
    number = data.sizes[0]
    if head is None or readings is None or not config.steps or not number:
        return
    size, rate = min(config.batch_size, number), config.optim.learning_rate
    optimizer = build_adamw([(head, rate), (readings, rate)], config.optim)
    trained = [each for group in optimizer.param_groups for each in group["params"]]
    batches = [step_batch(number, size, seed=seed, step=step).tolist()
               for step in range(config.steps)]  # fmt: skip
    losses: list[float] = []
    both = zip(batches, _features(data, batches, num_workers), strict=True)
    for step, (rows, features) in enumerate(progress(both, "name patches", total=config.steps)):
        batch = collate_questions(
            [data.samples[row] for row in rows], int(data.tokenizer.pad_token_id)
        )
        reseed(seed, "vlm_qa", "naming", step)
        features = F.dropout(features.to(model.device), config.dropout)
        ids, labels = batch.input_ids.to(model.device), batch.labels.to(model.device)
        with model.autocast():
            loss = naming_loss(readings, head(features), ids, labels) / size
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        factor = learning_rate_factor(
            step, steps=config.steps, warmup_steps=config.optim.warmup_steps
        )
        set_learning_rate(optimizer, factor)
        clip_gradients(trained, config.optim.max_grad_norm, f"vlm_qa, naming step {step}")
        optimizer.step()
        losses.append(loss.item())
    optimizer.zero_grad(set_to_none=True)
    part = min(REPORTED, -(-config.steps // 2))
    first, last = (sum(each) / part for each in (losses[:part], losses[-part:]))
    say(
        f"vlm_qa: {len(readings.token_ids)} names learned in {config.steps} steps of {size} "
        f"images; loss per image {first:.2f} in the first {part} steps, {last:.2f} in the last"
    )


def _features(
    data: TrainingData, batches: Sequence[list[int]], num_workers: int
) -> Iterator[Tensor]:
    """Returns the features (n, P, D) of the images of each batch of rows."""
    images = (data.samples.images[rows] for rows in batches)
    if data.live_features:
        return read_ahead(data.live_features, (each.tolist() for each in images), num_workers)
    return (gather(data.features, each) for each in images)
