"""Images from bytes: the only place where an image is opened, decoded, turned and made RGB.

Whatever the bytes are, the result is an image or a `BadImageError` with a reason to count by, the
same in every command. Metadata never decides whether an image is used: if Pillow gives up on an odd
tag or on megabytes of text, the image is read again with its metadata reduced to the orientation.
No torch is imported here.
"""

from __future__ import annotations

import functools
import io
import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from PIL import Image, ImageFile, UnidentifiedImageError

from edge_glass.encoders.image_metadata import ORIENTATION, exif_orientation, reduce_metadata

# Half an image must be an error, never an image that is grey below.
ImageFile.LOAD_TRUNCATED_IMAGES = False
# Pillow logs some damage as errors, which Python prints if there is no handler.
logging.getLogger("PIL").addHandler(logging.NullHandler())

# Formats of the web, of cameras and of scanners. Pillow reads more, but some of its decoders start
# other programs (Ghostscript for PostScript), and these bytes come from strangers.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "MPO", "AVIF", "JPEG2000", "ICO", "PPM")
HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
# Modes with a known range; the others are floats ("F") and colours that Pillow can't convert (LAB).
MODES = (
    *("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV"),
    *("I", "I;16", "I;16B", "I;16L", "I;16N"),
)
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
ORIENTED = ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp")  # keys of `Image.info`

Draft = Callable[[tuple[int, int]], tuple[int, int]]


class BadImageError(ValueError):
    """An image that can't be used.

    Attributes:
        reason: a short name to count by, such as "truncated_image".
        detail: what was found, for people.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)  # both, so that it survives pickling
        self.reason, self.detail = reason, detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


def decode_image(
    data: bytes | None, *, max_pixels: int | None = None, draft: Draft | None = None
) -> Image.Image:
    """Decodes an image fully, in its own mode and not yet turned.

    Args:
        data: the content of a file.
        max_pixels: an image of more pixels is refused before it is decoded.
        draft: maps the (width, height) of a JPEG to the smallest size that it may be decoded to;
            libjpeg then decodes at 1/2, 1/4 or 1/8 of the size. It changes pixels.

    Raises:
        BadImageError: "missing_image", "not_an_image", "truncated_image", "undecodable_image" or
            "image_bomb".
    """
    if not data:
        raise BadImageError("missing_image", "no bytes: the file is empty")
    try:
        return _decode(data, max_pixels, draft)
    except BadImageError as error:
        reduced = None if error.reason == "image_bomb" else reduce_metadata(data)
        if reduced is None:
            raise
        try:
            return _decode(reduced, max_pixels, draft)
        except BadImageError:
            raise error from None


def to_rgb(image: Image.Image) -> Image.Image:
    """Returns an image of any mode as a viewer shows it: upright RGB on white.

    Raises:
        BadImageError: "too_small" if it has no pixels, "unsupported_mode", or as `decode_image`.
    """
    if 0 in image.size:
        raise BadImageError("too_small", f"{image.size[0]} x {image.size[1]} pixels, expected some")
    _load(image)
    check_mode(image)
    with guarded():
        return _on_white(_upright(image))


def check_mode(image: Image.Image) -> None:
    """Refuses decoded images that `to_rgb` can't show: the range of their values is not known.

    Raises:
        BadImageError: "unsupported_mode".
    """
    if image.mode == "I":
        low, high = image.getextrema()
        if low < 0 or high > 65535:  # type: ignore[operator]
            raise BadImageError(
                "unsupported_mode",
                f"mode 'I' with values from {low} to {high}, expected 0 to 65535: save it with 8 "
                "or 16 bits per channel",
            )
    elif image.mode not in MODES:
        detail = f"mode {image.mode!r}: save it as RGB with 8 bits per channel"
        raise BadImageError("unsupported_mode", detail)


def orientation(image: Image.Image) -> int:
    """Returns the EXIF orientation, 1 (upright) to 8; 1 if there is none or a wrong one.

    Source: CIPA DC-008 (EXIF 2.32), tag 0x0112.
    """
    value: Any = None
    try:
        with guarded():
            value = image.getexif().get(ORIENTATION)
    except BadImageError:  # an odd tag: only the orientation matters
        pass
    if value not in range(1, 9):
        value = exif_orientation(image.info.get("exif"))
    return int(value) if value in range(1, 9) else 1


@contextmanager
def guarded() -> Iterator[None]:
    """Runs Pillow on odd images: without its warnings, and whatever it raises is a `BadImageError`.

    Raises:
        BadImageError: "undecodable_image" for any exception of the block but a lack of memory.
    """
    with _quiet():
        try:
            yield
        except (BadImageError, MemoryError):
            raise
        except Exception as error:
            raise BadImageError("undecodable_image", f"{type(error).__name__}: {error}") from error


def _decode(data: bytes, max_pixels: int | None, draft: Draft | None) -> Image.Image:
    with guarded():
        try:
            image = Image.open(io.BytesIO(data), formats=_formats())
        except UnidentifiedImageError:
            raise BadImageError("not_an_image", _describe(data)) from None
        except Image.DecompressionBombError as error:
            raise BadImageError("image_bomb", str(error)) from None
        except OSError as error:
            raise BadImageError("truncated_image", str(error)) from None
        width, height = image.size
        if max_pixels is not None and width * height > max_pixels:
            raise BadImageError("image_bomb", f"{width} x {height}, max_pixels is {max_pixels}")
        if draft is not None and image.format in ("JPEG", "MPO"):
            image.draft(None, draft(image.size))
    _load(image)
    return image


def _load(image: Image.Image) -> None:
    with guarded():
        try:
            image.load()
        except (OSError, SyntaxError, ValueError) as error:
            raise BadImageError("truncated_image", str(error)) from None


@functools.cache
def _formats() -> tuple[str, ...]:
    """Returns those of `FORMATS` that this Pillow was built with."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _describe(data: bytes) -> str:
    if data[4:8] == b"ftyp" and data[8:12] in HEIF_BRANDS:
        return "a HEIC image, which Pillow does not read: convert it to JPEG or PNG"
    return f"not an image that is read here: the bytes begin with {data[:16]!r}"


def _upright(image: Image.Image) -> Image.Image:
    # Not ImageOps.exif_transpose: it writes the other tags again, and fails on odd ones.
    turn = TURNS.get(orientation(image))
    if turn is None:
        return image.copy()
    turned = image.transpose(turn)
    for key in ORIENTED:  # so that nobody turns it again
        turned.info.pop(key, None)
    return turned


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    if image.mode.startswith("I"):  # 16-bit grey: "I;16" from PNG, "I" from PGM and TIFF
        import numpy as np

        # 65535 = 255 * 257: rounds to the nearest of 256 levels, as viewers do.
        grey = ((np.asarray(image).astype(np.int64) + 128) // 257).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    page = Image.new("RGBA", layer.size, (255, 255, 255, 255))
    return Image.alpha_composite(page, layer).convert("RGB")


_LOCK = threading.Lock()
_SILENCE: list[warnings.catch_warnings[None]] = []  # one per block of `_quiet` that is running


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences Pillow's warnings about large images and odd metadata, in any number of threads."""
    with _LOCK:
        if not _SILENCE:
            first = warnings.catch_warnings()
            first.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\.")
            _SILENCE.append(first)
        else:
            _SILENCE.append(_SILENCE[0])
    try:
        yield
    finally:
        with _LOCK:
            saved = _SILENCE.pop()
            if not _SILENCE:
                saved.__exit__(None, None, None)
