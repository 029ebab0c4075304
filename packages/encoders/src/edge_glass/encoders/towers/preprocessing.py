"""PIL images to normalised tensors: `pixels.PixelTransform` for torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from edge_glass.encoders.towers.pixels import PadColor, PixelTransform
from edge_glass.encoders.towers.square import Fit


@dataclass(frozen=True, kw_only=True)
class ImageTransform(PixelTransform):
    """Turns a PIL image into a square, normalised tensor, see `PixelTransform`."""

    def __call__(self, image: Image.Image) -> Float[Tensor, "3 H W"]:
        """Transforms one image.

        Raises:
            BadImageError: if the image can't be shown as RGB.
        """
        return torch.from_numpy(self.pixels(image))

    def normalizer(self, device: torch.device) -> Callable[[Tensor], Tensor]:
        """Returns what normalises a batch of `square` (B, H, W, 3) to (B, 3, H, W) on a device.

        The numbers are those of a call. Whole numbers of one byte are a quarter of what has to be
        copied to a GPU otherwise.
        """
        scale, shift = (torch.from_numpy(each).to(device) for each in self.scale_and_shift())

        def normalize(squares: Tensor) -> Tensor:
            return (squares.float() * scale + shift).permute(0, 3, 1, 2).contiguous()

        return normalize


def image_transform(
    image_size: int,
    fit: Fit,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    pad_color: PadColor = "mean",
) -> ImageTransform:
    """Makes an `ImageTransform`: from a PIL image to (3, image_size, image_size) float32.

    The notebook patches of the tools package put it in the place of torchvision's `Compose`.
    """
    return ImageTransform(image_size=image_size, fit=fit, mean=mean, std=std, pad_color=pad_color)
