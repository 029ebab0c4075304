"""Stored bytes to tensors, on the fly: any picture that PIL reads, or a counted reason why not."""

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
class PictureDecoder:
    """Decodes a picture and fits it to the encoder's square; safe to send to another process.

    Orientation, CMYK, 16 bits, palettes and transparency are the transform's (`preprocessing.rgb`).

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
        """Decodes one picture.

        Raises:
            BadImage: the reasons of `decode_image`, "unsupported_mode" or "undecodable_image".
        """
        try:
            return self.transform(self.decode(data))
        except BadImage:
            raise
        except MemoryError:
            raise  # the machine's fault, not the picture's
        except ValueError as error:
            raise BadImage("unsupported_mode", str(error)) from error
        except Exception as error:  # a decoder fed by the web may raise anything
            raise _undecodable(error) from error

    def decode(self, data: bytes | None) -> Image.Image:
        """Decodes to the picture's own mode, and to a smaller size where `draft` allows it.

        Raises:
            BadImage: as when called, before the transform.
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
        # `pad` fits the longer side to the square, `crop` the shorter one
        fitted = max(image.size) if self.transform.fit == "pad" else min(image.size)
        share = gap * self.transform.image_size / fitted
        width, height = image.size
        image.draft(None, (math.ceil(width * share), math.ceil(height * share)))
        return load_image(image)


def _undecodable(error: Exception) -> BadImage:
    return BadImage("undecodable_image", f"{type(error).__name__}: {error}")
