"""The three kinds of component that this package builds.

What is unusual: encoders are always frozen. Their weights take no gradient and `train()` leaves
them in evaluation mode, so that a trainer can't switch on their dropout or batch statistics by
accident.
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
    from edge_glass.encoders.towers.classifier import ClassifierRows
    from edge_glass.encoders.towers.preprocessing import ImageTransform

# Not typing.Self: beartype, which checks shapes in the tests, does not support it here.
FrozenT = TypeVar("FrozenT", bound="FrozenModule")


class FrozenModule(nn.Module):
    """A module without trainable weights that is always in evaluation mode."""

    def freeze(self) -> None:
        """Stops gradients and enters evaluation mode; call it after the weights are loaded."""
        self.requires_grad_(False)
        super().train(False)

    def train(self: FrozenT, mode: bool = True) -> FrozenT:
        """Does nothing: a frozen encoder stays in evaluation mode, even if its parent trains."""
        del mode
        return self


class VisionEncoder(FrozenModule, ABC):
    """Images to patch tokens.

    Attributes:
        width: dim of a token (D).
        grid: rows and columns of tokens; P = rows * columns, row by row from the top left.
        image_size: side of the square input in pixels.
        transform: from a PIL image to the input of the network.
        can_be_recorded: whether all batches of a size run the same kernels on a GPU and copy
            nothing from the CPU, so that a CUDA graph can replay them.
    """

    width: int
    grid: tuple[int, int]
    image_size: int
    transform: ImageTransform
    can_be_recorded: bool = False

    def preprocess(self, images: Sequence[Image.Image]) -> Float[Tensor, "B 3 H W"]:
        """Turns images of any size and mode into the input of the network."""
        if not images:
            return torch.empty(0, 3, self.image_size, self.image_size)
        return torch.stack([self.transform(image) for image in images])

    def check_pixels(self, pixels: Tensor) -> None:
        """Checks that images were preprocessed for this encoder."""
        expected = (3, self.image_size, self.image_size)
        if tuple(pixels.shape[1:]) != expected:
            raise ValueError(
                f"images have shape {tuple(pixels.shape[1:])}, expected {expected}: "
                "call preprocess() first"
            )

    def classifier_rows(self) -> ClassifierRows | None:
        """Returns the classes of the tower's own classifier; None if it has none."""
        return None

    @abstractmethod
    def forward(self, pixels: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B P D"]:
        """Encodes preprocessed images."""

    @torch.no_grad()
    def encode(self, pixels: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B P D"]:
        """Encodes preprocessed images from any device, in the precision of the encoder's device.

        A GPU computes matrix products in bfloat16. Everything that encodes images calls this, so
        that a model answers from the numbers that it was trained on.
        """
        device = next(self.parameters()).device
        if device.type == "cuda" and pixels.device.type == "cpu":
            pixels = pixels.pin_memory()
        pixels = pixels.to(device, non_blocking=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            features: Tensor = self(pixels)
        return features.float()


class TextEncoder(FrozenModule, ABC):
    """Texts to one vector per text.

    Attributes:
        width: dim of a vector (D).
        max_tokens: longer texts are cut to this number of tokens, special tokens included.
    """

    width: int
    max_tokens: int

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> Float[Tensor, "B D"]:
        """Encodes texts; the vector of a text is the same alone and in any batch, within 1e-5."""

    def num_tokens(self, text: str) -> int:
        """Returns how many tokens of a text are read; without a tokenizer, its words count."""
        return min(len(text.split()), self.max_tokens)

    @abstractmethod
    def share_truncated(self, texts: Sequence[str]) -> float:
        """Returns the share of the texts, 0 to 1, that have more than `max_tokens` tokens."""


class Pooling(nn.Module, ABC):
    """Patch tokens to a few tokens.

    Attributes:
        input_width: dim of a patch token (Din).
        width: dim of a pooled token (W).
        num_tokens: pooled tokens per image (N).
    """

    input_width: int
    width: int
    num_tokens: int

    @abstractmethod
    def forward(self, features: Float[Tensor, "B P Din"]) -> Float[Tensor, "B N W"]:
        """Pools a batch of patch tokens."""

    def attention_weights(
        self, features: Float[Tensor, "B P Din"]
    ) -> Float[Tensor, "B N P"] | None:
        """Returns how much each pooled token takes of each patch, the mean over the heads.

        Each row sums to 1. It is None if the pooling has no such weights.
        """
        del features
        return None


class TokenShape(NamedTuple):
    """Rows and columns of patch tokens, and the width of a token."""

    grid: tuple[int, int]
    width: int


@runtime_checkable
class VisionEncoderShape(Protocol):
    """What the config of a vision encoder may offer, so that mistakes show before any work."""

    def token_shape(self, image_size: int) -> TokenShape | None:
        """Returns the shape for images of `image_size` pixels per side.

        It is None if only the weights hold it.

        Raises:
            ValueError: if the encoder does not accept images of this size.
        """


@runtime_checkable
class JoinsLayers(Protocol):
    """What the config of a vision encoder offers if its tokens join several layers."""

    def layer_widths(self, image_size: int) -> tuple[int, ...]:
        """Returns the width of each layer's part of a token, in their order."""


@runtime_checkable
class WaitsForModel(Protocol):
    """What the config of an encoder offers if its entry in params.yaml may name no model."""

    def check_chosen(self) -> None:
        """Checks that a chosen entry is complete.

        Raises:
            ValueError: if it names no model.
        """
