"""Damage of any file, drawn from a generator."""

from __future__ import annotations

import random

ODD = (
    b"\0", b"\xff\xfe", b"\xed\xa0\x80", b'"', b"'", b"\\", b"{", b"]", b"\n", b"\r", b"\t", b",",
    b"\xef\xbb\xbf", b"1" * 5000, b"[" * 3000, b"\\ud800", b"null", b"1e999", b"..", b"/etc/passwd",
    b"<!ENTITY a 'b'>", b"&a;", b"\xe2\x80\x8b",
)  # fmt: skip


def mutate(data: bytes, draw: random.Random) -> bytes:
    """Changes, removes, repeats or inserts a few bytes; cuts or empties the data."""
    kind = draw.randrange(7)
    place = draw.randrange(len(data) + 1)
    end = min(len(data), place + draw.randrange(1, 40))
    if kind == 0:
        return data[:place]
    if kind == 1:
        return data[:place] + data[end:]
    if kind == 2:
        return data[:place] + data[place:end] * 2 + data[end:]
    if kind == 3:
        return b"" if draw.random() < 0.2 else data[place:] + data[:place]
    if kind == 4:
        return data[:place] + draw.randbytes(end - place) + data[end:]
    return data[:place] + draw.choice(ODD) + data[place if kind == 5 else end :]
