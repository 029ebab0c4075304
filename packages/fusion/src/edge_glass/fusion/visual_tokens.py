"""Visual tokens: the part of an image's features that a decoder reads.

`grid` keeps every patch and adds its row and column, so that position, colour and number survive;
`pooled` takes the few tokens of the aligned pooling; `both` concatenates them. `llava` is the
projector of LLaVA 1.5 (Liu et al. 2023, arXiv:2310.03744, section 3.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from edge_glass.encoders.base import Pooling
from edge_glass.encoders.limits import MAX_WIDTH, check_between, check_share
from edge_glass.fusion.word_matches import AlignedPatches

SMALLEST_DEVIATION = 1e-6  # if all images are equal


@dataclass(frozen=True, kw_only=True)
class VisualTokensConfig:
    """Options of the visual side of a vision-language model.

    Attributes:
        kind: "grid", "pooled" (the aligned pooling), "both", or "llava", which needs the fusion
            `concat` with `projector: none`.
        width: width of a visual token; for "llava" the decoder's width.
        dropout: probability of dropping an input feature, in [0, 1).
        train_pooling: whether the aligned pooling is trained further; otherwise it is frozen.
        aligned_dim: the first so many dims of the aligned space follow in each visual token, and
            words are matched with them, see `word_matches.py`; 0 for none. It needs kind "grid".
        norm: of a feature token of kind "grid" or "both". "token" is LayerNorm. "channel" takes
            the mean and deviation of each channel over the training images, and gives each layer of
            the vision encoder an equal share; see `ChannelNorm`.
    """

    kind: Literal["grid", "pooled", "both", "llava"] = "grid"
    width: int = 256
    dropout: float = 0.0
    train_pooling: bool = False
    aligned_dim: int = 0
    norm: Literal["token", "channel"] = "token"

    def __post_init__(self) -> None:
        check_between(self, 1, MAX_WIDTH, "width")
        check_between(self, 0, MAX_WIDTH, "aligned_dim")
        check_share(self, "dropout")
        if self.aligned_dim and self.kind != "grid":
            raise ValueError(
                f"aligned_dim is {self.aligned_dim} and kind is {self.kind!r}: only tokens of kind "
                "'grid' are patches that words can be matched with; set aligned_dim: 0"
            )

    @property
    def full_width(self) -> int:
        """Width of a visual token, its aligned dims included."""
        return self.width + self.aligned_dim

    @property
    def uses_pooling(self) -> bool:
        """Whether the tokens need the aligned pooling."""
        return self.kind in ("pooled", "both")


class ChannelNorm(nn.Module):
    """(x - mean) * scale for each channel, with fixed numbers from the training images.

    A token joins layers of different widths: with LayerNorm the two layers that show colours have
    4 % of its variance, and most of the rest is the same for every image. Questions about colours
    then stay at chance for hundreds of steps.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))

    def forward(self, features: Float[Tensor, "B P Din"]) -> Float[Tensor, "B P Din"]:
        return (features - self.mean) * self.scale

    def fit(self, tokens: Float[Tensor, "M Din"], parts: Sequence[int]) -> None:
        """Takes mean and deviation from tokens; `parts` are the widths of the layers.

        The numbers are rounded to bfloat16, so that the order of a CPU's sums does not change them.
        """
        exact = tokens.double()
        deviation = exact.var(dim=0, correction=0).sqrt()
        equal = len(exact[0]) / len(parts)  # the variance of a layer, the sum of its channels
        shares = torch.cat([torch.full((part,), (equal / part) ** 0.5) for part in parts])
        # a channel that hardly ever changes is not blown up
        floor = max(0.1 * float(deviation.mean()), SMALLEST_DEVIATION)
        scale = shares / (deviation + floor)
        self.mean.copy_(exact.mean(dim=0).bfloat16())
        self.scale.copy_(scale.bfloat16())


class GridTokens(nn.Module):
    """Projects features (B, P, Din) to tokens (B, P, width) and adds row and column embeddings."""

    def __init__(
        self, input_width: int, width: int, grid: tuple[int, int], norm: Literal["token", "channel"]
    ) -> None:
        super().__init__()
        rows, columns = grid
        self.grid = grid
        self.norm = ChannelNorm(input_width) if norm == "channel" else nn.LayerNorm(input_width)
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
        aligned: AlignedPatches | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        assert (aligned is not None) == (config.aligned_dim > 0)  # VlmConfig checks it
        self.width = config.full_width
        self.aligned = aligned
        self.dropout = nn.Dropout(config.dropout)
        self.grid_tokens: GridTokens | None = None
        self.pooling: Pooling | None = None
        if config.kind in ("grid", "both"):
            self.grid_tokens = GridTokens(input_width, config.width, grid, config.norm)
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
        aligned = None if self.aligned is None else self.aligned(features)
        features = self.dropout(features)
        tokens = []
        if self.pooling is not None:
            tokens.append(self.pooled_projection(self.pooling(features)))
        if self.grid_tokens is not None:
            tokens.append(self.grid_tokens(features))
        if self.llava_projector is not None:
            tokens.append(self.llava_projector(features))
        visual = torch.cat(tokens, dim=1)
        return visual if aligned is None else torch.cat([visual, aligned], dim=-1)

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
