"""Random changes of an image that keep its caption true: no flips, because of "left" and text."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from PIL import Image, ImageEnhance


@dataclass(frozen=True, kw_only=True)
class AugmentationConfig:
    """How far an image may change; the defaults change nothing.

    Attributes:
        min_area: share of the image's area that a random crop keeps, drawn from min_area to 1.
        brightness, contrast, saturation: a factor is drawn from 1 - x to 1 + x.
        rotation: degrees; an angle is drawn from -x to x, and the corners become white.
    """

    min_area: float = 1.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    rotation: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.min_area <= 1:
            raise ValueError(
                f"min_area is {self.min_area}, expected more than 0 and at most 1: change it"
            )
        for name in ("brightness", "contrast", "saturation"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0 to 1: change it")
        if not 0 <= self.rotation <= 180:
            raise ValueError(f"rotation is {self.rotation}, expected 0 to 180 degrees: change it")


def augment(
    image: Image.Image, config: AugmentationConfig, generator: torch.Generator
) -> Image.Image:
    """Returns a changed copy; takes seven draws of the generator, whatever the config."""
    area, left, top, bright, contrast, saturation, angle = torch.rand(
        7, generator=generator
    ).tolist()
    image = image.convert("RGBA") if image.mode in ("P", "LA", "PA") else image
    if config.rotation:
        fill = (255, 255, 255, 0) if image.mode == "RGBA" else "white"
        image = image.rotate(
            config.rotation * (2 * angle - 1), Image.Resampling.BILINEAR, fillcolor=fill
        )
    if config.min_area < 1:
        side = (config.min_area + (1 - config.min_area) * area) ** 0.5
        width, height = (max(1, round(side * length)) for length in image.size)
        x, y = round(left * (image.width - width)), round(top * (image.height - height))
        image = image.crop((x, y, x + width, y + height))
    for change, draw, kind in (
        (config.brightness, bright, ImageEnhance.Brightness),
        (config.contrast, contrast, ImageEnhance.Contrast),
        (config.saturation, saturation, ImageEnhance.Color),
    ):
        if change:
            image = kind(image).enhance(1 + change * (2 * draw - 1))
    return image
