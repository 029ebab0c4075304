"""The orientation in the metadata of an image file, read even if Pillow rejects the metadata.

The bytes are read and written here, so that one malformed tag does not hide the others.
Sources: PNG (W3C, third edition), JPEG (ITU-T T.81), TIFF 6.0, EXIF 2.32 (CIPA DC-008), JP2
(ITU-T T.800, annex I).
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator

ORIENTATION = 0x0112  # EXIF and TIFF tag
PROFILE = 34675  # TIFF tag of the colour profile
# TIFF tags that pixels and orientation depend on: sizes, strips, tiles, compression, colours.
PIXEL_TAGS = {
    *range(254, 269), *range(273, 280), 284, 317, 320, *range(322, 326), *range(338, 342), 347,
    *range(512, 522), *range(529, 533),
}  # fmt: skip


def reduce_metadata(data: bytes, *, keep_profile: bool = False) -> bytes | None:
    """Returns an image file without metadata but its orientation; None if the format has none.

    `keep_profile` keeps the colour profile too.
    """
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _reduce_png(data, keep_profile)
    if data.startswith(b"\xff\xd8\xff"):
        return _reduce_jpeg(data, keep_profile)
    if _tiff_entries(data)[1]:
        return _reduce_tiff(data, keep_profile)
    if data[4:12] == b"ftypavif":
        # EXIF with an empty directory: boxes of the format turn an AVIF, not EXIF.
        return re.sub(rb"(?s)(II\*\0\x08\0\0\0|MM\0\*\0\0\0\x08)..", rb"\1\0\0", data)
    return None


def _reduce_png(data: bytes, keep_profile: bool) -> bytes:
    kept, exif, place = [data[:8]], b"", 8
    while place + 12 <= len(data):  # size, kind, content, checksum
        end = place + 12 + int.from_bytes(data[place : place + 4], "big")
        kind = data[place + 4 : place + 8]
        if kind == b"eXIf":
            content = b"eXIf" + _exif_block(data[place + 8 : end - 4])
            exif = struct.pack(">I", len(content) - 4) + content
            exif += struct.pack(">I", zlib.crc32(content))
        elif (
            kind[:1].isupper()  # what pixels depend on
            or kind == b"tRNS"
            or (keep_profile and kind == b"iCCP")
        ):
            kept.append(data[place:end])
        place = end
    return b"".join([*kept[:2], exif, *kept[2:]])


def _reduce_tiff(data: bytes, keep_profile: bool) -> bytes:
    """Appends a directory of the needed tags to the file; the header then points to it."""
    order, entries = _tiff_entries(data)
    tags = PIXEL_TAGS | {PROFILE} if keep_profile else PIXEL_TAGS
    kept = [each for each in entries if struct.unpack_from(order + "H", each)[0] in tags]
    table = struct.pack(order + "H", len(kept)) + b"".join(kept) + bytes(4)
    body = data + bytes(len(data) % 2)
    return body[:4] + struct.pack(order + "I", len(body)) + body[8:] + table


def _reduce_jpeg(data: bytes, keep_profile: bool) -> bytes:
    kept, exif, place = [data[:2]], b"", 2
    # Segments: marker, size, content. The scan (0xDA), which holds the pixels, follows them.
    while (
        place + 4 <= len(data)
        and data[place] == 0xFF
        and 0xC0 <= (marker := data[place + 1]) != 0xDA
    ):
        end = place + 2 + int.from_bytes(data[place + 2 : place + 4], "big")
        if data[place + 4 : place + 10] == b"Exif\0\0" and marker == 0xE1:
            content = b"Exif\0\0" + _exif_block(data[place + 10 : end])
            exif = b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content
        elif (
            not (0xE1 <= marker <= 0xED or marker in (0xEF, 0xFE))  # JFIF and Adobe stay
            or (keep_profile and data[place + 4 : place + 16] == b"ICC_PROFILE\0")
        ):
            kept.append(data[place:end])
        place = end
    return b"".join([*kept[:1], exif, *kept[1:], data[place:]])


def _exif_block(exif: bytes) -> bytes:
    """Returns an EXIF block that holds the orientation of a different one, and nothing else."""
    value = exif_orientation(exif)
    return struct.pack("<4sIHHHIII", b"II*\0", 8, 1, ORIENTATION, 3, 1, value, 0)


def exif_orientation(exif: object) -> int:
    """Finds the orientation in an EXIF block, whatever its other tags hold; 1 if there is none."""
    block = exif if isinstance(exif, bytes) else b""
    order, entries = _tiff_entries(re.sub(rb"^(Exif\0\0)+", b"", block))
    for entry in entries:
        tag, kind, count = struct.unpack_from(order + "HHI", entry)
        if tag == ORIENTATION and count == 1 and kind in (3, 4):  # 16 or 32 bits
            return int(struct.unpack_from(order + " HI"[kind - 2], entry, 8)[0])
    return 1


def _tiff_entries(block: bytes) -> tuple[str, list[bytes]]:
    """Returns the byte order and the raw entries (12 bytes each) of the first TIFF directory."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None or len(block) < 8:
        return "<", []
    (start,) = struct.unpack_from(order + "I", block, 4)
    (count,) = struct.unpack(order + "H", block[start : start + 2].ljust(2, b"\0"))
    table = block[start + 2 : start + 2 + 12 * count]
    return order, [table[place : place + 12] for place in range(0, len(table) - 11, 12)]


def jpeg2000_profile(data: bytes) -> bytes:
    """Returns the colour profile of a JPEG 2000 file, which Pillow does not read; b"" if none."""
    header = next(_boxes(data, b"jp2h"), b"")
    # method, precedence and approximation, a byte each; method 2 is a profile
    return next((box[3:] for box in _boxes(header, b"colr") if box[:1] == b"\2"), b"")


def _boxes(data: bytes, kind: bytes) -> Iterator[bytes]:
    """Yields the contents of the boxes of a kind: size (0 is the rest), kind, content."""
    place = 0
    while place + 8 <= len(data):
        size, found = struct.unpack_from(">I4s", data, place)
        begin, end = place + 8, place + size if size else len(data)
        if size == 1 and place + 16 <= len(data):  # a size of 64 bits follows the kind
            begin, end = place + 16, place + struct.unpack_from(">Q", data, place + 8)[0]
        if end < begin:
            return
        if found == kind:
            yield data[begin:end]
        place = end
