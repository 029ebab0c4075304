"""Whether a JPEG or PNG is whole, read from its structure, without computing pixels.

`prepare` decodes each image before anything trains on it, so an import that decoded them as well
would do the same work twice. What the structure shows is what happens to files: a JPEG that was
cut off has no end-of-image marker after its first scan (ITU-T T.81, B.1.1), and in a PNG the
checksum of each chunk is compared (ISO/IEC 15948, 5.3). Whatever is doubtful is left to the caller.
"""

from __future__ import annotations

import io
from typing import Any

from PIL import Image

from edge_glass.encoders.image_faults import BadImageError, guarded

JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16")  # `encoders.images` shows them all
END_OF_IMAGE = b"\xff\xd9"
TAIL = 64  # bytes in which the end is looked for first


def whole_image(data: bytes) -> tuple[str, tuple[int, int]] | None:
    """Returns format and (width, height) of a whole JPEG or PNG; None for anything else."""
    if not data.startswith((JPEG, PNG)):
        return None
    try:
        with guarded():
            image: Any = Image.open(io.BytesIO(data), formats=("JPEG", "PNG"))
            if image.mode not in MODES or 0 in image.size:
                return None
            if data.startswith(PNG):
                image.verify()
            elif not _has_end(data, image.fp.tell()):
                return None
            return image.format, image.size
    except BadImageError:
        return None


def _has_end(data: bytes, scan: int) -> bool:
    # an EXIF thumbnail before the scan has an end of its own, and a camera may write more behind it
    near = data.find(END_OF_IMAGE, max(scan, len(data) - TAIL))
    return near >= 0 or data.find(END_OF_IMAGE, scan) >= 0
