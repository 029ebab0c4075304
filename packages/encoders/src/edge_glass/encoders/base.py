"""The three kinds of component that this package builds.

What is unusual: encoders are frozen for good. Their weights take no gradient and ``train()`` leaves
them in evaluation mode, so a trainer can't switch on their dropout or batch statistics by accident.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

if TYPE_CHECKING:
    from edge_glass.encoders.towers.preprocessing import ImageTransform

# Not typing.Self: the checker that the tests run under does not know it in single methods.
FrozenT = TypeVar("FrozenT", bound="FrozenModule")


class FrozenModule(nn.Module):
    """A module without trainable weights that is always in evaluation mode."""

    def freeze(self) -> None:
        """Stops gradients and enters evaluation mode; call it once the weights are loaded."""
        self.requires_grad_(False)
        super().train(False)

    def train(self: FrozenT, mode: bool = True) -> FrozenT:
        """Does nothing: a frozen encoder stays in evaluation mode, whatever its parent does."""
        del mode
        return self


class VisionEncoder(FrozenModule, ABC):
    """Pictures to patch tokens.

    Attributes:
        width: numbers in a token (D).
        grid: rows and columns of tokens; P = rows * columns, row by row from the top left.
        image_size: side of the square input in pixels.
        transform: what brings a PIL picture to the network's input.
    """

    width: int
    grid: tuple[int, int]
    image_size: int
    transform: ImageTransform

    def preprocess(self, images: Sequence[Image.Image]) -> Float[Tensor, "B 3 H W"]:
        """Brings pictures of any size and mode to the network's input.

        Raises:
            ValueError: where a picture's mode can't be shown as RGB.
        """
        if not images:
            return torch.empty(0, 3, self.image_size, self.image_size)
        return torch.stack([self.transform(image) for image in images])

    @abstractmethod
    def forward(self, pixels: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B P D"]:
        """Encodes preprocessed pictures."""


class TextEncoder(FrozenModule, ABC):
    """Texts to one vector each.

    Attributes:
        width: numbers in a vector (D).
        max_tokens: a text's tokens after this many, special tokens included, are cut.
    """

    width: int
    max_tokens: int

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> Float[Tensor, "B D"]:
        """Encodes texts; a text gets the same vector alone and in any batch, to 1e-5."""

    @abstractmethod
    def share_truncated(self, texts: Sequence[str]) -> float:
        """Tells which share of the texts, 0 to 1, has more than ``max_tokens`` tokens."""


class Pooling(nn.Module, ABC):
    """Patch tokens to a few tokens.

    Attributes:
        input_width: numbers in a patch token.
        width: numbers in a pooled token.
        num_tokens: pooled tokens a picture (N).
    """

    input_width: int
    width: int
    num_tokens: int

    @abstractmethod
    def forward(self, features: Float[Tensor, "B P Din"]) -> Float[Tensor, "B N W"]:
        """Pools a batch of patch tokens."""


@runtime_checkable
class VisionEncoderConfig(Protocol):
    """What every config of a vision encoder can do."""

    def build(self, image_size: int | None = None) -> VisionEncoder:
        """Builds the frozen encoder, at another picture size where one is given."""


class TokenShape(NamedTuple):
    """Rows and columns of patch tokens, and the width of a token."""

    grid: tuple[int, int]
    width: int


@runtime_checkable
class VisionEncoderShape(Protocol):
    """What the config of a vision encoder may offer, so that mistakes show before any work."""

    def token_shape(self, image_size: int) -> TokenShape | None:
        """Returns the shape of the tokens of an image, None if only the weights hold it.

        Args:
            image_size: pixels per side.

        Raises:
            ValueError: The encoder does not accept images of this size.
        """


@runtime_checkable
class TextEncoderConfig(Protocol):
    """What every config of a text encoder can do."""

    def build(self) -> TextEncoder:
        """Builds the frozen encoder."""


@runtime_checkable
class PoolingConfig(Protocol):
    """What every config of a pooling can do."""

    def build(self, input_width: int, grid: tuple[int, int]) -> Pooling:
        """Builds the pooling for tokens of this width on this grid of rows and columns."""
