"""SVG drawings as bytes, packed with gzip or not."""

from __future__ import annotations

import gzip
import io
import zlib

from edge_glass.training.ingest.reading.records import RowProblem

MAX_SVG = 32 * 2**20  # bytes, unpacked


def is_svg(data: bytes) -> bool:
    """Returns whether bytes are a drawing, packed or not."""
    head = data[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")
    if data.startswith(b"\x1f\x8b"):
        return True  # no format of images begins like gzip
    return head.startswith(b"<") and (b"<svg" in head or head.startswith((b"<?xml", b"<!DOCTYPE")))


def unpacked(data: bytes) -> bytes:
    """Returns the XML of an SVG that may be packed with gzip.

    Raises:
        RowProblem: "large_file" or "broken_svg".
    """
    if data.startswith(b"\x1f\x8b"):
        try:
            with gzip.open(io.BytesIO(data)) as file:
                data = file.read(MAX_SVG + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise RowProblem("broken_svg", f"can't be unpacked: {error}") from None
    if len(data) > MAX_SVG:
        raise RowProblem("large_file", f"the drawing has more than {MAX_SVG} bytes")
    return data
