"""The config of a dual encoder, and how it is written to and read from a checkpoint.

It holds all that `from_pretrained` needs: the three components by name with their options, the
dims that they were joined at, and the heads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from edge_glass.encoders.base import TextEncoder, VisionEncoder
from edge_glass.encoders.components import Component, ConfigError, as_options, component, validate
from edge_glass.encoders.limits import MAX_WIDTH, check_between, check_grid, check_share
from edge_glass.encoders.matryoshka import MatryoshkaProjection, ProjectionKind, check_dims
from edge_glass.encoders.towers.grid_average import with_grid

MODEL = "dual_encoder"
PARTS = ("vision_encoder", "text_encoder", "pooling")


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """The two Matryoshka heads and the temperature.

    Attributes:
        projection: `linear`, or `mlp`, which adds a two-layer MLP to each head.
        hidden_width: dim of the MLP; the largest Matryoshka dim if None.
        image_dropout, text_dropout: share of a head's inputs that is zeroed in training.
        token_reduction: `mean` over the visual tokens of an image, or `flatten`.
        init_logit_scale: logarithm of the inverse temperature at the start of training; about
            ln(1 / 0.07), as in CLIP (Radford et al., 2021).
    """

    projection: ProjectionKind = "linear"
    hidden_width: int | None = None
    image_dropout: float = 0.0
    text_dropout: float = 0.0
    token_reduction: Literal["mean", "flatten"] = "mean"
    init_logit_scale: float = 2.659

    def __post_init__(self) -> None:
        check_between(self, 1, MAX_WIDTH, "hidden_width")
        check_between(self, -10, 10, "init_logit_scale")
        check_share(self, "image_dropout", "text_dropout")
        if self.projection not in ("linear", "mlp"):
            raise ValueError(f"projection is {self.projection!r}, expected 'linear' or 'mlp'")
        if self.token_reduction not in ("mean", "flatten"):
            raise ValueError(
                f"token_reduction is {self.token_reduction!r}, expected 'mean' or 'flatten'"
            )


@dataclass(frozen=True, kw_only=True)
class DimsConfig(HeadConfig):
    """All of a dual encoder but its three components.

    Attributes:
        image_width: dim of a patch token of the vision encoder.
        grid: rows and columns of its patch tokens.
        text_width: dim of a vector of the text encoder.
        matryoshka_dims: strictly descending; the first is the dim of the embeddings.
    """

    image_width: int
    grid: tuple[int, int]
    text_width: int
    matryoshka_dims: tuple[int, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        check_between(self, 1, MAX_WIDTH, "image_width", "text_width")
        check_grid(self, "grid")
        check_dims(self.matryoshka_dims)
        if self.matryoshka_dims[0] > MAX_WIDTH:
            raise ValueError(
                f"matryoshka_dims begins with {self.matryoshka_dims[0]}, at most {MAX_WIDTH}"
            )


@dataclass(frozen=True, kw_only=True)
class DualEncoderConfig(DimsConfig):
    """What a dual encoder is made of.

    Attributes:
        vision_encoder, text_encoder: the frozen encoders.
        pooling: from patch tokens to visual tokens.
    """

    vision_encoder: Component
    text_encoder: Component
    pooling: Component

    def build_head(self, input_width: int, dropout: float) -> MatryoshkaProjection:
        """Builds one of the two heads with fresh weights."""
        return MatryoshkaProjection(
            input_width,
            self.matryoshka_dims,
            kind=self.projection,
            hidden_width=self.hidden_width,
            dropout=dropout,
        )

    def build_encoders(self) -> tuple[VisionEncoder, TextEncoder]:
        """Builds both frozen encoders."""
        return self.build_vision_encoder(), self.text_encoder.config.build()

    def build_vision_encoder(self) -> VisionEncoder:
        """Builds the frozen vision encoder; a finer grid is averaged to the grid of this model."""
        return with_grid(self.vision_encoder.config.build(), self.grid)

    def check_encoders(self, vision: VisionEncoder | None, text: TextEncoder | None) -> None:
        """Checks that encoders have the dims and the grid that the model is built for."""
        remedy = "use the encoder that the model was trained with, or train it again"
        if vision is not None and (vision.width, vision.grid) != (self.image_width, self.grid):
            raise ValueError(
                f"{self.vision_encoder.name} has width {vision.width} and grid {vision.grid}, "
                f"expected {self.image_width} and {self.grid}: {remedy}"
            )
        if text is not None and text.width != self.text_width:
            raise ValueError(
                f"{self.text_encoder.name} has width {text.width}, expected {self.text_width}: "
                f"{remedy}"
            )

    def check_truncate_dim(self, dim: int | None) -> None:
        """Checks a dim to truncate to, before anything is encoded."""
        largest = self.matryoshka_dims[0]
        if dim is not None and not 1 <= dim <= largest:
            raise ValueError(
                f"truncate_dim is {dim}, expected 1 to {largest}; the model was trained at "
                f"{list(self.matryoshka_dims)}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Returns the content of config.json: flat, the components as a name and a table each."""
        values = {"model": MODEL, **asdict(self)}
        for kind in PARTS:
            part: Component = getattr(self, kind)
            values |= {kind: part.name, f"{kind}_config": as_options(part.config)}
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, where: str) -> DualEncoderConfig:
        """Reads what `to_dict` returned; errors name the place `where`."""
        rest: dict[str, Any] = dict(values)
        if rest.pop("model", None) != MODEL:
            raise ConfigError(f"{where}: not the config of a {MODEL}: expected 'model': '{MODEL}'")
        parts: dict[str, Any] = {}
        for kind in PARTS:
            name, options = rest.pop(kind, None), rest.pop(f"{kind}_config", None)
            config = component(kind, name, options, where=f"{where}: {kind}_config")
            parts[kind] = Component(name=name, config=config)
        dims = validate(DimsConfig, rest, where=where)
        return cls(**vars(dims), **parts)
