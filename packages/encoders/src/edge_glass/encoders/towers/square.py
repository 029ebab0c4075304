"""An image as the square that an encoder sees: the aspect is kept, nothing is squashed or flipped.

A caption with the word "left" must stay true, and a circle must stay round. No torch is imported
here, so that a page of images is drawn without it.
"""

from __future__ import annotations

from typing import Literal

from PIL import Image

Fit = Literal["pad", "crop"]
Resample = Literal["bicubic", "bilinear", "lanczos"]
WHITE = (255, 255, 255)


def fit_square(
    image: Image.Image,
    size: int,
    fit: Fit,
    bars: tuple[int, ...] = WHITE,
    resample: Resample = "bicubic",
) -> Image.Image:
    """Returns an RGB image of `size` x `size` pixels.

    Args:
        image: upright RGB, as `images.to_rgb` makes it.
        size: side of the square in pixels.
        fit: `pad` shows the whole image between bars; `crop` shows its largest central square.
        bars: their colour, 0 to 255.
        resample: the filter that resizes; each is antialiased.
    """
    filter_ = Image.Resampling[resample.upper()]
    width, height = image.size
    if fit == "crop":
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        # One resampling from the exact square, so that rounding stretches no axis.
        box = (left, top, left + side, top + side)
        return image.resize((size, size), filter_, box=box)
    longest = max(width, height)
    # An image with an extreme aspect ratio keeps at least one row and one column.
    fitted = (max(1, round(width * size / longest)), max(1, round(height * size / longest)))
    resized = image.resize(fitted, filter_)
    if fitted == (size, size):
        return resized
    square = Image.new("RGB", (size, size), bars)
    square.paste(resized, ((size - fitted[0]) // 2, (size - fitted[1]) // 2))
    return square


def image_box(size: tuple[int, int], fit: Fit) -> tuple[float, float, float, float]:
    """Returns where an image lies in its square: left, top, width and height.

    They are shares of the square's side, up to rounding to pixels. Of a cropped image, parts lie
    outside, below 0 and above 1.

    Args:
        size: width and height of the image.
        fit: as for `fit_square`.
    """
    side = max(size) if fit == "pad" else min(size)
    width, height = size[0] / side, size[1] / side
    return (1 - width) / 2, (1 - height) / 2, width, height
