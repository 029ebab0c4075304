"""Small colour profiles for tests, written from their definition (ICC.1:2010)."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from itertools import product

Colorants = Sequence[Sequence[float]]  # of red, green and blue: X, Y, Z relative to D50

DISPLAY_P3 = (
    (0.51512, 0.24120, -0.00105),
    (0.29198, 0.69225, 0.04189),
    (0.15710, 0.06657, 0.78407),
)
ADOBE_RGB = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))
D50 = (0.9642, 1.0, 0.8249)
LINES = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)  # sRGB's curve


def rgb_profile(colorants: Colorants, curve: Sequence[float] = LINES) -> bytes:
    """A matrix profile; the curve is a gamma, or the five numbers of sRGB's form."""
    tags = {f"{name}XYZ": _xyz(each) for name, each in zip("rgb", colorants, strict=True)}
    return _profile(b"RGB ", b"XYZ ", {**tags, **{f"{name}TRC": _curve(curve) for name in "rgb"}})


def grey_profile(gamma: float) -> bytes:
    return _profile(b"GRAY", b"XYZ ", {"kTRC": _curve((gamma,))})


def cmyk_profile(black: int = 30) -> bytes:
    """Inks whose darkness adds up; `black` is the lightness of black ink, 0 to 255."""
    ramp = bytes(range(256))
    nodes = b""
    for inks in product((0, 1), repeat=4):
        light = max(black, 255 - 75 * sum(inks[:3])) if not inks[3] else black
        # cyan is green-blue, magenta red-blue, yellow yellow: a* and b* with 128 for none
        nodes += bytes(
            (light, 128 - 40 * inks[0] + 60 * inks[1], 128 - 40 * inks[0] + 70 * inks[2])
        )
    table = b"mft1" + bytes(4) + bytes((4, 3, 2, 0))
    table += struct.pack(">9i", *(65536 * (number % 4 == 0) for number in range(9)))
    return _profile(b"CMYK", b"Lab ", {"A2B0": table + ramp * 4 + nodes + ramp * 3}, b"prtr")


def _profile(space: bytes, pcs: bytes, tags: Mapping[str, bytes], kind: bytes = b"mntr") -> bytes:
    tags = {"wtpt": _xyz(D50), **tags}
    place = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, tag in tags.items():
        tag += bytes(-len(tag) % 4)
        table += struct.pack(">4sII", name.encode(), place + len(body), len(tag))
        body += tag
    head = bytes(8) + struct.pack(">I", 0x02400000) + kind + space + pcs + bytes(12) + b"acsp"
    head += bytes(28) + struct.pack(">3i", *(round(65536 * each) for each in D50))
    head = head.ljust(128, b"\0")
    whole = head + table + body
    return struct.pack(">I", len(whole)) + whole[4:]


def _xyz(values: Sequence[float]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(65536 * each) for each in values))


def _curve(numbers: Sequence[float]) -> bytes:
    kind = {1: 0, 5: 3}[len(numbers)]
    head = b"para\0\0\0\0" + struct.pack(">HH", kind, 0)
    return head + struct.pack(f">{len(numbers)}i", *(round(65536 * each) for each in numbers))
