"""The bytes of an image, checked and described.

Runs in the worker processes, whose start costs what is imported here. Images that only a plug-in of
Pillow reads are kept as PNG, so that no later step needs the plug-in; drawings are rendered.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field

from edge_glass.encoders.image_plugins import plugin_format
from edge_glass.encoders.images import BadImageError, check_mode, decode_image, guarded
from edge_glass.fusion.sheets.contact_sheet import is_sheet
from edge_glass.training.ingest.reading.drawing import is_svg, unpacked
from edge_glass.training.ingest.reading.records import RowProblem
from edge_glass.training.ingest.structure import whole_image

SIDE = 512  # pixels of the longer side of a rendered drawing
HREF = re.compile(r"""(href\s*=\s*)(?:"(?!\s*(?:#|data:))[^"]*"|'(?!\s*(?:#|data:))[^']*')""")


Size = tuple[int, int]  # width and height in pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """An image that can be used.

    Attributes:
        data: as they are stored.
        sha256: of `data`.
        name: content-addressed, such as `SHA256.jpeg`.
        size: width and height in pixels, as stored.
    """

    data: bytes = field(repr=False)
    sha256: str
    name: str
    size: Size


def check_image(data: bytes) -> Checked:
    """Checks that an image is whole, and returns what is stored of it.

    A JPEG or PNG is judged by its structure, any other image is decoded.

    Raises:
        RowProblem: with a reason of `encoders.images`, or "own_sheet", "needs_plugin" or
            "broken_svg".
    """
    if is_sheet(data):
        raise RowProblem("own_sheet", "a contact sheet of edge-glass")
    if is_svg(data):
        data = render(data)
    try:
        if plugin_format(data):
            data = _as_png(data)
        kind, size = whole_image(data) or _decode(data)
    except BadImageError as error:
        raise RowProblem(error.reason, error.detail) from None
    sha256 = hashlib.sha256(data).hexdigest()
    return Checked(data=data, sha256=sha256, name=f"{sha256}.{kind.lower()}", size=size)


def _decode(data: bytes) -> tuple[str, Size]:
    sizes: list[Size] = []

    def draft(size: Size) -> Size:
        # libjpeg reads every byte, and computes an eighth of the pixels per side
        sizes.append(size)
        return 1, 1

    image = decode_image(data, draft=draft)
    check_mode(image)
    return str(image.format), sizes[-1] if sizes else image.size


def render(data: bytes) -> bytes:
    """Renders a drawing to PNG, its longer side `SIDE` pixels.

    Raises:
        RowProblem: "needs_plugin" or "broken_svg".
    """
    try:
        import resvg_py
    except ImportError:
        raise RowProblem("needs_plugin", "SVG: pip install edge-glass-training[svg]") from None
    text = unpacked(data).decode("utf-8", "replace").lstrip("\ufeff")
    if "<!ENTITY" in text:
        # entities could hide what the next step looks for
        try:
            text = ElementTree.tostring(ElementTree.fromstring(text), "unicode")
        except (ElementTree.ParseError, ValueError) as error:
            raise RowProblem("broken_svg", f"not valid XML: {error}") from None
    # a drawing must not show files of this machine
    text = HREF.sub(r'\1""', text)
    try:
        return bytes(
            resvg_py.svg_to_bytes(
                svg_string=text,
                width=SIDE,  # it keeps the aspect: the box that the drawing is fitted into
                height=SIDE,
                dpi=96.0,  # of CSS; without it a size in pt or cm is refused
                skip_system_fonts="<text" not in text,
            )
        )
    except ValueError as error:
        raise RowProblem("broken_svg", str(error)) from None
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise RowProblem("broken_svg", f"the renderer failed: {error}") from None


def _as_png(data: bytes) -> bytes:
    image = decode_image(data)
    with guarded():
        if image.mode not in ("RGB", "RGBA", "L", "LA", "I;16"):
            image = image.convert("RGBA" if image.has_transparency_data else "RGB")
        file = io.BytesIO()
        keep = {key: image.info[key] for key in ("icc_profile", "exif") if image.info.get(key)}
        image.save(file, "PNG", **keep)
    return file.getvalue()


def read_file(path: bytes, limit: int) -> bytes:
    """Returns the bytes of a file.

    Raises:
        RowProblem: "missing_file", "unreadable_file", "large_file" or "empty_file".
    """
    try:
        # without waiting, if the name is a pipe's by now
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            data = file.read(limit + 1)
    except FileNotFoundError:
        raise RowProblem("missing_file", "no such file") from None
    except OSError as error:
        raise RowProblem("unreadable_file", f"{error.strerror}") from None
    if not data:
        raise RowProblem("empty_file", "no bytes")
    if len(data) > limit:
        raise RowProblem("large_file", f"more than {limit} bytes")
    return data
