"""Whatever the bytes are: an image as viewers show it, or one exception with a reason."""

from __future__ import annotations

import io
import pickle
import random
import struct
import subprocess
import sys
import threading
import warnings
from collections import Counter
from itertools import product

import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin

from edge_glass.encoders import images
from edge_glass.encoders.images import BadImageError, decode_image, orientation, to_rgb

RNG = np.random.default_rng(0)
NOISE = Image.fromarray(RNG.integers(0, 256, (12, 20, 3), np.uint8))


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def turned(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


def reason(data: bytes | None, **options: int) -> str:
    with pytest.raises(BadImageError) as caught:
        decode_image(data, **options)
    return caught.value.reason


# --- images that are fine ---------------------------------------------------------------------


def as_viewers_show_it(data: bytes) -> Image.Image:
    """The reference, for modes of 8 bits: Pillow's own turning, then white below what is clear."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    page = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(page, layer).convert("RGB")


def half_clear() -> Image.Image:
    image = NOISE.convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


SHOWN = {
    "RGB": (NOISE, ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000", "PPM", "ICO")),
    "L": (NOISE.convert("L"), ("PNG", "JPEG", "TIFF", "BMP", "GIF", "PPM")),
    "1": (NOISE.convert("1"), ("PNG", "TIFF", "BMP")),
    "P": (NOISE.quantize(16), ("PNG", "GIF", "TIFF", "BMP")),
    "LA": (half_clear().convert("LA"), ("PNG", "TIFF")),
    "RGBA": (half_clear(), ("PNG", "WEBP", "TIFF")),
    "CMYK": (NOISE.convert("CMYK"), ("JPEG", "TIFF")),
    "YCbCr": (NOISE.convert("YCbCr"), ("TIFF", "JPEG")),
}
ORIENTED = ("PNG", "JPEG", "WEBP", "TIFF", "AVIF")


@pytest.mark.parametrize("mode", SHOWN)
def test_pixels_are_those_of_pillow_in_every_mode_format_and_orientation(mode: str) -> None:
    image, kinds = SHOWN[mode]
    for kind, value in product(kinds, range(1, 9)):
        options = {"exif": turned(value)} if kind in ORIENTED else {}
        data = saved(image, kind, **options)
        expected = as_viewers_show_it(data)
        found = to_rgb(decode_image(data))
        assert found.mode == "RGB"
        assert found.size == expected.size
        assert found.tobytes() == expected.tobytes(), (mode, kind, value)
        if kind not in ORIENTED:
            break


def test_clear_colours_of_palettes_greys_and_rgb() -> None:
    for image, clear in ((NOISE.quantize(16), 3), (NOISE.convert("L"), 77), (NOISE, (1, 2, 3))):
        data = saved(image, "PNG", transparency=clear)
        assert to_rgb(decode_image(data)).tobytes() == as_viewers_show_it(data).tobytes()
    half = Image.new("RGBA", (2, 2), (255, 0, 0, 128))
    assert to_rgb(half).getpixel((0, 0)) == (255, 127, 127)


def test_the_eight_orientations() -> None:
    """By the corner that is white, against the drawing in the EXIF standard."""
    image = Image.new("L", (40, 20), 0)
    image.paste(255, (0, 0, 10, 10))  # top left, as stored
    corners = ["top left", "top right", "bottom right", "bottom left"] * 2
    for value, corner in enumerate(corners, 1):
        stored = decode_image(saved(image, "PNG", exif=turned(value)))
        assert orientation(stored) == value
        shown = to_rgb(stored)
        assert shown.size == ((40, 20) if value < 5 else (20, 40))
        x = 2 if "left" in corner else shown.width - 3
        y = 2 if "top" in corner else shown.height - 3
        assert shown.getpixel((x, y)) == (255, 255, 255)
        # what was shown is not turned again, and what was stored is left alone
        assert to_rgb(shown).tobytes() == shown.tobytes()
        assert orientation(shown) == 1
        assert orientation(stored) == value
        assert stored.size == (40, 20)


def test_16_bits_are_scaled_not_clipped() -> None:
    values = np.array([[0, 128 * 257, 65535]], dtype=np.uint16)
    shown = to_rgb(decode_image(saved(Image.fromarray(values), "PNG")))
    assert [shown.getpixel((x, 0)) for x in range(3)] == [(0,) * 3, (128,) * 3, (255,) * 3]


def test_a_draft_is_at_least_as_large_as_asked_and_only_of_jpeg() -> None:
    large = NOISE.resize((400, 240))
    draft = decode_image(saved(large, "JPEG"), draft=lambda size: (size[0] // 3, size[1] // 3))
    assert draft.size == (200, 120)
    assert decode_image(saved(large, "PNG"), draft=lambda size: (1, 1)).size == (400, 240)


# --- images with odd metadata, which viewers show ---------------------------------------------


def exif_block(order: str, *entries: tuple[int, int, int, bytes]) -> bytes:
    """EXIF of raw entries: tag, type, count and the 4 bytes of the value or its place."""
    block = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "IH", 8, len(entries))
    for tag, kind, count, value in sorted(entries):
        block += struct.pack(order + "HHI", tag, kind, count) + value.ljust(4, b"\0")
    return block + bytes(4)


def with_exif(kind: str, block: bytes) -> bytes:
    exif = b"Exif\0\0" + block
    if kind != "JPEG":
        return saved(NOISE, kind, exif=exif, lossless=True)
    body = saved(NOISE, "JPEG")
    return body[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + body[2:]


TAGS = (0x10F, 0x110, 0x11A, 0x11B, 0x128, 0x131, 0x14A, 0x213, 0x8769, 0x8825, 0xA005, 0x927C)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_odd_tags_do_not_matter_and_the_orientation_counts(kind: str) -> None:
    upright = to_rgb(decode_image(saved(NOISE, kind, lossless=True)))
    expected = upright.transpose(Image.Transpose.ROTATE_270).tobytes()
    draw = random.Random(0)
    for _ in range(300):
        order = draw.choice("<>")
        odd = [
            (tag, draw.randrange(18), draw.choice([0, 1, 1, 4, 100, 2**31]), draw.randbytes(4))
            for tag in draw.sample(TAGS, draw.randint(1, 4))
        ]
        six = (0x0112, 3, 1, struct.pack(order + "H", 6))
        shown = to_rgb(decode_image(with_exif(kind, exif_block(order, six, *odd))))
        assert shown.tobytes() == expected, odd


def test_odd_tags_of_a_tiff_do_not_matter() -> None:
    data = saved(NOISE, "TIFF", compression="tiff_adobe_deflate", exif=turned(6))
    expected = to_rgb(decode_image(data)).tobytes()
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    table = [data[start + 2 + 12 * n : start + 14 + 12 * n] for n in range(count)]
    draw = random.Random(0)
    for _ in range(100):
        # Not 0x9C9B and the like: libtiff itself prints a line about these.
        tag, typ = draw.choice((0x10F, 0x110, 0x131, 0x14A, 0x8769, 0x8825)), draw.randrange(1, 13)
        odd = struct.pack("<HHI", tag, typ, 1) + draw.randbytes(4)
        entries = sorted([*table, odd], key=lambda entry: struct.unpack_from("<H", entry)[0])
        body = data + bytes(len(data) % 2)
        body = body[:4] + struct.pack("<I", len(body)) + body[8:]
        body += struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
        assert to_rgb(decode_image(body)).tobytes() == expected, odd


@pytest.mark.parametrize(
    "block",
    [b"", b"II*\0", b"no TIFF at all", exif_block("<", (0x0112, 3, 1, b"\x09")),
     exif_block("<", (0x0112, 2, 1, b"6")), exif_block("<", (0x0112, 3, 2, b"\6\0\6\0"))[:-8]],
)  # fmt: skip
def test_an_orientation_that_can_not_be_read_is_upright(block: bytes) -> None:
    for kind in ("JPEG", "PNG", "WEBP"):
        assert to_rgb(decode_image(with_exif(kind, block))).size == NOISE.size


def much(kind: str) -> bytes:
    info = PngImagePlugin.PngInfo()
    if kind == "icc":
        return saved(NOISE, "PNG", icc_profile=bytes(1_500_000), exif=turned(6))
    if kind == "many":  # of an allowed size each, above the limit together
        for number in range(70):
            info.add_text(f"part {number}", "x" * 1_000_000, zip=True)
    add = info.add_itxt if kind == "itxt" else info.add_text
    add("workflow", "x" * 1_500_000, zip=True)
    return saved(NOISE, "PNG", pnginfo=info, exif=turned(6))


@pytest.mark.parametrize("kind", ["ztxt", "itxt", "icc", "many"])
def test_megabytes_of_text_do_not_matter_and_the_orientation_counts(kind: str) -> None:
    shown = to_rgb(decode_image(much(kind)))
    assert shown.tobytes() == NOISE.transpose(Image.Transpose.ROTATE_270).tobytes()


def test_text_behind_the_pixels_and_a_wrong_checksum_do_not_matter() -> None:
    data, text = saved(NOISE, "PNG"), much("ztxt")
    start = text.index(b"zTXt") - 4
    chunk = text[start : start + 12 + int.from_bytes(text[start : start + 4], "big")]
    for odd in (chunk, chunk[:-1] + bytes([chunk[-1] ^ 1])):
        for place in (33, len(data) - 12):  # behind the header, and before the end
            found = decode_image(data[:place] + odd + data[place:])
            assert found.tobytes() == NOISE.tobytes()


# --- bytes that are no image ------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "GIF"])
def test_half_an_image_is_none(kind: str) -> None:
    data = saved(Image.effect_noise((64, 48), 80), kind)
    assert decode_image(data).size == (64, 48)
    assert reason(data[: len(data) // 2]) in ("truncated_image", "not_an_image")
    if kind != "TIFF":  # whose directory is at the end
        assert reason(data[: len(data) // 2]) == "truncated_image"


BMP = saved(NOISE, "BMP")
HUGE = BMP[:18] + struct.pack("<ii", 99_999, 99_999) + BMP[26:]  # as its header has it


@pytest.mark.parametrize(
    ("data", "expected", "detail"),
    [
        (None, "missing_image", "the file is empty"),
        (b"", "missing_image", "the file is empty"),
        (b"<!doctype html><html>404</html>", "not_an_image", r"begin with b'<!doctype html><"),
        (b"<?xml version='1.0'?><svg/>", "not_an_image", "a drawing .SVG.: render it to PNG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not_an_image", "begin with"),
        (saved(NOISE, "PNG").replace(b"\x0dIHDR", b"\x02IHDR"), "undecodable_image", "Truncated"),
        (HUGE, "image_bomb", "exceeds limit"),
    ],
)
def test_every_kind_of_damage_has_a_reason(data: bytes | None, expected: str, detail: str) -> None:
    with pytest.raises(BadImageError, match=f"^{expected}: .*{detail}") as caught:
        decode_image(data)
    assert caught.value.reason == expected
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - from a worker process
    assert (again.reason, again.detail) == (expected, caught.value.detail)


def test_a_limit_of_pixels() -> None:
    data = saved(NOISE, "JPEG")
    assert decode_image(data, max_pixels=240).size == (20, 12)
    assert reason(data, max_pixels=239) == "image_bomb"


def test_no_pixels_are_refused() -> None:
    with pytest.raises(BadImageError, match="too_small: 0 x 5 pixels"):
        to_rgb(Image.new("RGB", (0, 5)))


@pytest.mark.parametrize("kind", ["JPEG", "JPEG2000"])
def test_a_large_image_is_decoded_at_a_fraction_of_its_size(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = Image.linear_gradient("L").resize((200, 100))
    data, turning = saved(image, kind), saved(image, "JPEG", progressive=True)
    whole = np.asarray(to_rgb(decode_image(data)), dtype=float)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3000)  # Pillow refuses twice as many
    small = decode_image(data)
    assert small.size == (100, 50)
    halved = whole.reshape(50, 2, 100, 2, 3).mean(axis=(1, 3))
    assert np.abs(np.asarray(to_rgb(small)) - halved).mean() < 3  # a different filter, of 255
    assert reason(data, max_pixels=4999) == "image_bomb"
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 160)
    assert decode_image(data).size == (25, 13)
    assert reason(turning) == "image_bomb"  # all of its coefficients would be in memory
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    assert reason(data) == "image_bomb"


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_lacks_bytes_but_no_pixel_is_used(progressive: bool) -> None:
    data = saved(Image.effect_noise((64, 48), 80), "JPEG", progressive=progressive)
    whole = to_rgb(decode_image(data)).tobytes()
    for lost in (1, 2):
        assert to_rgb(decode_image(data[:-lost])).tobytes() == whole
    for lost in (12, 100, len(data) // 2):
        assert reason(data[:-lost]) == "truncated_image"


def test_an_opened_file_that_breaks_off_has_a_reason_too() -> None:
    data = saved(Image.effect_noise((64, 48), 80), "PNG")
    with pytest.raises(BadImageError, match="truncated_image"):
        to_rgb(Image.open(io.BytesIO(data[: len(data) // 2])))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "AVIF", "BMP", "ICO"])
def test_damaged_bytes_are_an_image_or_the_one_exception(kind: str) -> None:
    draw = random.Random(kind)
    options = {"exif": turned(6)} if kind in ORIENTED else {}
    whole = saved(NOISE, kind, **options)
    found: Counter[str] = Counter()
    for number in range(400):
        data = bytearray(whole)
        for _ in range(draw.randint(1, 10)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        if number % 4 == 0:
            del data[draw.randrange(len(data)) :]
        try:
            found[to_rgb(decode_image(bytes(data))).mode] += 1
        except BadImageError as error:
            found[error.reason] += 1
    assert set(found) <= {
        *("RGB", "not_an_image", "truncated_image", "undecodable_image"),
        *("missing_image", "image_bomb", "unsupported_mode", "too_small", "needs_plugin"),
    }
    assert found["truncated_image"] + found["not_an_image"] > 0


def test_a_lack_of_memory_is_not_the_images_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object, **_options: object) -> None:
        raise MemoryError

    data = saved(NOISE, "PNG")
    monkeypatch.setattr(Image.Image, "load", fail)
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", fail)
    with pytest.raises(MemoryError):
        decode_image(data)


def test_pillow_s_warnings_stay_out_in_all_threads_and_nobody_elses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200)  # a warning above it, an error above twice
    data, before = saved(NOISE, "PNG"), list(warnings.filters)
    with pytest.raises(Image.DecompressionBombWarning):
        Image.open(io.BytesIO(data))
    done: list[bool] = []

    def work() -> None:
        for _ in range(50):
            to_rgb(decode_image(data))
        done.append(True)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == [True] * 4
    assert warnings.filters == before
    with images.guarded(), pytest.raises(UserWarning, match="ours"):
        warnings.warn("ours", UserWarning, stacklevel=1)


def test_torch_is_not_imported() -> None:
    code = (
        "import sys, edge_glass.encoders.files, edge_glass.encoders.images;"
        "sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})
