"""Stored bytes to tensors while training runs: any image that PIL reads, or a reason why not."""

from __future__ import annotations

import math
from dataclasses import dataclass

from jaxtyping import Float
from PIL import Image
from torch import Tensor

from edge_glass.encoders.images import BadImage, decode_image, load_image, open_image
from edge_glass.encoders.towers.preprocessing import ImageTransform

JPEG = b"\xff\xd8\xff"


@dataclass(frozen=True, kw_only=True)
class ImageDecoder:
    """Decodes an image and fits it to the encoder's square; can be sent to a different process.

    The transform handles orientation, CMYK, 16 bits, palettes and transparency
    (`preprocessing.rgb`).

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
            BadImage: a reason of `decode_image`, "unsupported_mode" or "undecodable_image".
        """
        try:
            return self.transform(self.decode(data))
        except BadImage:
            raise
        except MemoryError:
            raise  # the machine lacks memory: the image may be fine
        except ValueError as error:
            raise BadImage("unsupported_mode", str(error)) from error
        except Exception as error:  # on hostile bytes a decoder may raise anything
            raise _undecodable(error) from error

    def decode(self, data: bytes | None) -> Image.Image:
        """Decodes in the mode of the image, at a smaller size if `draft` allows it.

        Raises:
            BadImage: a reason of `decode_image`, or "undecodable_image".
        """
        try:
            if self.draft is None or data is None or not data.startswith(JPEG):
                return decode_image(data)
            return self._draft(data, self.draft)
        except (BadImage, MemoryError):
            raise
        except Exception as error:  # as above
            raise _undecodable(error) from error

    def _draft(self, data: bytes, gap: float) -> Image.Image:
        image = open_image(data)
        # `pad` scales the longer side to the square, `crop` the shorter one
        fitted = max(image.size) if self.transform.fit == "pad" else min(image.size)
        share = gap * self.transform.image_size / fitted
        width, height = image.size
        image.draft(None, (math.ceil(width * share), math.ceil(height * share)))
        return load_image(image)


def _undecodable(error: Exception) -> BadImage:
    return BadImage("undecodable_image", f"{type(error).__name__}: {error}")
