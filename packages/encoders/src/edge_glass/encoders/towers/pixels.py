"""PIL images to normalised arrays: `images.to_rgb`, then `square.fit_square`, then the numbers.

No torch is imported here: the edge runtime computes the same pixels, bit by bit, from the same
function.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge_glass.encoders.images import to_rgb
from edge_glass.encoders.limits import MAX_IMAGE_SIZE
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
        size = self.image_size
        if type(size) is not int or not 1 <= size <= MAX_IMAGE_SIZE:
            raise ValueError(f"image_size is {size!r}, expected 1 to {MAX_IMAGE_SIZE} pixels")
        for name, kind in (("fit", Fit), ("pad_color", PadColor), ("resample", Resample)):
            value, allowed = getattr(self, name), get_args(kind)
            if value not in allowed:
                expected = " or ".join(map(repr, allowed))
                raise ValueError(f"{name} is {value!r}, expected {expected}")
        if not _are_three(self.mean):
            raise ValueError(f"mean is {self.mean!r}, expected one number per channel")
        if not _are_three(self.std) or min(self.std) <= 0:
            raise ValueError(f"std is {self.std!r}, expected one number above 0 per channel")

    def pixels(self, image: Image.Image) -> NDArray[np.float32]:
        """Transforms one image to (3, image_size, image_size).

        Raises:
            BadImageError: if the image can't be shown as RGB.
        """
        scale, shift = self.scale_and_shift()
        # channels first as bytes: moving float32, or scaling three numbers at a time, is slower
        result = np.ascontiguousarray(self.square(image).transpose(2, 0, 1)).astype(np.float32)
        result *= scale[:, None, None]
        result += shift[:, None, None]
        return result

    def square(self, image: Image.Image) -> NDArray[np.uint8]:
        """Returns the square before it is normalised, (image_size, image_size, 3), 0 to 255.

        Raises:
            BadImageError: if the image can't be shown as RGB.
        """
        size, bars = self.image_size, self._bar_color()
        return np.array(fit_square(to_rgb(image), size, self.fit, bars, self.resample))

    def as_data(self) -> dict[str, Any]:
        """Returns the recipe as JSON holds it: the options, and what they mean in numbers."""
        scale, shift = self.scale_and_shift()
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
    def from_data(cls, data: Any) -> PixelTransform:
        """Reads what `as_data` returned.

        Raises:
            ValueError: if an option is missing, unknown or wrong.
        """
        options = data.get("options") if isinstance(data, Mapping) else None
        names = [field.name for field in fields(PixelTransform)]
        if not isinstance(options, Mapping) or set(options) != set(names):
            found = ", ".join(options) if isinstance(options, Mapping) else "no table"
            raise ValueError(f"image.options has {found}, expected {', '.join(names)}")
        listed: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in options.items()
        }
        return PixelTransform(**listed)

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

    def scale_and_shift(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Returns two numbers per channel: a value of 0 to 255 becomes `value * scale + shift`."""
        scale = 1.0 / (255.0 * np.asarray(self.std))
        shift = -np.asarray(self.mean) / np.asarray(self.std)
        return scale.astype(np.float32), shift.astype(np.float32)


def _are_three(values: Any) -> bool:
    """Whether a value is a tuple of three finite numbers."""
    return (
        isinstance(values, tuple)
        and len(values) == 3
        and all(type(each) in (int, float) and math.isfinite(each) for each in values)
    )
