"""Formats of a plug-in: read if it is installed, otherwise refused with the name of the package."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest
from PIL import Image

from edge_glass.encoders.image_plugins import missing_plugin, plugin_format
from edge_glass.encoders.images import BadImageError, decode_image, to_rgb

HEIC = b"\0\0\0\x18ftypheic" + bytes(64)
JXL = b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(64)


def test_a_format_is_known_by_its_brands() -> None:
    avif = io.BytesIO()
    Image.new("RGB", (16, 16)).save(avif, "AVIF")
    assert plugin_format(avif.getvalue()) == ""  # Pillow's own
    assert plugin_format(b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf") == ""
    assert plugin_format(b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic") == "HEIF"
    assert plugin_format(b"\0\0\0\x18ftypmsf1\0\0\0\0msf1hevc") == "HEIF"
    assert plugin_format(b"\0\0\0\x18ftypisom\0\0\0\0isommp42") == ""  # a video
    assert plugin_format(b"\xff\x0a") == plugin_format(JXL) == "JXL"


@pytest.mark.parametrize(
    ("data", "module", "package"),
    [(HEIC, "pillow_heif", "pillow-heif"), (JXL, "pillow_jxl", "pillow-jxl-plugin")],
)
def test_without_the_plugin_the_package_is_named(data: bytes, module: str, package: str) -> None:
    code = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "from edge_glass.encoders.images import *\n"
        f"try: decode_image({data!r})\n"
        "except BadImageError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("needs_plugin: ")
    assert f"pip install {package}, or convert it to PNG" in done.stdout


@pytest.mark.parametrize(("module", "kind"), [("pillow_heif", "HEIF"), ("pillow_jxl", "JXL")])
def test_with_the_plugin_an_image_is_read(module: str, kind: str) -> None:
    pytest.importorskip(module)
    broken = HEIC if kind == "HEIF" else JXL
    assert missing_plugin(broken) == ""  # loads the plug-in, which then writes the format too
    with pytest.raises(BadImageError):
        decode_image(broken)
    image = Image.new("RGB", (64, 48), (200, 30, 60))
    file = io.BytesIO()
    image.save(file, kind, quality=90)
    shown = to_rgb(decode_image(file.getvalue()))
    assert shown.size == image.size
    pixel = shown.getpixel((30, 20))
    assert all(abs(a - b) <= 6 for a, b in zip(pixel, (200, 30, 60), strict=True))  # lossy
