"""How a vision-language model is trained."""

from __future__ import annotations

from dataclasses import dataclass, field

from edge_glass.encoders.limits import check_at_least, check_positive, check_share
from edge_glass.fusion.visual_tokens import VisualTokensConfig
from edge_glass.training.loop.config import RunConfig
from edge_glass.training.vlm_qa.mixture import MixtureConfig
from edge_glass.training.vlm_qa.naming import NamingConfig


@dataclass(frozen=True, kw_only=True)
class VlmQaConfig(RunConfig):
    """Training of a vision-language model. See `RunConfig` for the other options.

    A sample is one image with all its questions. The learning rate of `optim` is that of the
    decoder. Gradients accumulate over microbatches, one at a time in memory.

    Attributes:
        max_questions: at most so many conversations about an image in one row; a single question is
            one.
        visual_tokens: what the decoder sees of an image.
        word_dropout: share of the words that training reads as `<unk>` with their match, see
            `fusion/word_matches.py`; used if `visual_tokens.aligned_dim` is above 0.
        naming: how patches learn their names, see `naming.py`.
        label_smoothing: of the answer's cross entropy.
        projector_learning_rate: peak rate of visual tokens and fusion.
        ema_decay: decay of the averaged weights, which are then the ones that are validated and
            saved; 0 for no average.
        max_new_tokens: longest answer, in tokens.
        max_length: at most so many tokens of questions and answers in one row; a question that is
            longer together with its answer, and with the turns before it, is left out and counted.
        num_workers: processes that read ahead; the bytes are the same.
        validation_questions: questions of each validation split, the same ones every time.
        validation_batch_size: questions that are answered together in validation. None takes as
            many as a microbatch may have, so that their memory follows `num_microbatches`.
        caption_steps: steps before all others in which visual tokens and fusion learn from captions
            while the decoder is frozen (the first stage of LLaVA, Liu et al. 2023,
            arXiv:2304.08485, section 4.2).
        mixture: how often the other steps learn from questions and from captions.
        max_description_tokens: longest description, in tokens, if the mixture has captions.
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
    validation_batch_size: int | None = 64
    caption_steps: int = 0
    word_dropout: float = 0.0
    naming: NamingConfig = field(default_factory=NamingConfig)
    mixture: MixtureConfig = field(default_factory=MixtureConfig)
    max_description_tokens: int = 64

    @property
    def uses_captions(self) -> bool:
        """Whether it trains on captions, first or among the questions."""
        return bool(self.caption_steps or self.mixture.captions)

    @property
    def answers_at_once(self) -> int:
        """How many validation questions are answered together."""
        microbatch = self.batch_size // self.num_microbatches
        return self.validation_batch_size or microbatch * self.max_questions

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(
            self, 1, "max_questions", "max_new_tokens", "max_length", "validation_questions",
            "validation_batch_size", "max_description_tokens",
        )  # fmt: skip
        check_at_least(self, 0, "num_workers", "caption_steps")
        check_share(self, "label_smoothing", "ema_decay", "word_dropout")
        check_positive(self, "projector_learning_rate")
