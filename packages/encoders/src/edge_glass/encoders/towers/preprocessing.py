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
from PIL import Image, ImageOps
from torch import Tensor

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
            ValueError: where the picture has no pixels or a mode that can't be shown as RGB.
        """
        square = self._fit_square(rgb(image))
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


def rgb(image: Image.Image) -> Image.Image:
    """Shows a picture of any mode as upright RGB on white.

    Raises:
        ValueError: where the picture has no pixels or a mode that can't be shown as RGB.
    """
    if 0 in image.size:
        raise ValueError(f"the picture is {image.size[0]} x {image.size[1]} pixels, expected some")
    image = ImageOps.exif_transpose(image)
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    if image.mode.startswith("I"):  # 16-bit grey: "I;16" from PNG, "I" from PGM and TIFF
        return _from_16_bit(image)
    if image.mode == "F":
        raise ValueError(
            "the picture has mode 'F' (floating point), whose range is not known: "
            "save it with 8 or 16 bits a channel"
        )
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    page = Image.new("RGBA", layer.size, (255, 255, 255, 255))
    return Image.alpha_composite(page, layer).convert("RGB")


def _from_16_bit(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError(
            f"the picture has mode {image.mode!r} with values from {values.min()} to "
            f"{values.max()}, expected 0 to 65535: save it with 8 or 16 bits a channel"
        )
    # 65535 = 255 * 257: rounds to the nearest of 256 levels, as viewers do.
    grey = ((values + 128) // 257).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")
