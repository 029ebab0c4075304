"""How a vision-language model is trained."""

from __future__ import annotations

from dataclasses import dataclass

from edge_glass.encoders.limits import check_at_least, check_positive, check_share
from edge_glass.fusion.visual_tokens import VisualTokensConfig
from edge_glass.training.loop.config import RunConfig


@dataclass(frozen=True, kw_only=True)
class VlmQaConfig(RunConfig):
    """Training of a vision-language model. See `RunConfig` for the other options.

    A sample is one image with all its questions. The learning rate of `optim` is that of the
    decoder. Gradients accumulate over microbatches, one at a time in memory.

    Attributes:
        max_questions: at most so many conversations about an image in one row; a single question is
            one.
        visual_tokens: what the decoder sees of an image.
        label_smoothing: of the answer's cross entropy.
        projector_learning_rate: peak rate of visual tokens and fusion.
        ema_decay: decay of the averaged weights, which are then the ones that are validated and
            saved; 0 for no average.
        max_new_tokens: longest answer, in tokens.
        max_length: at most so many tokens of questions and answers in one row; a question that is
            longer together with its answer, and with the turns before it, is left out and counted.
        num_workers: processes that read ahead; the bytes are the same.
        validation_questions: questions of each validation split, the same ones every time.
    """

    max_questions: int
    visual_tokens: VisualTokensConfig
    label_smoothing: float
    projector_learning_rate: float
    ema_decay: float
    max_new_tokens: int
    max_length: int = 1024
    num_workers: int = 0
    validation_questions: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(
            self, 1, "max_questions", "max_new_tokens", "max_length", "validation_questions"
        )
        check_at_least(self, 0, "num_workers")
        check_share(self, "label_smoothing", "ema_decay")
        check_positive(self, "projector_learning_rate")
