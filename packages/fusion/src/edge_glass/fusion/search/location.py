"""Location of an index: in the folder of images, or in the user's cache."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from edge_glass.encoders.checkpoint import TENSORS_FILE

INDEX_FOLDER = ".edge_glass_index"


@dataclass(frozen=True, kw_only=True)
class IndexLocation:
    """Folders of an index.

    Attributes:
        read: folder that it is read from.
        write: folder that it is written to.
        is_cache: whether `write` is in the user's cache.
    """

    read: Path
    write: Path
    is_cache: bool


def index_location(images: Path, chosen: Path | None = None) -> IndexLocation:
    """Finds the folders of the index for a folder of images.

    If the folder of images can't be written, the index goes to the user's cache, if there is one.
    An index that is in the folder already is still read.
    """
    if chosen is not None:
        return IndexLocation(read=chosen, write=chosen, is_cache=False)
    inside = images / INDEX_FOLDER
    if _writable(inside if inside.is_dir() else images):
        return IndexLocation(read=inside, write=inside, is_cache=False)
    name = hashlib.sha256(os.fsencode(images.resolve())).hexdigest()[:16]
    # Path.expanduser would fail for a user without a home folder
    cache = Path(os.path.expanduser(os.environ.get("XDG_CACHE_HOME") or "~/.cache"))  # noqa: PTH111
    if not cache.is_absolute():
        return IndexLocation(read=inside, write=inside, is_cache=False)
    cached = cache / "edge-glass" / "index" / name
    read = cached if (cached / TENSORS_FILE).is_file() else inside
    return IndexLocation(read=read, write=cached, is_cache=True)


def _writable(folder: Path) -> bool:
    return os.access(
        folder, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids
    )
