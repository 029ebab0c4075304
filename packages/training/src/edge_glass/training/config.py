"""The configuration as typed, frozen data; `params.py` fills it from `params.yaml`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from edge_glass.fusion.visual_tokens import VisualTokensConfig
from edge_glass.training.data.augmentation import AugmentationConfig
from edge_glass.training.data.filters import PrepareConfig as PrepareConfig


@dataclass(frozen=True, kw_only=True)
class DatasetConfig:
    """Where a data set's Parquet files lie in the data folder: a file or a folder, or several.

    Attributes:
        captions: of pixmo-cap.
        questions: of any other PixMo sub-set; each file is known by its columns.
    """

    captions: str | tuple[str, ...]
    questions: str | tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class EncodeConfig:
    """How the frozen encoders run.

    Attributes:
        caption_image_size: pixels a side for the pictures with captions.
        question_image_size: pixels a side for the pictures with questions.
        batch_size: pictures a forward pass.
        dtype: of the cached visual features.
        rows_per_shard: pictures a file of the cache, a multiple of `batch_size`; a kill loses at
            most one file's work.
        texts_per_shard: distinct captions a file; they are encoded together.
        pool: "none" keeps all of the encoder's places, "mean" one token a picture, a number K the
            means of K x K parts.
    """

    caption_image_size: int
    question_image_size: int
    batch_size: int
    dtype: Literal["float16", "float32"]
    rows_per_shard: int
    texts_per_shard: int = 65536
    pool: Literal["none", "mean"] | int = "none"

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.rows_per_shard < 1 or self.rows_per_shard % self.batch_size:
            below = max(1, self.rows_per_shard // max(1, self.batch_size)) * self.batch_size
            raise ValueError(
                f"rows_per_shard is {self.rows_per_shard}, expected a multiple of batch_size "
                f"{self.batch_size}, such as {below}: another batch gives other last bits"
            )
        if self.texts_per_shard < 1:
            raise ValueError(f"texts_per_shard is {self.texts_per_shard}, expected 1 or more")
        if isinstance(self.pool, int) and self.pool < 1:
            raise ValueError(f"pool is {self.pool}, expected none, mean or tokens a side")


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """AdamW with linear warm-up and cosine decay.

    Attributes:
        learning_rate: peak rate.
        weight_decay: on matrices only, not on norms and biases.
        warmup_steps: steps of linear rise.
        max_grad_norm: gradient norm is clipped to this.
        beta2: second-moment decay.
    """

    learning_rate: float
    weight_decay: float
    warmup_steps: int
    max_grad_norm: float = 1.0
    beta2: float = 0.98


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """The Matryoshka heads, see `DualEncoderConfig`: same names, same meaning."""

    projection: Literal["linear", "mlp"] = "linear"
    hidden_width: int | None = None
    image_dropout: float = 0.0
    text_dropout: float = 0.0
    token_reduction: Literal["mean", "flatten"] = "mean"
    init_logit_scale: float = 2.659  # ln(1 / 0.07), as in CLIP


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


@dataclass(frozen=True, kw_only=True)
class EvaluateAlignConfig:
    """How retrieval is scored: cut-offs, candidates a block, bootstrap resamples, t-SNE points."""

    ks: tuple[int, ...]
    block_size: int
    bootstrap_samples: int
    tsne_points: int


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


@dataclass(frozen=True, kw_only=True)
class EvaluateVlmQaConfig:
    """How answers are scored: questions a batch, and questions shown on the sheet."""

    batch_size: int
    sheet_questions: int


@dataclass(frozen=True, kw_only=True)
class LaunchConfig:
    """How the processes of `vlm_qa` come about.

    Attributes:
        num_processes: that the command starts by itself on this machine. Under `torchrun` (several
            machines, say) it counts for nothing: the command joins what there is.
    """

    num_processes: int = 1

    def __post_init__(self) -> None:
        if self.num_processes < 1:
            raise ValueError(f"num_processes is {self.num_processes}, expected 1 or more")


@dataclass(frozen=True, kw_only=True)
class DeepSpeedLaunchConfig(LaunchConfig):
    """DeepSpeed's file besides; sizes and clipping in it are filled in from `vlm_qa`."""

    config: str


LAUNCHES: dict[str, type[LaunchConfig]] = {
    "tree": LaunchConfig,
    "ddp": LaunchConfig,
    "deepspeed_zero2": DeepSpeedLaunchConfig,
}


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A component chosen by name: its plain options (as written to artefacts) and its config."""

    name: str
    options: dict[str, Any]
    config: Any = field(repr=False)

    def saved(self) -> dict[str, Any]:
        return {"name": self.name, "options": self.options}


@dataclass(frozen=True, kw_only=True)
class Params:
    """The whole configuration, with the chosen options only."""

    seed: int
    scale: str
    num_threads: int
    device: Literal["cpu", "cuda"]
    reproducibility: Literal["portable", "native"]
    launch: Choice
    data_name: str
    data_folder: str
    data: DatasetConfig
    vision_encoder: Choice
    text_encoder: Choice
    pooling: Choice
    fusion: Choice
    decoder: Choice
    prepare: PrepareConfig
    encode: EncodeConfig
    align: AlignConfig
    evaluate_align: EvaluateAlignConfig
    vlm_qa: VlmQaConfig
    evaluate_vlm_qa: EvaluateVlmQaConfig
