"""PIL images to normalised arrays: `images.to_rgb`, then `square.fit_square`, then the numbers.

No torch is imported here: the edge runtime computes the same pixels, bit by bit, from the same
function.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge_glass.encoders.images import to_rgb
from edge_glass.encoders.towers.square import WHITE, Fit, Resample, fit_square

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

    def pixels(self, image: Image.Image) -> NDArray[np.float32]:
        """Transforms one image to (3, image_size, image_size).

        Raises:
            BadImageError: if the image can't be shown as RGB.
        """
        square = fit_square(
            to_rgb(image), self.image_size, self.fit, self._bar_color(), self.resample
        )
        scale, shift = self._scale_and_shift()
        pixels = np.asarray(square, dtype=np.float32)  # (H, W, 3), 0 to 255
        return (pixels * scale + shift).transpose(2, 0, 1).copy()

    def as_data(self) -> dict[str, Any]:
        """Returns the recipe as JSON holds it: the options, and what they mean in numbers."""
        scale, shift = self._scale_and_shift()
        return {
            "options": {
                "image_size": self.image_size,
                "fit": self.fit,
                "mean": list(self.mean),
                "std": list(self.std),
                "pad_color": self.pad_color,
                "resample": self.resample,
            },
            "steps": [
                "turn the image as its EXIF orientation requires",
                "convert to RGB with 8 bits, transparent parts on white, colour profile to sRGB",
                *self._fitting(),
                "float32 = value (0 to 255) * scale + shift, per channel",
                "order: batch, channel, row, column",
            ],
            "bar_color": list(self._bar_color()),
            "scale": [float(each) for each in scale],
            "shift": [float(each) for each in shift],
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> PixelTransform:
        """Reads what `as_data` returned."""
        options = dict(data["options"])
        mean, std = tuple(options.pop("mean")), tuple(options.pop("std"))
        return PixelTransform(mean=mean, std=std, **options)

    def _fitting(self) -> list[str]:
        """Describes `fit_square` so that each pixel can be computed from it."""
        side, filter_ = self.image_size, f"Pillow's antialiased {self.resample} filter"
        if self.fit == "crop":
            return [
                "take the central square of min(width, height) pixels; its edges may lie between "
                "pixels",
                f"resize it to {side} x {side} pixels with {filter_}, in one step (box=...)",
            ]
        return [
            f"resize with {filter_} to w = max(1, round(width * {side} / max(width, height))) and "
            "h likewise; round takes a half to the even number",
            f"paste it into {side} x {side} pixels of bar_color, at left ({side} - w) // 2 and top "
            f"({side} - h) // 2",
        ]

    def _bar_color(self) -> tuple[int, int, int]:
        if self.pad_color == "white":
            return WHITE
        red, green, blue = (round(255 * each) for each in self.mean)
        return red, green, blue

    def _scale_and_shift(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        scale = 1.0 / (255.0 * np.asarray(self.std))
        shift = -np.asarray(self.mean) / np.asarray(self.std)
        return scale.astype(np.float32), shift.astype(np.float32)
