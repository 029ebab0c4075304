"""Masks of what is pointed to, as small images."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image


def mask_image(mask: Sequence[Sequence[bool]] | None) -> bytes:
    """Returns rows of pixels as a PNG of one bit per pixel; b"" if they are no rectangle."""
    rows = [row or [] for row in mask or []]
    if not rows or not rows[0] or len({len(row) for row in rows}) > 1:
        return b""
    file = io.BytesIO()
    Image.fromarray(np.array(rows, dtype=bool)).save(file, "PNG")
    return file.getvalue()
