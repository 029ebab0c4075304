"""Files as an index knows them: a stamp that tells cheaply, and surely, whether one has changed.

A file of the size and the time that were seen is taken as unchanged; where these differ its
content decides.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from edge_glass.encoders.checkpoint import CONFIG_FILE, TENSORS_FILE
from edge_glass.encoders.dual_encoder_config import DualEncoderConfig
from edge_glass.encoders.towers.pretrained import PACKAGE, package_folder

PICTURE_SUFFIXES = (
    *(".avif", ".bmp", ".gif", ".jfif", ".jpeg", ".jpg"),
    *(".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"),
)
WEIGHT_SUFFIXES = (".bin", ".json", ".pt", ".pth", ".safetensors")


@dataclass(frozen=True, kw_only=True)
class FileStamp:
    """What was seen of a file: its size in bytes, time of change in ns, and hash of its content."""

    size: int
    mtime_ns: int
    sha256: str

    def matches(self, found: os.stat_result) -> bool:
        """Tells whether size and time are those that were seen."""
        return (self.size, self.mtime_ns) == (found.st_size, found.st_mtime_ns)


def stamp_file(path: Path, known: FileStamp | None = None) -> FileStamp:
    """Stamps a file; its content is read only where size or time differ from the known stamp.

    Raises:
        OSError: where it can't be read.
    """
    found = path.stat()
    if known is not None and known.matches(found):
        return known
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return FileStamp(size=found.st_size, mtime_ns=found.st_mtime_ns, sha256=sha256)


def picture_files(folder: Path) -> dict[str, os.stat_result]:
    """Finds the files with a picture's suffix under a folder, by path in it, in order.

    Hidden files and folders are left out, and folders behind symbolic links.

    Raises:
        NotADirectoryError: where the folder does not exist.
    """
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder}: no such folder; give a folder of pictures")
    found: dict[str, os.stat_result] = {}
    waiting = [folder]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
                elif is_picture_name(entry.name) and entry.is_file():
                    found[Path(entry.path).relative_to(folder).as_posix()] = entry.stat()
    return dict(sorted(found.items()))


def is_picture_name(name: str) -> bool:
    """Tells whether a name ends as a picture's does."""
    return name.lower().endswith(PICTURE_SUFFIXES)


def model_stamp(
    folder: Path, config: DualEncoderConfig, device: str, known: Mapping[str, Any]
) -> dict[str, Any]:
    """Describes all that a picture's embedding depends on beside the picture.

    Args:
        folder: of the dual encoder.
        config: what it holds.
        device: "cpu" or "cuda": each sums in its own order.
        known: what this function gave before, or {}; it saves reading unchanged files again.
    """
    files = {name: folder / name for name in (CONFIG_FILE, TENSORS_FILE)}
    files |= _vision_files(config)
    before = known.get("files", {})
    stamps = {
        name: stamp_file(path, FileStamp(**before[name]) if name in before else None)
        for name, path in sorted(files.items())
        if path.is_file()
    }
    return {
        "device": device,
        "encoders": version("edge-glass-encoders"),
        "files": {name: asdict(stamp) for name, stamp in stamps.items()},
    }


def same_model(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Tells whether two stamps are of one model, by content."""

    def content(stamp: Mapping[str, Any]) -> dict[str, Any]:
        hashes = {name: file["sha256"] for name, file in stamp.get("files", {}).items()}
        return {**stamp, "files": hashes}

    return content(one) == content(other)


def _vision_files(config: DualEncoderConfig) -> dict[str, Path]:
    """The frozen vision encoder's weights, where its options name a package or a path.

    A hub id needs none: its revision is a commit.
    """
    files: dict[str, Path] = {}
    for value in vars(config.vision_encoder.config).values():
        if not isinstance(value, str):
            continue
        root = package_folder(value) if value.startswith(PACKAGE) else Path(value).expanduser()
        if root.is_file():
            files[value] = root
        elif root.is_dir() and value not in ("", "."):
            files |= {
                f"{value}/{path.relative_to(root).as_posix()}": path
                for path in root.rglob("*")
                if path.suffix in WEIGHT_SUFFIXES
            }
    return files
