"""Colour profiles (ICC.1): the colours of an image as sRGB, by the profile that it carries.

A profile that can't be right is ignored, as viewers do. One that changes no colour by more than two
levels is sRGB itself; it is not applied, so that such images keep their bytes.
"""

from __future__ import annotations

import functools
import io

from PIL import Image, ImageCms

SPACES = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK"}  # of a profile's header: Pillow's mode
SAME = 2  # levels of 255
LEAST_WHITE, MOST_BLACK = 224, 112  # levels; a profile beyond them is broken


def profile_mode(profile: object) -> str:
    """Returns the mode of the images that a profile describes: "RGB", "L", "CMYK", or ""."""
    return SPACES.get(profile[16:20], "") if isinstance(profile, bytes) else ""


def to_srgb(image: Image.Image, profile: bytes) -> Image.Image | None:
    """Returns an image in sRGB; None if its profile has no effect or is broken.

    The mode of the image is that of the profile.
    """
    transform = _transform(profile, image.mode)
    return None if transform is None else transform.apply(image)


def lab_to_srgb(image: Image.Image) -> Image.Image:
    """Returns an image of mode LAB (CIE L*a*b*, D50) in sRGB."""
    return _lab().apply(image)


@functools.cache
def _lab() -> ImageCms.ImageCmsTransform:
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    return ImageCms.buildTransform(lab, srgb, "LAB", "RGB")


@functools.lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    import numpy as np

    try:
        found = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = ImageCms.buildTransform(
            found,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            # as image editors do: colours as they are, and black becomes black
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        probe = _probe(mode)
        after = np.asarray(transform.apply(probe), dtype=np.int16)[0]
    except (ImageCms.PyCMSError, ImportError, OSError, TypeError, ValueError):
        return None
    # The ends of the probe are black and white.
    if after[-1].min() < LEAST_WHITE or after[0].max() > MOST_BLACK:
        return None
    if mode != "CMYK":
        before = np.asarray(probe.convert("RGB"), dtype=np.int16)[0]
        if np.abs(after - before).max() <= SAME:
            return None
    return transform


def _probe(mode: str) -> Image.Image:
    """Returns colours of the whole space in one row of pixels, from black to white."""
    import numpy as np

    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    if mode == "CMYK":
        return Image.fromarray(np.array([[[0, 0, 0, 255], [0, 0, 0, 0]]], np.uint8), "CMYK")
    levels = np.linspace(0, 255, 9, dtype=np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1)
    return Image.fromarray(np.ascontiguousarray(grid.reshape(1, -1, 3)))
