"""`params.yaml` as typed, frozen data, checked whole before any work starts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from edge_glass.fusion.config import ConfigError, component, validate
from edge_glass.fusion.visual_tokens import VisualTokensConfig


@dataclass(frozen=True, kw_only=True)
class DatasetConfig:
    """Where the Parquet files of a data set lie: a file or a folder of files each."""

    captions: str
    questions: str


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """What `prepare` keeps.

    Attributes:
        min_side: pictures with a side of fewer pixels are dropped.
        max_aspect: pictures with long side / short side above this are dropped.
        max_caption_length: captions (and answers) of more characters are dropped, never cut.
        shares: split name to share of the pictures, used where the data name no split.
    """

    min_side: int
    max_aspect: float
    max_caption_length: int
    shares: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class EncodeConfig:
    """How the frozen encoders run.

    Attributes:
        caption_image_size: pixels a side for the pictures with captions.
        question_image_size: pixels a side for the pictures with questions.
        batch_size: pictures a forward pass.
        dtype: of the cached visual features.
    """

    caption_image_size: int
    question_image_size: int
    batch_size: int
    dtype: Literal["float16", "float32"]


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
    dropout: float = 0.0
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
        optim: the optimizer.
        log_steps: curves are written every so many steps.
        checkpoint_steps: the state for a resume is saved every so many steps.
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


@dataclass(frozen=True, kw_only=True)
class EvaluateVlmQaConfig:
    """How answers are scored: questions a batch, and questions shown on the sheet."""

    batch_size: int
    sheet_questions: int


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A component chosen by name: its plain options (as written to artefacts) and its config."""

    name: str
    options: dict[str, Any]
    config: Any = field(repr=False)

    def saved(self) -> dict[str, Any]:
        return {"name": self.name, "options": self.options}


STAGES: dict[str, type[Any]] = {
    "prepare": PrepareConfig,
    "encode": EncodeConfig,
    "align": AlignConfig,
    "evaluate_align": EvaluateAlignConfig,
    "vlm_qa": VlmQaConfig,
    "evaluate_vlm_qa": EvaluateVlmQaConfig,
}
KINDS = {
    "vision_encoder": "vision_encoders",
    "text_encoder": "text_encoders",
    "pooling": "poolings",
    "fusion": "fusions",
    "decoder": "decoders",
}


@dataclass(frozen=True, kw_only=True)
class Params:
    """The whole configuration, with the chosen options only."""

    seed: int
    scale: str
    num_threads: int
    data_name: str
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


def load_params(path: Path) -> Params:
    """Reads and checks the configuration file.

    Raises:
        ConfigError: naming the place, what was found and what is allowed.
    """
    try:
        raw = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; run in the folder that holds it") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{path}: expected a table, found {type(raw).__name__}")
    return parse_params(raw, where=str(path))


def parse_params(raw: Mapping[str, Any], *, where: str) -> Params:
    """Checks the plain content of a configuration file; see `load_params`."""
    scalars = {"seed": int, "scale": str, "num_threads": int, "data": str}
    allowed = [*scalars, "datasets", *KINDS, *KINDS.values(), *STAGES]
    _check_keys(raw, allowed, where)
    for name, kind in {**scalars, **dict.fromkeys(KINDS, str)}.items():
        if type(raw[name]) is not kind:
            raise ConfigError(
                f"{where}: {name} is {raw[name]!r} ({type(raw[name]).__name__}), "
                f"expected {kind.__name__}"
            )
    if raw["num_threads"] < 1:
        raise ConfigError(f"{where}: num_threads is {raw['num_threads']}, expected 1 or more")
    options = _pick(raw["datasets"], raw["data"], "data", f"{where}: datasets")
    data = validate(DatasetConfig, options, where=f"{where}: datasets.{raw['data']}")
    parts: dict[str, Any] = {
        kind: _choose(raw, kind, table, where) for kind, table in KINDS.items()
    }
    for stage, cls in STAGES.items():
        options = _pick(raw[stage], raw["scale"], "scale", f"{where}: {stage}")
        parts[stage] = validate(cls, options, where=f"{where}: {stage}.{raw['scale']}")
    return Params(
        seed=raw["seed"],
        scale=raw["scale"],
        num_threads=raw["num_threads"],
        data_name=raw["data"],
        data=data,
        **parts,
    )


def _check_keys(raw: Mapping[str, Any], allowed: list[str], where: str) -> None:
    unknown = sorted(set(raw) - set(allowed))
    if unknown:
        raise ConfigError(f"{where}: unknown {', '.join(unknown)}; allowed: {', '.join(allowed)}")
    missing = [name for name in allowed if name not in raw]
    if missing:
        raise ConfigError(f"{where}: {', '.join(missing)} missing; add it")


def _pick(table: Any, name: str, what: str, where: str) -> Mapping[str, Any]:
    if not isinstance(table, Mapping) or name not in table:
        known = ", ".join(map(str, table)) if isinstance(table, Mapping) else repr(table)
        raise ConfigError(f"{where}: {what} is {name!r}, which is not there; choose one of {known}")
    options: Mapping[str, Any] = table[name]
    return options


def _choose(raw: Mapping[str, Any], kind: str, table: str, where: str) -> Choice:
    """Checks every option table of a kind, and returns the chosen one."""
    options = _pick(raw[table], raw[kind], kind, f"{where}: {table}")
    for name, each in raw[table].items():
        component(kind, name, each, where=f"{where}: {table}.{name}")
    config = component(kind, raw[kind], options, where=f"{where}: {table}.{raw[kind]}")
    return Choice(name=raw[kind], options=dict(options), config=config)


def fingerprint(params: Params, *names: str) -> str:
    """Returns a hash of the named parts of the configuration and of the installed sources.

    A saved state of another configuration or of other code must not be resumed.
    """
    import hashlib
    import json
    from importlib import import_module

    digest = hashlib.sha256()
    for name in names:
        value = getattr(params, name)
        if isinstance(value, Choice):
            value = value.saved()
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            value = dataclasses.asdict(value)
        digest.update(json.dumps([name, value], sort_keys=True).encode())
    for portion in ("encoders", "decoders", "fusion", "training"):
        folder = Path(str(import_module(f"edge_glass.{portion}").__file__)).parent
        for source in sorted(folder.rglob("*.py")):
            digest.update(source.read_bytes())
    return digest.hexdigest()
