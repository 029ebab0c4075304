"""A fusion that puts one vector in front of the text: the mean of the visual tokens."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from edge_glass.fusion.base import Fusion


@dataclass(frozen=True, kw_only=True)
class MeanConfig:
    """Options of `mean`.

    Attributes:
        bias: whether the projection has a bias.
    """

    bias: bool = True

    def build(self, *, visual_width: int, width: int) -> MeanFusion:
        return MeanFusion(self, visual_width, width)


class MeanFusion(Fusion):
    """Projects the mean visual token to the decoder's width; the text stays as it is."""

    def __init__(self, config: MeanConfig, visual_width: int, width: int) -> None:
        super().__init__(visual_width, width)
        self.projection = nn.Linear(visual_width, width, bias=config.bias)

    def prefix(self, visual: Float[Tensor, "B N Dv"]) -> Float[Tensor, "B 1 D"]:
        projected: Tensor = self.projection(visual.mean(dim=1, keepdim=True))
        return projected

    def extend(
        self, visual: Float[Tensor, "B N Dv"], text_embeds: Float[Tensor, "B T D"]
    ) -> Float[Tensor, "B T D"]:
        del visual  # all of it is in the prefix
        return text_embeds
