"""An image of a request: from a data URI, or from a public URL if that is allowed."""

from __future__ import annotations

import asyncio
import base64
import binascii
from urllib.parse import unquote

from PIL import Image

from edge_glass.encoders.images import BadImageError, decode_image, to_rgb
from edge_glass.fusion.serve.context import Context
from edge_glass.fusion.serve.failure import RequestError
from edge_glass.fusion.serve.limits import Limits
from edge_glass.fusion.serve.remote_image import fetch_image

# The formats of browsers and phones. The others are left out, because a small header may hide a
# large image in them: an ICO holds a PNG, and the tiles of a TIFF have a size of their own.
BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"RIFF")
BOX = b"ftyp"  # AVIF and HEIC, after four bytes
START_OF_SCAN = b"\xff\xda"
MAX_SCANS = (
    64  # of a progressive JPEG, which usually has about 10; each costs a pass over the image
)


async def image_bytes(url: str, context: Context, param: str) -> bytes:
    """Returns the content of an image that a request names.

    Raises:
        RequestError: if it is neither a data URI nor a URL that may be requested.
    """
    if not url[:8].lower().startswith(("http://", "https://")):
        return data_uri_bytes(url, param)
    if not context.allow_remote:
        raise RequestError(
            400,
            "this server requests no URLs; send the image as data:image/jpeg;base64,...",
            param=param,
            code="remote_images_not_allowed",
        )
    return await asyncio.to_thread(fetch_image, url, context.limits, param)


def data_uri_bytes(url: str, param: str) -> bytes:
    """Returns the content of a data URI in base64.

    Percent-encoding, white space and missing `=` at the end are read as browsers do.
    Source: https://fetch.spec.whatwg.org/#data-url-processor.

    Raises:
        RequestError: if it is something else.
    """
    head, comma, content = url.strip().partition(",")
    kind = "".join(head[:200].split()).lower()
    if not kind.startswith("data:image/") or not kind.endswith(";base64"):
        raise RequestError(
            400,
            f"an image begins with {url[:30]!r}, expected a data URI such as "
            "data:image/jpeg;base64,...",
            param=param,
            code="invalid_image_url",
        )
    content = "".join(unquote(content).split()).rstrip("=")
    try:
        data = base64.b64decode(content + "=" * (-len(content) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestError(
            400, f"the image is not valid base64: {error}", param=param, code="invalid_base64"
        ) from None
    if not comma or not data:
        raise RequestError(400, "the image has no bytes", param=param, code="invalid_image")
    return data


def open_image(data: bytes, limits: Limits, param: str) -> Image.Image:
    """Decodes an image of a stranger, as upright RGB.

    Raises:
        RequestError: if it is no image of a known format, broken, or too large.
    """

    def refusal(message: str) -> RequestError:
        return RequestError(400, f"the image {message}", param=param, code="invalid_image")

    if not data.startswith(BEGINNINGS) and data[4:8] != BOX:
        raise refusal("is not a JPEG, PNG, WebP, GIF, AVIF or HEIC; convert it to one of these")
    if data.startswith(BEGINNINGS[0]) and data.count(START_OF_SCAN) > MAX_SCANS:
        raise refusal(f"has more than {MAX_SCANS} scans; save it again as a usual JPEG")
    try:
        return to_rgb(decode_image(data, max_pixels=limits.max_pixels, reduce_large=False))
    except BadImageError as error:
        if error.reason == "image_bomb":
            raise refusal(
                f"has more than {limits.max_pixels} pixels (max_pixels); send a smaller one"
            ) from None
        raise refusal(f"can't be read: {error.detail[:300]}") from None
