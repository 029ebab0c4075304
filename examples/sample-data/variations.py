"""Variations: small changes of a drawing, so that five hands look like more in training."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from PIL import Image, ImageEnhance, ImageOps

MIRROR_PROB = 0.5
MAX_HUE = 12  # of 256 steps around the colour wheel
SATURATION = (0.7, 1.3)  # factor
BRIGHTNESS = (0.85, 1.1)  # factor


@dataclass(frozen=True, kw_only=True)
class Variation:
    """How a drawing is changed; the default leaves it as it is.

    Attributes:
        mirrored: left and right change places.
        hue: steps of 256 around the colour wheel, may be negative.
        saturation: factor.
        brightness: factor.
    """

    mirrored: bool = False
    hue: int = 0
    saturation: float = 1.0
    brightness: float = 1.0

    def apply(self, drawing: Image.Image) -> Image.Image:
        """Change an RGBA drawing; its outline stays, or is mirrored."""
        if self == UNCHANGED:
            return drawing
        alpha = drawing.getchannel("A")
        hue, saturation, value = drawing.convert("RGB").convert("HSV").split()
        hue = hue.point([(step + self.hue) % 256 for step in range(256)])
        changed = Image.merge("HSV", (hue, saturation, value)).convert("RGB")
        changed = ImageEnhance.Color(changed).enhance(self.saturation)
        changed = ImageEnhance.Brightness(changed).enhance(self.brightness)
        changed.putalpha(alpha)
        return ImageOps.mirror(changed) if self.mirrored else changed


UNCHANGED = Variation()


def draw_variation(rng: Random) -> Variation:
    """Draw how a drawing of a training scene is changed."""
    return Variation(
        mirrored=rng.random() < MIRROR_PROB,
        hue=rng.randint(-MAX_HUE, MAX_HUE),
        saturation=round(rng.uniform(*SATURATION), 2),
        brightness=round(rng.uniform(*BRIGHTNESS), 2),
    )
