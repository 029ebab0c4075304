"""PIL images to normalised tensors: the aspect ratio is kept, nothing is squashed or flipped.

A caption with the word "left" must stay true, and a circle must stay round. `images.to_rgb` first
makes upright RGB on white of any mode.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from edge_glass.encoders.images import to_rgb

Fit = Literal["pad", "crop"]
PadColor = Literal["mean", "white"]
Resample = Literal["bicubic", "bilinear", "lanczos"]


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
        square = self._fit_square(to_rgb(image))
        pixels = np.asarray(square, dtype=np.float32)  # (H, W, 3), 0 to 255
        scale = 1.0 / (255.0 * np.asarray(self.std))
        shift = -np.asarray(self.mean) / np.asarray(self.std)
        normalised = pixels * scale.astype(np.float32) + shift.astype(np.float32)
        return torch.from_numpy(normalised.transpose(2, 0, 1).copy())

    def _fit_square(self, image: Image.Image) -> Image.Image:
        size, (width, height) = self.image_size, image.size
        resample = Image.Resampling[self.resample.upper()]
        if self.fit == "crop":
            side = min(width, height)
            left, top = (width - side) / 2, (height - side) / 2
            # One resampling from the exact square, so that rounding stretches no axis.
            box = (left, top, left + side, top + side)
            return image.resize((size, size), resample, box=box)
        longest = max(width, height)
        # An image with an extreme aspect ratio keeps at least one row and one column.
        fitted = (max(1, round(width * size / longest)), max(1, round(height * size / longest)))
        resized = image.resize(fitted, resample)
        if fitted == (size, size):
            return resized
        color = tuple(round(255 * c) for c in self.mean) if self.pad_color == "mean" else (255,) * 3
        square = Image.new("RGB", (size, size), color)
        square.paste(resized, ((size - fitted[0]) // 2, (size - fitted[1]) // 2))
        return square


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
