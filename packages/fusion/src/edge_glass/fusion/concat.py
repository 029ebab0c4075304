"""Concat fusion: visual tokens pass an MLP and stand in front of the prompt (as in LLaVA).

Source: Liu et al. 2023, "Improved Baselines with Visual Instruction Tuning" (two-layer projector).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from edge_glass.encoders.limits import MAX_WIDTH, check_between, check_share
from edge_glass.fusion.base import Fusion


@dataclass(frozen=True, kw_only=True)
class ConcatConfig:
    """Options of `concat`.

    Attributes:
        projector: "mlp", or "none" for visual tokens that are a projector's output already, see
            `VisualTokensConfig.kind`.
        hidden_dim: inner width of the MLP; None means the decoder's width.
        dropout: probability of dropping a hidden unit of the MLP, in [0, 1).
    """

    projector: Literal["mlp", "none"] = "mlp"
    hidden_dim: int | None = None
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_between(self, 1, MAX_WIDTH, "hidden_dim")
        check_share(self, "dropout")

    def build(self, *, visual_width: int, width: int) -> ConcatFusion:
        return ConcatFusion(self, visual_width, width)


class ConcatFusion(Fusion):
    """N visual tokens become N prefix positions of the decoder's width."""

    def __init__(self, config: ConcatConfig, visual_width: int, width: int) -> None:
        super().__init__(visual_width, width)
        hidden = config.hidden_dim or width
        if config.projector == "none":
            if visual_width != width:
                raise ValueError(
                    f"projector is none, visual tokens are {visual_width} wide and the decoder "
                    f"{width}; set visual_tokens.width: {width}"
                )
            self.projector = nn.Sequential()
            return
        self.projector = nn.Sequential(
            nn.LayerNorm(visual_width),
            nn.Linear(visual_width, hidden),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(hidden, width),
            # Brings the prefix to the scale that RMS-normed decoders expect of word embeddings.
            nn.LayerNorm(width),
        )

    def prefix(self, visual: Float[Tensor, "B N Dv"]) -> Float[Tensor, "B N D"]:
        projected: Tensor = self.projector(visual)
        if not self.reading_width:
            return projected
        # as it is: an answer that names an object copies it
        return projected + visual[..., : self.reading_width]

    def extend(
        self, visual: Float[Tensor, "B N Dv"], text_embeds: Float[Tensor, "B T D"]
    ) -> Float[Tensor, "B T D"]:
        del visual  # The prefix holds all of it.
        return text_embeds
