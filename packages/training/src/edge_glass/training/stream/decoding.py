"""Stored bytes to tensors while training runs: any image that PIL reads, or a reason why not."""

from __future__ import annotations

import math
from dataclasses import dataclass

from jaxtyping import Float
from PIL import Image
from torch import Tensor

from edge_glass.encoders.images import decode_image
from edge_glass.encoders.towers.preprocessing import ImageTransform


@dataclass(frozen=True, kw_only=True)
class ImageDecoder:
    """Decodes an image and fits it to the encoder's square; can be sent to a different process.

    The transform handles orientation, CMYK, 16 bits, palettes and transparency
    (`images.to_rgb`).

    Attributes:
        transform: from the vision encoder.
        draft: None decodes each JPEG at full size. A number lets libjpeg decode it at 1/2, 1/4 or
            1/8 of its size, if that is at least `draft` times the size after the transform: 2 is
            close to the full decoding (Pillow's `reducing_gap` has the same meaning), 1 is the
            fastest. It changes pixels, so record it with the parameters of a run.
    """

    transform: ImageTransform
    draft: float | None = None

    def __post_init__(self) -> None:
        """Checks the fields.

        Raises:
            ValueError: if `draft` is less than 1, which would enlarge a reduced image.
        """
        if self.draft is not None and self.draft < 1:
            raise ValueError(f"draft is {self.draft}, expected None or at least 1")

    def __call__(self, data: bytes | None) -> Float[Tensor, "3 H W"]:
        """Decodes one image.

        Raises:
            BadImageError: a reason of `decode_image` or of `to_rgb`.
        """
        return self.transform(self.decode(data))

    def decode(self, data: bytes | None) -> Image.Image:
        """Decodes in the mode of the image, at a smaller size if `draft` allows it.

        Raises:
            BadImageError: a reason of `decode_image`.
        """
        return decode_image(data, draft=None if self.draft is None else self._smallest)

    def _smallest(self, size: tuple[int, int]) -> tuple[int, int]:
        assert self.draft is not None
        # `pad` scales the longer side to the square, `crop` the shorter one
        fitted = max(size) if self.transform.fit == "pad" else min(size)
        share = self.draft * self.transform.image_size / fitted
        return math.ceil(size[0] * share), math.ceil(size[1] * share)
