"""Where a folder's index lies: in it, or in the user's cache where it can't be written."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from edge_glass.encoders.checkpoint import TENSORS_FILE

INDEX_FOLDER = ".edge_glass_index"


@dataclass(frozen=True, kw_only=True)
class IndexPlace:
    """Folders of an index: where it is read, where it is written, and whether that is the cache."""

    read: Path
    write: Path
    is_cache: bool


def index_place(pictures: Path, chosen: Path | None = None) -> IndexPlace:
    """Finds the place of the index of a folder of pictures.

    An index that somebody left in a folder that can't be written is read all the same.
    """
    if chosen is not None:
        return IndexPlace(read=chosen, write=chosen, is_cache=False)
    beside = pictures / INDEX_FOLDER
    if _writable(beside if beside.is_dir() else pictures):
        return IndexPlace(read=beside, write=beside, is_cache=False)
    name = hashlib.sha256(os.fsencode(pictures.resolve())).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    place = cache / "edge-glass" / "index" / name
    read = place if (place / TENSORS_FILE).is_file() else beside
    return IndexPlace(read=read, write=place, is_cache=True)


def _writable(folder: Path) -> bool:
    return os.access(
        folder, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids
    )
