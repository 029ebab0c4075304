"""PIL pictures to normalised tensors: the aspect is kept, nothing is squashed, nothing is flipped.

A caption that says "left" must stay true, and a circle must stay round. What a file can hold
beside plain RGB (EXIF orientation, transparency, palettes, CMYK, 16-bit grey) becomes the RGB that
a viewer shows on a white page.
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


@dataclass(frozen=True, kw_only=True)
class ImageTransform:
    """Brings a PIL picture to a square, normalised tensor; safe to send to another process.

    Attributes:
        image_size: side of the square in pixels.
        fit: ``pad`` shows the whole picture between bars; ``crop`` its largest central square.
        mean: the colour that becomes 0, a number from 0 to 1 for each of red, green and blue.
        std: what becomes 1, the same way.
        pad_color: bars of the mean colour (0 after normalising) or white.
    """

    image_size: int
    fit: Fit
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    pad_color: PadColor = "mean"

    def __post_init__(self) -> None:
        """Checks the fields.

        Raises:
            ValueError: where a field can't work.
        """
        if self.image_size < 1:
            raise ValueError(f"image_size is {self.image_size}, expected at least 1 pixel")
        if self.fit not in ("pad", "crop"):
            raise ValueError(f"fit is {self.fit!r}, expected 'pad' or 'crop'")
        if self.pad_color not in ("mean", "white"):
            raise ValueError(f"pad_color is {self.pad_color!r}, expected 'mean' or 'white'")

    def __call__(self, image: Image.Image) -> Float[Tensor, "3 H W"]:
        """Transforms one picture.

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
        if self.fit == "crop":
            side = min(width, height)
            left, top = (width - side) / 2, (height - side) / 2
            # One resampling from the exact square, so that no rounding stretches an axis.
            box = (left, top, left + side, top + side)
            return image.resize((size, size), Image.Resampling.BICUBIC, box=box)
        longest = max(width, height)
        # A picture of absurd aspect keeps at least one row and one column.
        fitted = (max(1, round(width * size / longest)), max(1, round(height * size / longest)))
        resized = image.resize(fitted, Image.Resampling.BICUBIC)
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
    """Makes the callable that brings a PIL picture to (3, image_size, image_size) float32."""
    return ImageTransform(image_size=image_size, fit=fit, mean=mean, std=std, pad_color=pad_color)
