"""Stored bytes to tensors, on the fly: any picture that PIL reads, or a counted reason why not."""

from __future__ import annotations

import math
from dataclasses import dataclass

from jaxtyping import Float
from PIL import Image
from torch import Tensor

from edge_glass.encoders.images import decode_image
from edge_glass.encoders.towers.preprocessing import ImageTransform


@dataclass(frozen=True, kw_only=True)
class PictureDecoder:
    """Decodes a picture and fits it to the encoder's square; safe to send to another process.

    Orientation, CMYK, 16 bits, palettes and transparency are the transform's (`images.to_rgb`).

    Attributes:
        transform: from the vision encoder.
        draft: None decodes each JPEG whole. A number lets libjpeg decode it at 1/2, 1/4 or 1/8 of
            its size, as long as that is at least `draft` times what the transform makes of it: 2
            is close to the whole picture (Pillow's `reducing_gap` has the same sense), 1 is the
            fastest. It changes pixels, so it belongs to what a run records.
    """

    transform: ImageTransform
    draft: float | None = None

    def __post_init__(self) -> None:
        """Checks the fields.

        Raises:
            ValueError: where `draft` would enlarge what it shrank.
        """
        if self.draft is not None and self.draft < 1:
            raise ValueError(f"draft is {self.draft}, expected None or at least 1")

    def __call__(self, data: bytes | None) -> Float[Tensor, "3 H W"]:
        """Decodes one image.

        Raises:
            BadImageError: the reasons of `decode_image` and of `to_rgb`.
        """
        return self.transform(self.decode(data))

    def decode(self, data: bytes | None) -> Image.Image:
        """Decodes to the image's own mode, and to a smaller size if `draft` allows it.

        Raises:
            BadImageError: the reasons of `decode_image`.
        """
        return decode_image(data, draft=None if self.draft is None else self._smallest)

    def _smallest(self, size: tuple[int, int]) -> tuple[int, int]:
        assert self.draft is not None
        # `pad` fits the longer side to the square, `crop` the shorter one
        fitted = max(size) if self.transform.fit == "pad" else min(size)
        share = self.draft * self.transform.image_size / fitted
        return math.ceil(size[0] * share), math.ceil(size[1] * share)
