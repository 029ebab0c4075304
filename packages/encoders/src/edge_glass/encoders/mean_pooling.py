"""Mean pooling: the patch tokens of an image become their mean.

What is unusual: nothing chooses between patches, so a step of training takes half the time of
attention, and there is no attention to show.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from edge_glass.encoders.attention_pooling import check_features
from edge_glass.encoders.base import Pooling


class MeanPooling(Pooling):
    """The normalised mean of the normalised patch tokens."""

    num_tokens = 1

    def __init__(self, input_width: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.input_width = self.width = input_width
        self.grid = grid
        self.input_norm = nn.LayerNorm(input_width, elementwise_affine=False)
        self.output_norm = nn.LayerNorm(input_width)

    def forward(self, features: Float[Tensor, "B P Din"]) -> Float[Tensor, "B N W"]:
        check_features(features, self.input_width, self.grid)
        pooled: Tensor = self.output_norm(self.input_norm(features).mean(dim=1, keepdim=True))
        return pooled


@dataclass(frozen=True, kw_only=True)
class MeanPoolingConfig:
    """A mean pooling has no options."""

    def build(self, input_width: int, grid: tuple[int, int]) -> MeanPooling:
        """Builds the pooling for tokens of this width on this grid of rows and columns."""
        return MeanPooling(input_width, grid)
