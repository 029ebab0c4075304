"""PIL images to normalised arrays: the aspect ratio is kept, nothing is squashed or flipped.

A caption with the word "left" must stay true, and a circle must stay round. `images.to_rgb` first
makes upright RGB on white of any mode. No torch is imported here: the edge runtime computes the
same pixels, bit by bit, from the same function.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge_glass.encoders.images import to_rgb

Fit = Literal["pad", "crop"]
PadColor = Literal["mean", "white"]


@dataclass(frozen=True, kw_only=True)
class PixelTransform:
    """Turns a PIL image into a square, normalised array; it can be sent to other processes.

    Attributes:
        image_size: side of the square in pixels.
        fit: `pad` shows the whole image between bars; `crop` shows its largest central square.
        mean: subtracted from red, green and blue, which are 0 to 1.
        std: divides the differences.
        pad_color: bars of the mean colour (0 after normalising) or white.
    """

    image_size: int
    fit: Fit
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    pad_color: PadColor = "mean"

    def __post_init__(self) -> None:
        if self.image_size < 1:
            raise ValueError(f"image_size is {self.image_size}, expected at least 1 pixel")
        if self.fit not in ("pad", "crop"):
            raise ValueError(f"fit is {self.fit!r}, expected 'pad' or 'crop'")
        if self.pad_color not in ("mean", "white"):
            raise ValueError(f"pad_color is {self.pad_color!r}, expected 'mean' or 'white'")

    def pixels(self, image: Image.Image) -> NDArray[np.float32]:
        """Transforms one image to (3, image_size, image_size).

        Raises:
            BadImageError: if the image can't be shown as RGB.
        """
        square = np.asarray(self.square(to_rgb(image)), dtype=np.float32)  # (H, W, 3), 0 to 255
        scale, shift = self.scale_and_shift()
        return (square * scale + shift).transpose(2, 0, 1).copy()

    def scale_and_shift(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Returns the factor and the offset of red, green and blue, which are 0 to 255."""
        scale = 1.0 / (255.0 * np.asarray(self.std))
        shift = -np.asarray(self.mean) / np.asarray(self.std)
        return scale.astype(np.float32), shift.astype(np.float32)

    def bar_color(self) -> tuple[int, ...]:
        """Returns the colour of the bars that `pad` adds, 0 to 255."""
        if self.pad_color == "mean":
            return tuple(round(255 * c) for c in self.mean)
        return (255,) * 3

    def square(self, image: Image.Image) -> Image.Image:
        """Resamples an upright RGB image to the square that the network receives."""
        size, (width, height) = self.image_size, image.size
        if self.fit == "crop":
            side = min(width, height)
            left, top = (width - side) / 2, (height - side) / 2
            # One resampling from the exact square, so that rounding stretches no axis.
            box = (left, top, left + side, top + side)
            return image.resize((size, size), Image.Resampling.BICUBIC, box=box)
        longest = max(width, height)
        # An image with an extreme aspect ratio keeps at least one row and one column.
        fitted = (max(1, round(width * size / longest)), max(1, round(height * size / longest)))
        resized = image.resize(fitted, Image.Resampling.BICUBIC)
        if fitted == (size, size):
            return resized
        square = Image.new("RGB", (size, size), self.bar_color())
        square.paste(resized, ((size - fitted[0]) // 2, (size - fitted[1]) // 2))
        return square

    def as_data(self) -> dict[str, Any]:
        """Returns the whole recipe as JSON holds it; the steps are in the order of the keys."""
        scale, shift = self.scale_and_shift()
        return {
            "orientation": "as the EXIF tag says",
            "transparency": "on white",
            "color": "RGB",
            "resample": "bicubic with antialiasing (Pillow)",
            "image_size": self.image_size,
            "fit": self.fit,
            "pad_color": list(self.bar_color()),
            "scale": [float(each) for each in scale],
            "shift": [float(each) for each in shift],
            "layout": "batch, channel, row, column; float32 = scale * (0 to 255) + shift",
            "mean": list(self.mean),
            "std": list(self.std),
            "pad_color_name": self.pad_color,
        }

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> PixelTransform:
        """Reads what `as_data` returned."""
        mean, std = tuple(data["mean"]), tuple(data["std"])
        return PixelTransform(
            image_size=data["image_size"],
            fit=data["fit"],
            mean=mean,
            std=std,
            pad_color=data["pad_color_name"],
        )
