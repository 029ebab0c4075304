"""Images from bytes: the only place where an image is opened, decoded, turned and made RGB.

Whatever the bytes are, the result is an image as common viewers show it or a `BadImageError` with a
reason to count by, the same in every command. Metadata never decides whether an image is used: if
Pillow gives up on an odd tag or on megabytes of text, the image is read again with its metadata
reduced to the orientation. Of animations and of files with several images, the first is read. An
image of which a part is missing is refused; a JPEG that lacks bytes but no pixel is used. No torch
is imported here.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator
from typing import Any

from PIL import Image, ImageFile, Jpeg2KImagePlugin, JpegImagePlugin, UnidentifiedImageError

from edge_glass.encoders.image_faults import BadImageError, guarded
from edge_glass.encoders.image_metadata import (
    ORIENTATION,
    exif_orientation,
    jpeg2000_profile,
    reduce_metadata,
)
from edge_glass.encoders.image_modes import check_mode, on_white
from edge_glass.encoders.image_plugins import missing_plugin

__all__ = ["BadImageError", "check_mode", "decode_image", "guarded", "orientation", "to_rgb"]

# Half an image must be an error, never an image that is grey below.
ImageFile.LOAD_TRUNCATED_IMAGES = False
# Pillow logs some damage as errors, which Python prints if there is no handler.
logging.getLogger("PIL").addHandler(logging.NullHandler())

# Formats of the web, of cameras and of scanners. Pillow reads more, but some of its decoders start
# other programs (Ghostscript for PostScript), and these bytes come from strangers.
FORMATS = (
    *("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "MPO", "AVIF", "JPEG2000", "ICO", "PPM"),
    *("HEIF", "JXL"),
)
JPEG2000 = (b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  ")
END_OF_JPEG = b"\xff\xd9"
JPEG_NOISE = bytes(range(1, 255)) * 64  # no 0xFF, so all of it is pixels
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


def decode_image(
    data: bytes | None,
    *,
    max_pixels: int | None = None,
    draft: Draft | None = None,
    reduce_large: bool = True,
) -> Image.Image:
    """Decodes an image fully, in its own mode and not yet turned.

    Args:
        data: the content of a file.
        max_pixels: an image of more pixels is refused before it is decoded.
        draft: maps the (width, height) of a JPEG to the smallest size that it may be decoded to;
            libjpeg then decodes at 1/2, 1/4 or 1/8 of the size. It changes pixels.
        reduce_large: whether a JPEG or JPEG 2000 above Pillow's limit of pixels is decoded at a
            smaller size, to which `max_pixels` then applies. It takes time for all of its pixels.

    Raises:
        BadImageError: "missing_image", "not_an_image", "needs_plugin", "truncated_image",
            "undecodable_image" or "image_bomb".
    """
    if not data:
        raise BadImageError("missing_image", "no bytes: the file is empty")
    if remedy := missing_plugin(data):
        raise BadImageError("needs_plugin", remedy)
    try:
        return _decode(data, max_pixels, draft, reduce_large)
    except BadImageError as error:
        if error.reason != "image_bomb":
            for mended in _mended(data):
                try:
                    return _decode(mended, max_pixels, draft, reduce_large)
                except BadImageError:
                    continue
        raise


def to_rgb(image: Image.Image) -> Image.Image:
    """Returns an image of any mode as a viewer shows it: upright RGB on white.

    Raises:
        BadImageError: "too_small" if it has no pixels, "unsupported_mode", or as `decode_image`.
    """
    if 0 in image.size:
        raise BadImageError("too_small", f"{image.size[0]} x {image.size[1]} pixels, expected some")
    _load(image)
    with guarded():
        shown = on_white(_upright(image))
    shown.info.pop("icc_profile", None)  # so that nobody applies it again
    return shown


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


def _decode(
    data: bytes, max_pixels: int | None, draft: Draft | None, reduce_large: bool = True
) -> Image.Image:
    with guarded():
        image: Image.Image
        try:
            image = Image.open(io.BytesIO(data), formats=_formats())
        except UnidentifiedImageError:
            raise BadImageError("not_an_image", _describe(data)) from None
        except Image.DecompressionBombError as error:
            if not reduce_large:
                raise BadImageError("image_bomb", str(error)) from None
            image = _open_reduced(data, str(error))
        except OSError as error:
            raise BadImageError("truncated_image", str(error)) from None
        width, height = image.size
        if max_pixels is not None and width * height > max_pixels:
            raise BadImageError("image_bomb", f"{width} x {height}, max_pixels is {max_pixels}")
        if draft is not None and image.format in ("JPEG", "MPO"):
            image.draft(None, draft(image.size))
    _load(image)
    if image.format == "JPEG2000" and (profile := jpeg2000_profile(data)):
        image.info["icc_profile"] = profile
    return image


def _open_reduced(data: bytes, detail: str) -> Image.Image:
    """Opens an image above Pillow's limit of pixels at 1/2, 1/4 or 1/8 of its size.

    The decoders of JPEG and JPEG 2000 then compute no more pixels than that.
    """
    limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
    image: JpegImagePlugin.JpegImageFile | Jpeg2KImagePlugin.Jpeg2KImageFile
    if data.startswith(b"\xff\xd8\xff"):
        image = JpegImagePlugin.JpegImageFile(io.BytesIO(data))
    elif data.startswith(JPEG2000):
        image = Jpeg2KImagePlugin.Jpeg2KImageFile(io.BytesIO(data))
    else:
        raise BadImageError("image_bomb", detail)
    width, height = image.size
    # A progressive JPEG is held whole in memory, whatever the size of the result.
    most = 2 * limit if image.info.get("progressive") else 64 * limit
    power = next((each for each in (1, 2, 3) if width * height <= limit << (2 * each)), 0)
    if not power or width * height > most:
        raise BadImageError("image_bomb", detail)
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        image.draft(None, (width >> power, height >> power))
    else:
        image.reduce = power
    return image


def _mended(data: bytes) -> Iterator[bytes]:
    """Yields the same image without what Pillow may have failed on: first all but colours."""
    for keep_profile in (True, False):
        reduced = reduce_metadata(data, keep_profile=keep_profile)
        if reduced is not None:
            yield reduced
    if data.startswith(b"\xff\xd8\xff") and not data.endswith(END_OF_JPEG):
        yield from _with_end(data.rstrip(b"\xff"))


def _with_end(data: bytes) -> Iterator[bytes]:
    """Yields a JPEG that breaks off with its end, if no pixel is missing.

    What libjpeg fills in for missing pixels depends on the bytes that follow; the pixels that are
    there do not.
    """
    ended = data + END_OF_JPEG
    try:
        if _decode(ended, None, None) == _decode(data + JPEG_NOISE + END_OF_JPEG, None, None):
            yield ended
    except BadImageError:
        return


def _load(image: Image.Image) -> None:
    with guarded():
        try:
            image.load()
        except (OSError, SyntaxError, ValueError) as error:
            raise BadImageError("truncated_image", str(error)) from None


def _formats() -> tuple[str, ...]:
    """Returns those of `FORMATS` that Pillow can read now."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _describe(data: bytes) -> str:
    if b"<svg" in data[:4096].lower():
        return "a drawing (SVG): render it to PNG, or use `edge-glass import --format svg`"
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
