"""Pictures from bytes: decoded whole, or refused with a reason that can be counted."""

from __future__ import annotations

import io

from PIL import Image, ImageFile, UnidentifiedImageError

# half a picture must be an error, never a picture that is grey below
ImageFile.LOAD_TRUNCATED_IMAGES = False


class BadImage(ValueError):
    """A picture that can't be used; `reason` is a short name to count by."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


def decode_image(data: bytes | None) -> Image.Image:
    """Decodes a picture fully.

    Raises:
        BadImage: "missing_image", "not_an_image", "truncated_image" or "image_bomb".
    """
    return load_image(open_image(data))


def open_image(data: bytes | None) -> Image.Image:
    """Reads a picture's header.

    Raises:
        BadImage: "missing_image", "not_an_image", "truncated_image" or "image_bomb".
    """
    if not data:
        raise BadImage("missing_image", "no bytes")
    try:
        return Image.open(io.BytesIO(data))
    except UnidentifiedImageError:
        raise BadImage("not_an_image", f"the bytes begin with {data[:16]!r}") from None
    except Image.DecompressionBombError as error:
        raise BadImage("image_bomb", str(error)) from None
    except OSError as error:
        raise BadImage("truncated_image", str(error)) from None


def load_image(image: Image.Image) -> Image.Image:
    """Decodes an opened picture's pixels, and returns it.

    Raises:
        BadImage: "truncated_image".
    """
    try:
        image.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise BadImage("truncated_image", str(error)) from None
    return image


def check_shape(image: Image.Image, *, min_side: int, max_aspect: float) -> None:
    """Refuses pictures too small or too long.

    Raises:
        BadImage: "extreme_aspect" or "too_small".
    """
    short, long = sorted(image.size)
    if long > max_aspect * short:
        raise BadImage("extreme_aspect", f"{image.size[0]} x {image.size[1]}, max {max_aspect}")
    if short < min_side:
        raise BadImage("too_small", f"{image.size[0]} x {image.size[1]}, min_side is {min_side}")
