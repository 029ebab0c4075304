"""The config of a dual encoder, and how it is written to and read from a checkpoint.

It holds all that ``from_pretrained`` needs: the three components by name with their options, the
widths that they were joined at, and the heads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Literal

from edge_glass.encoders.attention_pooling import check_probability
from edge_glass.encoders.base import (
    PoolingConfig,
    TextEncoder,
    TextEncoderConfig,
    VisionEncoder,
    VisionEncoderConfig,
)
from edge_glass.encoders.matryoshka import MatryoshkaProjection, ProjectionKind, check_dims
from edge_glass.encoders.tables import POOLINGS
from edge_glass.encoders.towers.grid_average import with_grid
from edge_glass.encoders.towers.tables import TEXT_ENCODERS, VISION_ENCODERS

if TYPE_CHECKING:
    from edge_glass.encoders.dual_encoder import DualEncoder

MODEL = "dual_encoder"


@dataclass(frozen=True, kw_only=True)
class DualEncoderConfig:
    """What a dual encoder is made of.

    Attributes:
        vision_encoder, text_encoder, pooling: names in ``tables`` or of an entry point.
        vision_encoder_config, text_encoder_config, pooling_config: their options.
        image_width: numbers in a patch token of the vision encoder.
        grid: its rows and columns of patch tokens.
        text_width: numbers in a vector of the text encoder.
        matryoshka_dims: strictly descending; the first is the width of the embeddings.
        projection: ``linear``, or ``mlp``, which adds a two-layer MLP to each head.
        hidden_width: of the MLP; the largest dim where None.
        image_dropout, text_dropout: share of a head's inputs that is zeroed in training.
        token_reduction: ``mean`` over a picture's visual tokens, or ``flatten``.
        init_logit_scale: logarithm of the inverse temperature at the start; CLIP's 1 / 0.07.
    """

    vision_encoder: str
    vision_encoder_config: VisionEncoderConfig
    text_encoder: str
    text_encoder_config: TextEncoderConfig
    pooling: str
    pooling_config: PoolingConfig
    image_width: int
    grid: tuple[int, int]
    text_width: int
    matryoshka_dims: tuple[int, ...]
    projection: ProjectionKind = "linear"
    hidden_width: int | None = None
    image_dropout: float = 0.0
    text_dropout: float = 0.0
    token_reduction: Literal["mean", "flatten"] = "mean"
    init_logit_scale: float = math.log(1 / 0.07)

    def __post_init__(self) -> None:
        """Checks the fields.

        Raises:
            ValueError: where a field can't work.
        """
        check_dims(self.matryoshka_dims)
        check_probability("image_dropout", self.image_dropout)
        check_probability("text_dropout", self.text_dropout)
        if self.projection not in ("linear", "mlp"):
            raise ValueError(f"projection is {self.projection!r}, expected 'linear' or 'mlp'")
        if self.token_reduction not in ("mean", "flatten"):
            raise ValueError(
                f"token_reduction is {self.token_reduction!r}, expected 'mean' or 'flatten'"
            )

    def build(self, *, load_encoders: bool = False) -> DualEncoder:
        """Builds the model with fresh weights, drawn from torch's global generator.

        Args:
            load_encoders: also builds the frozen encoders; training works on features without.

        Raises:
            ValueError: where an encoder's width or grid is not the one given here.
        """
        from edge_glass.encoders.dual_encoder import DualEncoder  # which imports this module

        vision, text = self.build_encoders() if load_encoders else (None, None)
        return DualEncoder(self, vision=vision, text=text)

    def build_head(self, input_width: int, dropout: float) -> MatryoshkaProjection:
        """Builds one of the two heads, with fresh weights."""
        return MatryoshkaProjection(
            input_width,
            self.matryoshka_dims,
            kind=self.projection,
            hidden_width=self.hidden_width,
            dropout=dropout,
        )

    def build_encoders(self) -> tuple[VisionEncoder, TextEncoder]:
        """Builds both frozen encoders."""
        return self.build_vision_encoder(), self.text_encoder_config.build()

    def build_vision_encoder(self) -> VisionEncoder:
        """Builds the frozen vision encoder, averaged to this model's grid where its own is finer.

        Raises:
            ValueError: where the model's grid does not divide the encoder's.
        """
        return with_grid(self.vision_encoder_config.build(), self.grid)

    def check_encoders(self, vision: VisionEncoder | None, text: TextEncoder | None) -> None:
        """Checks encoders against the widths that the model is built for.

        Raises:
            ValueError: where a width or the grid differs.
        """
        if vision is not None and (vision.width, vision.grid) != (self.image_width, self.grid):
            raise ValueError(
                f"{self.vision_encoder} has width {vision.width} and grid {vision.grid}, expected "
                f"{self.image_width} and {self.grid}: use the encoder that the model was trained "
                "with, or train it again"
            )
        if text is not None and text.width != self.text_width:
            raise ValueError(
                f"{self.text_encoder} has width {text.width}, expected {self.text_width}: use the "
                "encoder that the model was trained with, or train it again"
            )

    def check_truncate_dim(self, dim: int | None) -> None:
        """Checks a dim to truncate to, before any picture is encoded.

        Raises:
            ValueError: where it is out of range.
        """
        largest = self.matryoshka_dims[0]
        if dim is not None and not 1 <= dim <= largest:
            raise ValueError(
                f"truncate_dim is {dim}, expected 1 to {largest}; trained are "
                f"{list(self.matryoshka_dims)}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Gives what JSON can hold, for config.json."""
        return {"model": MODEL, **asdict(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DualEncoderConfig:
        """Reads what ``to_dict`` gave.

        Raises:
            ValueError: where it is no dual encoder's config, or a name or field is unknown.
        """
        values = dict(values)
        if values.pop("model", None) != MODEL:
            raise ValueError(f"the config is not that of a {MODEL}: expected 'model': '{MODEL}'")
        for kind, table in TABLES.items():
            if kind not in values:
                raise ValueError(f"the config lacks {kind!r}")
            config_class = _find(kind, values[kind], table)
            options = values.get(f"{kind}_config")
            values[f"{kind}_config"] = _dataclass(config_class, options, f"{kind}_config")
        config: DualEncoderConfig = _dataclass(cls, values, "the config")
        return config


TABLES = {
    "vision_encoder": VISION_ENCODERS,
    "text_encoder": TEXT_ENCODERS,
    "pooling": POOLINGS,
}


def _find(kind: str, name: object, table: Mapping[str, type[Any]]) -> type[Any]:
    if isinstance(name, str) and name in table:
        return table[name]
    group = f"edge_glass.{kind}s"
    found = {point.name: point for point in entry_points(group=group)}
    if not isinstance(name, str) or name not in found:
        raise ValueError(
            f"{kind} is {name!r}, expected one of {sorted({*table, *found})}; "
            f"a third party's needs its package installed (entry points of {group!r})"
        )
    config_class: type[Any] = found[name].load()
    return config_class


def _dataclass(config_class: type[Any], options: Any, where: str) -> Any:
    if not isinstance(options, Mapping):
        raise ValueError(f"{where} is {options!r}, expected an object of options")
    unknown = sorted(set(options) - {field.name for field in fields(config_class)})
    if unknown:
        raise ValueError(f"{where} has unknown fields {unknown} for {config_class.__name__}")
    # JSON has no tuples, and frozen configs no lists.
    values = {key: tuple(v) if isinstance(v, list) else v for key, v in options.items()}
    try:
        return config_class(**values)
    except TypeError as error:  # a field that has no default is missing
        raise ValueError(f"{where}: {error}") from error
