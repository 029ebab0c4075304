"""Naming first: before the first step the image head learns alone to name what patches show.

A decoder from scratch answers from names (see `fusion/patch_readings.py`), so what it learns while
most of them are wrong is of little use later. The head is a small part of the model: alone it sees
all images several times in the time of a few steps of the whole.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch.nn.functional as F

from edge_glass.encoders.limits import check_at_least, check_share
from edge_glass.fusion.vlm import VisionLanguageModel
from edge_glass.training.engine.determinism import reseed
from edge_glass.training.engine.order import step_batch
from edge_glass.training.features.cache import gather
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

REPORTED = 50  # steps over which the loss that is printed is averaged


@dataclass(frozen=True, kw_only=True)
class NamingConfig:
    """How patches learn their names; used if `visual_tokens.aligned_dim` is above 0.

    Attributes:
        weight: of `naming_loss`, for a name beside the loss of an answer's token. 0 for neither
            this loss nor readings.
        steps: in which the image head learns alone, before all others; 0 for none. They are not
            part of a run's saved state: a run that continues takes them again.
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


def learn_names(
    model: VisionLanguageModel, data: TrainingData, config: NamingConfig, seed: int
) -> None:
    """Trains a model's image head by `naming_loss`; does nothing if patches have no names.

    It changes the head and the sharpness of the readings, by the rows of questions; `seed` decides
    their order and what dropout takes. Each process of a run does the same, with the same result.
    """
    head = model.visual_tokens.aligned
    readings = None if model.matches is None else model.matches.readings
    number = data.sizes[0]
    if head is None or readings is None or not config.steps or not number:
        return
    size, rate = min(config.batch_size, number), config.optim.learning_rate
    optimizer = build_adamw([(head, rate), (readings, rate)], config.optim)
    losses: list[float] = []
    for step in progress(range(config.steps), "name patches"):
        rows = step_batch(number, size, seed=seed, step=step).tolist()
        batch = collate_questions([data.samples[row] for row in rows], 0)
        reseed(seed, "vlm_qa", "naming", step)
        found = F.dropout(gather(data.features, batch.images).to(model.device), config.dropout)
        ids, labels = batch.input_ids.to(model.device), batch.labels.to(model.device)
        with model.autocast():
            loss = naming_loss(readings, head(found), ids, labels) / size
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        factor = learning_rate_factor(
            step, steps=config.steps, warmup_steps=config.optim.warmup_steps
        )
        set_learning_rate(optimizer, factor)
        clip_gradients(
            [each for group in optimizer.param_groups for each in group["params"]],
            config.optim.max_grad_norm,
            f"vlm_qa, naming step {step}",
        )
        optimizer.step()
        losses.append(loss.item())
    optimizer.zero_grad(set_to_none=True)
    first, last = (sum(part) / len(part) for part in (losses[:REPORTED], losses[-REPORTED:]))
    say(
        f"vlm_qa: {len(readings.token_ids)} names learned in {config.steps} steps of {size} "
        f"images; loss per image {first:.2f}, then {last:.2f}"
    )
