"""Colour profiles against their definition: linear light, a matrix, and sRGB's curve."""

from __future__ import annotations

import io
import random
import struct

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import icc_profiles as icc
from edge_glass.encoders.images import decode_image, to_rgb

# lcms2 computes with 16-bit tables and rounds; two of 255 levels are its error.
LEVELS = 2
RNG = np.random.default_rng(0)
COLOURS = Image.fromarray(RNG.integers(0, 256, (12, 20, 3), np.uint8))


def stored(image: Image.Image, kind: str, profile: bytes, **options: object) -> bytes:
    file = io.BytesIO()
    if kind == "WEBP":
        options = {"lossless": True}
    image.save(file, kind, icc_profile=profile, **options)
    return file.getvalue()


def pixels(image: Image.Image) -> NDArray[np.int16]:
    return np.asarray(image, dtype=np.int16)


def by_definition(image: Image.Image, colorants: icc.Colorants, gamma: float | None) -> NDArray:
    share = np.asarray(image, dtype=np.float64) / 255
    low = share / 12.92
    light = (
        share**gamma if gamma else np.where(share <= 0.04045, low, ((share + 0.055) / 1.055) ** 2.4)
    )
    linear = light @ np.array(colorants) @ np.linalg.inv(np.array(icc.SRGB))
    linear = linear.clip(0, 1)
    high = 1.055 * linear ** (1 / 2.4) - 0.055
    return np.rint(255 * np.where(linear <= 0.0031308, 12.92 * linear, high)).astype(np.int16)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_display_p3_and_adobe_rgb_are_shown_in_srgb(kind: str) -> None:
    for colorants, gamma in ((icc.DISPLAY_P3, None), (icc.ADOBE_RGB, 2.19921875)):
        profile = icc.rgb_profile(colorants, (gamma,) if gamma else icc.LINES)
        shown = to_rgb(decode_image(stored(COLOURS, kind, profile)))
        expected = by_definition(COLOURS, colorants, gamma)
        assert np.abs(pixels(shown) - expected).max() <= LEVELS
        assert np.abs(pixels(COLOURS) - expected).max() > 20  # or the test would show nothing
        assert to_rgb(shown).tobytes() == shown.tobytes()  # not applied twice


def test_a_profile_of_jpeg_2000_is_read_by_its_boxes() -> None:
    # Pillow writes no profile: its box of the colour space is replaced
    file = io.BytesIO()
    COLOURS.save(file, "JPEG2000", irreversible=False)
    data, profile = file.getvalue(), icc.rgb_profile(icc.DISPLAY_P3)
    place = data.index(b"jp2h") - 4
    old = data[place : place + int.from_bytes(data[place : place + 4], "big")]
    start = old.index(b"colr") - 4
    end = start + int.from_bytes(old[start : start + 4], "big")
    box = struct.pack(">I4s3B", 11 + len(profile), b"colr", 2, 0, 0) + profile
    new = old[8:start] + box + old[end:]
    changed = data.replace(old, struct.pack(">I4s", 8 + len(new), b"jp2h") + new)
    expected = by_definition(COLOURS, icc.DISPLAY_P3, None)
    assert np.abs(pixels(to_rgb(decode_image(changed))) - expected).max() <= LEVELS
    assert to_rgb(decode_image(data)).tobytes() == COLOURS.tobytes()


def test_a_profile_in_a_lossy_file_palette_and_below_transparency() -> None:
    profile = icc.rgb_profile(icc.DISPLAY_P3)
    for kind in ("JPEG", "AVIF"):
        data = stored(COLOURS, kind, profile, quality=100)
        plain = Image.open(io.BytesIO(data)).convert("RGB")
        expected = by_definition(plain, icc.DISPLAY_P3, None)
        assert np.abs(pixels(to_rgb(decode_image(data))) - expected).max() <= LEVELS
    few = COLOURS.quantize(16)
    expected = by_definition(few.convert("RGB"), icc.DISPLAY_P3, None)
    shown = to_rgb(decode_image(stored(few, "PNG", profile)))
    assert np.abs(pixels(shown) - expected).max() <= LEVELS
    clear = COLOURS.convert("RGBA")
    clear.putalpha(0)
    assert to_rgb(decode_image(stored(clear, "PNG", profile))).getextrema() == ((255, 255),) * 3


def test_greys_and_cmyk_have_profiles_of_their_own() -> None:
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    light = to_rgb(decode_image(stored(ramp, "PNG", icc.grey_profile(1.6))))
    expected = by_definition(ramp.convert("RGB"), icc.SRGB, 1.6)
    assert np.abs(pixels(light) - expected).max() <= LEVELS
    black = Image.new("CMYK", (8, 8), (0, 0, 0, 255))
    for kind in ("TIFF", "JPEG"):
        plain = to_rgb(decode_image(stored(black, kind, b"")))
        assert max(plain.getpixel((4, 4))) <= 2  # Pillow's own rule: no ink, no light
        shown = to_rgb(decode_image(stored(black, kind, icc.cmyk_profile(black=60))))
        # L* of 60/255 * 100 = 23.5 is the grey 56 (CIE 15), and the profile's black has no colour
        assert all(abs(level - 56) <= 4 for level in shown.getpixel((4, 4)))


def test_srgb_and_profiles_of_other_modes_change_no_byte() -> None:
    srgb = icc.rgb_profile(icc.SRGB)
    assert to_rgb(decode_image(stored(COLOURS, "PNG", srgb))).tobytes() == COLOURS.tobytes()
    for image, profile in (
        (COLOURS, icc.cmyk_profile()),
        (COLOURS, icc.grey_profile(1.0)),
        (COLOURS.convert("L"), icc.rgb_profile(icc.DISPLAY_P3)),
    ):
        shown = to_rgb(decode_image(stored(image, "PNG", profile)))
        assert shown.tobytes() == image.convert("RGB").tobytes()


def test_a_broken_profile_is_ignored() -> None:
    whole = icc.rgb_profile(icc.DISPLAY_P3)
    unlit = icc.rgb_profile(((0, 0, 0),) * 3)
    for profile in (b"x", bytes(500), whole[:200], whole[:16] + b"ABCD" + whole[20:], unlit):
        shown = to_rgb(decode_image(stored(COLOURS, "PNG", profile)))
        assert shown.tobytes() == COLOURS.tobytes()


@pytest.mark.parametrize("rounds", [60, pytest.param(2000, marks=pytest.mark.slow)])
def test_no_damage_of_a_profile_is_an_error(rounds: int) -> None:
    draw = random.Random(0)
    whole = [icc.rgb_profile(icc.DISPLAY_P3), icc.grey_profile(1.8), icc.cmyk_profile()]
    images = [COLOURS, COLOURS.convert("L"), COLOURS.convert("CMYK")]
    for number in range(rounds):
        profile = bytearray(whole[number % 3])
        for _ in range(draw.randint(1, 20)):
            profile[draw.randrange(min(len(profile), 400))] = draw.randrange(256)
        cut = draw.choice((len(profile), draw.randrange(len(profile))))
        image = images[number % 3]
        shown = to_rgb(decode_image(stored(image, "TIFF", bytes(profile[:cut]))))
        assert (shown.mode, shown.size) == ("RGB", image.size)
