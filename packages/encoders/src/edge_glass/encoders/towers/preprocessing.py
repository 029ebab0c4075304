"""PIL images to normalised tensors: `images.to_rgb`, then `square.fit_square`, then the numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from edge_glass.encoders.images import to_rgb
from edge_glass.encoders.towers.square import WHITE, Fit, Resample, fit_square

PadColor = Literal["mean", "white"]


@dataclass(frozen=True, kw_only=True)
class ImageTransform:
    """Turns a PIL image into a square, normalised tensor; it can be sent to other processes.

    Attributes:
        image_size: side of the square in pixels.
        fit: `pad` shows the whole image between bars; `crop` shows its largest central square.
        mean: subtracted from red, green and blue, which are 0 to 1.
        std: divides the differences.
        pad_color: bars of the mean colour (0 after normalising) or white.
        resample: the filter that resizes; all are antialiased.
    """

    image_size: int
    fit: Fit
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    pad_color: PadColor = "mean"
    resample: Resample = "bicubic"

    def __post_init__(self) -> None:
        if self.image_size < 1:
            raise ValueError(f"image_size is {self.image_size}, expected at least 1 pixel")
        if self.fit not in ("pad", "crop"):
            raise ValueError(f"fit is {self.fit!r}, expected 'pad' or 'crop'")
        if self.pad_color not in ("mean", "white"):
            raise ValueError(f"pad_color is {self.pad_color!r}, expected 'mean' or 'white'")

    def __call__(self, image: Image.Image) -> Float[Tensor, "3 H W"]:
        """Transforms one image.

        Raises:
            BadImageError: if the image can't be shown as RGB.
        """
        color = tuple(round(255 * c) for c in self.mean) if self.pad_color == "mean" else WHITE
        square = fit_square(to_rgb(image), self.image_size, self.fit, color, self.resample)
        pixels = np.asarray(square, dtype=np.float32)  # (H, W, 3), 0 to 255
        scale = 1.0 / (255.0 * np.asarray(self.std))
        shift = -np.asarray(self.mean) / np.asarray(self.std)
        normalised = pixels * scale.astype(np.float32) + shift.astype(np.float32)
        return torch.from_numpy(normalised.transpose(2, 0, 1).copy())


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
