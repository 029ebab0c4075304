"""Visual tokens: the part of an image's features that a decoder reads.

`grid` keeps every patch and adds its row and column, so that position, colour and number survive;
`pooled` takes the few tokens of the aligned pooling; `both` concatenates them. `llava` is the
projector of LLaVA 1.5 (Liu et al. 2023, arXiv:2310.03744, section 3.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from edge_glass.encoders.base import Pooling
from edge_glass.encoders.limits import MAX_WIDTH, check_between, check_share


@dataclass(frozen=True, kw_only=True)
class VisualTokensConfig:
    """Options of the visual side of a vision-language model.

    Attributes:
        kind: "grid", "pooled" (the aligned pooling), "both", or "llava", which needs the fusion
            `concat` with `projector: none`.
        width: width of a visual token; for "llava" the decoder's width.
        dropout: probability of dropping an input feature, in [0, 1).
        train_pooling: whether the aligned pooling is trained further; otherwise it is frozen.
    """

    kind: Literal["grid", "pooled", "both", "llava"] = "grid"
    width: int = 256
    dropout: float = 0.0
    train_pooling: bool = False

    def __post_init__(self) -> None:
        check_between(self, 1, MAX_WIDTH, "width")
        check_share(self, "dropout")

    @property
    def uses_pooling(self) -> bool:
        """Whether the tokens need the aligned pooling."""
        return self.kind in ("pooled", "both")


class GridTokens(nn.Module):
    """Projects features (B, P, Din) to tokens (B, P, width) and adds row and column embeddings."""

    def __init__(self, input_width: int, width: int, grid: tuple[int, int]) -> None:
        super().__init__()
        rows, columns = grid
        self.grid = grid
        self.norm = nn.LayerNorm(input_width)
        self.projection = nn.Linear(input_width, width)
        self.row = nn.Parameter(torch.randn(rows, 1, width) * 0.5)
        self.column = nn.Parameter(torch.randn(1, columns, width) * 0.5)

    def forward(self, features: Float[Tensor, "B P Din"]) -> Float[Tensor, "B P D"]:
        rows, columns = self.grid
        if features.shape[1] != rows * columns:
            raise ValueError(
                f"features hold {features.shape[1]} patches, expected {rows} x {columns}; encode "
                "the images at the size that the model was trained with"
            )
        position = (self.row + self.column).flatten(0, 1)  # (P, D)
        tokens: Tensor = self.projection(self.norm(features)) + position
        return tokens


class VisualTokens(nn.Module):
    """Turns features (B, P, Din) into visual tokens (B, N, width), see `VisualTokensConfig`."""

    def __init__(
        self,
        config: VisualTokensConfig,
        *,
        input_width: int,
        grid: tuple[int, int],
        pooling: Pooling | None,
    ) -> None:
        super().__init__()
        self.config = config
        self.width = config.width
        self.dropout = nn.Dropout(config.dropout)
        self.grid_tokens: GridTokens | None = None
        self.pooling: Pooling | None = None
        if config.kind in ("grid", "both"):
            self.grid_tokens = GridTokens(input_width, config.width, grid)
        self.llava_projector: nn.Sequential | None = None
        if config.kind == "llava":
            self.llava_projector = nn.Sequential(
                nn.Linear(input_width, config.width),
                nn.GELU(),
                nn.Linear(config.width, config.width),
            )
        if config.uses_pooling:
            assert pooling is not None  # VlmConfig checks it
            self.pooling = pooling.requires_grad_(config.train_pooling)
            self.pooled_projection = nn.Sequential(
                nn.LayerNorm(pooling.width), nn.Linear(pooling.width, config.width)
            )

    def forward(self, features: Float[Tensor, "B P Din"]) -> Float[Tensor, "B N D"]:
        features = self.dropout(features)
        tokens = []
        if self.pooling is not None:
            tokens.append(self.pooled_projection(self.pooling(features)))
        if self.grid_tokens is not None:
            tokens.append(self.grid_tokens(features))
        if self.llava_projector is not None:
            tokens.append(self.llava_projector(features))
        return torch.cat(tokens, dim=1)

    def patch_weights(self, features: Float[Tensor, "B P Din"]) -> Float[Tensor, "B N P"] | None:
        """Returns how much each visual token takes of each patch; each row sums to 1.

        A token of the grid is one patch. It is None if the pooling has no weights.
        """
        weights = []
        if self.pooling is not None:
            pooled = self.pooling.attention_weights(features)
            if pooled is None:
                return None
            weights.append(pooled)
        if self.grid_tokens is not None or self.llava_projector is not None:
            batch, patches = features.shape[:2]
            weights.append(torch.eye(patches, device=features.device).expand(batch, -1, -1))
        return torch.cat(weights, dim=1)
