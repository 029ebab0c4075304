"""Any of Pillow's modes as RGB on white: the meaning of the stored numbers.

Grey levels of more than 8 bits are scaled to their known range: 16 bits, or 0 to 1 for floats.
Values outside of it are stretched from the lowest to the highest, as viewers of measurements do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image

from edge_glass.encoders.image_faults import BadImageError
from edge_glass.encoders.image_profiles import lab_to_srgb, profile_mode, to_srgb

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MODES = (
    *("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"),
    *("I", "I;16", "I;16B", "I;16L", "I;16N", "F"),
)
FLOAT_RANGES = (1.0, 255.0, 65535.0)  # what white may be; black is 0


def check_mode(image: Image.Image) -> None:
    """Refuses decoded images that `on_white` can't show.

    Raises:
        BadImageError: "unsupported_mode".
    """
    if image.mode not in MODES:
        detail = f"mode {image.mode!r}: save it as RGB with 8 bits per channel"
        raise BadImageError("unsupported_mode", detail)
    if image.mode == "F":
        import numpy as np

        if not np.isfinite(np.asarray(image)).any():
            raise BadImageError("unsupported_mode", "mode 'F' without a finite number")


def on_white(image: Image.Image) -> Image.Image:
    """Returns an image as sRGB, by its colour profile if it has one; what is clear becomes white.

    Raises:
        BadImageError: "unsupported_mode".
    """
    check_mode(image)
    profile = image.info.get("icc_profile")
    clear = image.has_transparency_data
    if image.mode.startswith(("I", "F")):
        image, clear = _grey(image), False
    elif image.mode == "LAB":
        return lab_to_srgb(image)
    if not clear and image.mode == "RGB" and not profile:
        return image
    layer = image.convert("RGBA") if clear else image
    rgb = _rgb(image, layer, profile)
    if not clear:
        return rgb
    page = Image.new("RGBA", layer.size, (255, 255, 255, 255))
    rgb.putalpha(layer.getchannel("A"))
    return Image.alpha_composite(page, rgb).convert("RGB")


def _rgb(image: Image.Image, layer: Image.Image, profile: object) -> Image.Image:
    """Returns the colours without transparency; `layer` is the image, or the image as RGBA."""
    mode = profile_mode(profile)
    if mode == "CMYK" and image.mode == "CMYK":
        source = image
    elif mode == "L" and image.mode in ("1", "L", "LA"):
        source = image.convert("L")
    elif mode == "RGB" and image.mode not in ("1", "L", "LA", "CMYK"):
        source = layer.convert("RGB")
    else:
        return layer.convert("RGB")
    assert isinstance(profile, bytes)
    return to_srgb(source, profile) or layer.convert("RGB")


def _grey(image: Image.Image) -> Image.Image:
    """Returns grey levels of 8 bits; "I;16" comes from PNG, "I" and "F" from TIFF."""
    import numpy as np

    if image.mode == "F":
        return Image.fromarray(_float_levels(np.asarray(image, dtype=np.float64)))
    values = np.asarray(image).astype(np.int64)
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 65535:
        return Image.fromarray(_stretched(values.astype(np.float64), low, high))
    # 65535 = 255 * 257: rounds to the nearest of 256 levels, as viewers do.
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def _float_levels(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    import numpy as np

    finite = values[np.isfinite(values)]
    low, high = float(finite.min()), float(finite.max())
    for white in FLOAT_RANGES:
        if low >= 0 and high <= white:
            return _stretched(values, 0.0, white)
    return _stretched(values, low, high)


def _stretched(values: NDArray[np.float64], black: float, white: float) -> NDArray[np.uint8]:
    import numpy as np

    known = np.nan_to_num(values, nan=black, posinf=white, neginf=black)
    share = (known - black) / max(white - black, 1e-300)
    return np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8)
