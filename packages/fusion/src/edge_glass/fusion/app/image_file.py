"""The image file that a command is given."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from edge_glass.encoders.file_names import read_fault
from edge_glass.encoders.images import BadImageError, decode_image, to_rgb


def read_image(path: Path) -> Image.Image:
    """Reads an image file completely, as upright RGB.

    Raises:
        OSError: if the file does not exist or can't be read.
        ValueError: if the file is not an image, or a broken one.
    """
    try:
        return to_rgb(decode_image(path.read_bytes()))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such image; give the path of an image file") from None
    except OSError as error:
        raise OSError(f"{path}: {read_fault(error)}") from None
    except BadImageError as error:
        raise ValueError(f"{path}: not a readable image ({error.detail})") from None
