"""Formats that Pillow reads only with a plug-in, and the package that each of them needs.

A plug-in is imported when the first image of its format is met, because the import takes time.
"""

from __future__ import annotations

import functools

from PIL import features

# Pillow's name of a format: what to install; Pillow itself reads AVIF since 11.3
PLUGINS = {"HEIF": "pillow-heif", "JXL": "pillow-jxl-plugin", "AVIF": "--upgrade pillow"}
NAMES = {"HEIF": "HEIC (HEIF)", "JXL": "JPEG XL", "AVIF": "AVIF"}
AVIF_BRANDS = {b"avif", b"avis"}
HEIF_BRANDS = {
    b"heic", b"heim", b"heis", b"heix", b"hevc", b"hevm", b"hevs", b"hevx", b"mif1", b"msf1",
}  # fmt: skip


def plugin_format(data: bytes) -> str:
    """Returns the format of an image file if Pillow itself does not read it, or ""."""
    if data.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL ")):
        return "JXL"
    brands = _brands(data)
    if brands & AVIF_BRANDS:
        return "" if features.check("avif") else "AVIF"
    return "HEIF" if brands & HEIF_BRANDS else ""


def missing_plugin(data: bytes) -> str:
    """Returns what would read an image file if it needs a plug-in that is not installed, or ""."""
    kind = plugin_format(data)
    if not kind or has_plugin(kind):
        return ""
    return f"{NAMES[kind]}: pip install {PLUGINS[kind]}, or convert it to PNG"


@functools.cache
def has_plugin(kind: str) -> bool:
    """Loads the plug-in of a format of `PLUGINS`; returns False if it is not installed."""
    try:
        if kind == "HEIF":
            import pillow_heif

            pillow_heif.register_heif_opener()
        elif kind == "JXL":
            import pillow_jxl  # noqa: F401 - Pillow knows the format from now on
    except ImportError:
        return False
    return kind != "AVIF"


def _brands(data: bytes) -> set[bytes]:
    """Returns the brands of a file of the ISO base media format (ISO/IEC 14496-12, 4.3)."""
    if data[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(data[:4], "big"), 256)
    return {data[place : place + 4] for place in (8, *range(16, end, 4))}
