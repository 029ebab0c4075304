"""How a vision-language model is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edge_glass.fusion.visual_tokens import VisualTokensConfig
from edge_glass.training.loop.optim import OptimConfig


@dataclass(frozen=True, kw_only=True)
class VlmQaConfig:
    """Training of a vision-language model.

    Attributes:
        steps: optimizer steps.
        batch_size: pictures a step; all questions of a picture come together.
        max_questions: at most so many questions of a picture at once.
        visual_tokens: what the decoder sees of a picture.
        label_smoothing: of the answer's cross entropy.
        projector_learning_rate: peak rate of visual tokens and fusion.
        ema_decay: decay of the averaged weights that are evaluated and saved; 0 for none.
        max_new_tokens: limit of an answer.
        optim: the optimizer; its rate is the decoder's.
        log_steps: curves are written every so many steps.
        checkpoint_steps: the state for a resume is saved every so many steps.
        certificate_steps: the certificate takes in the weights every so many steps.
        num_shards: logical parts of a batch, a power of two: gradients accumulate over them, one
            at a time in memory, and up to so many processes share a step.
        max_length: at most so many tokens of questions and answers at once; what is longer by
            itself is left out and counted.
        num_workers: processes that read ahead; the bytes are the same.
        validation_steps: answers on the validation splits are scored every so many steps; 0 never.
        validation_questions: so many of each validation split, always the same ones.
        patience: stops after so many scores without a better one; None trains all steps.
        checkpoint: what the stage hands on, the `best` score's weights or the `last`.
    """

    steps: int
    batch_size: int
    max_questions: int
    visual_tokens: VisualTokensConfig
    label_smoothing: float
    projector_learning_rate: float
    ema_decay: float
    max_new_tokens: int
    optim: OptimConfig
    log_steps: int
    checkpoint_steps: int
    certificate_steps: int = 50
    num_shards: int = 1
    max_length: int = 1024
    num_workers: int = 0
    validation_steps: int = 0
    validation_questions: int = 128
    patience: int | None = None
    checkpoint: Literal["best", "last"] = "best"
