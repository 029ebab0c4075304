"""Files as an index knows them: which images a folder holds, and which files have changed.

A file is taken as unchanged if its size and time are those of its stamp. If they differ, its
content decides.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_glass.encoders.checkpoint import CONFIG_FILE, TENSORS_FILE
from edge_glass.encoders.file_names import IMAGE_SUFFIXES, is_hidden, read_fault
from edge_glass.encoders.files import sha256_of
from edge_glass.encoders.towers.pretrained import PACKAGE, package_folder

if TYPE_CHECKING:
    from edge_glass.encoders.dual_encoder_config import DualEncoderConfig

# A drawing is listed as left out, with the reason.
SEARCHED_SUFFIXES = (*IMAGE_SUFFIXES, ".svg")
WEIGHT_SUFFIXES = (".bin", ".json", ".pt", ".pth", ".safetensors")


@dataclass(frozen=True, kw_only=True)
class FileStamp:
    """State of a file: its size in bytes, time of change in ns, and hash of its content."""

    size: int
    mtime_ns: int
    sha256: str

    def __post_init__(self) -> None:
        if not isinstance(self.sha256, str):
            raise TypeError(f"sha256 is {self.sha256!r}, expected a text")

    def matches(self, found: os.stat_result) -> bool:
        """Returns whether size and time are those of the stamp."""
        return (self.size, self.mtime_ns) == (found.st_size, found.st_mtime_ns)


@dataclass(frozen=True, kw_only=True)
class FolderImages:
    """Image files of a folder and its subfolders.

    Attributes:
        found: status of each file, by its path in the folder, in order.
        left_out: why a file or subfolder can't be used, by its path in the folder.
    """

    found: dict[str, os.stat_result]
    left_out: dict[str, str]


def stamp_file(path: Path, known: FileStamp | None = None) -> FileStamp:
    """Stamps a file; reads its content only if size or time differ from the known stamp."""
    found = path.stat()
    if known is not None and known.matches(found):
        return known
    return FileStamp(size=found.st_size, mtime_ns=found.st_mtime_ns, sha256=sha256_of(path))


def folder_images(folder: Path) -> FolderImages:
    """Finds the files with an image's suffix in a folder and its subfolders.

    Hidden files, unfinished downloads and recycle bins are skipped, see `file_names.is_hidden`.
    Symbolic links to folders are not followed.
    """
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder}: no such folder; give a folder of images")
    found: dict[str, os.stat_result] = {}
    left_out: dict[str, str] = {}
    waiting = [folder]
    while waiting:
        current = waiting.pop()
        try:
            with os.scandir(current) as listing:
                entries = list(listing)
        except OSError as error:
            if current == folder:
                raise
            left_out[current.relative_to(folder).as_posix()] = read_fault(error)
            continue
        for entry in entries:
            path = Path(entry.path)
            if is_hidden(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                waiting.append(path)
            elif is_image_name(entry.name):
                name = path.relative_to(folder).as_posix()
                try:
                    status = path.stat()
                except OSError as error:
                    left_out[name] = read_fault(error)
                    continue
                if stat.S_ISREG(status.st_mode):
                    found[name] = status
    return FolderImages(found=dict(sorted(found.items())), left_out=left_out)


def is_image_name(name: str) -> bool:
    """Returns whether a name has an image's suffix."""
    return name.lower().endswith(SEARCHED_SUFFIXES)


def model_stamp(
    folder: Path, config: DualEncoderConfig, device: str, known: Mapping[str, Any]
) -> dict[str, Any]:
    """Describes all that an image's embedding depends on, except the image.

    `device` is "cpu" or "cuda"; each sums in its own order. `known` is an earlier result of this
    function, or {}; unchanged files are not read again.
    """
    files = {name: folder / name for name in (CONFIG_FILE, TENSORS_FILE)}
    files |= _vision_files(config)
    return {
        "device": device,
        "encoders": version("edge-glass-encoders"),
        "files": stamp_files(files, known),
    }


def stamp_files(files: Mapping[str, Path], known: Mapping[str, Any]) -> dict[str, Any]:
    """Stamps the files that exist, by name; `known` is a model's earlier stamp, or {}."""
    before = known_stamps(known)
    stamps = {
        name: stamp_file(path, before.get(name))
        for name, path in sorted(files.items())
        if path.is_file()
    }
    return {name: asdict(stamp) for name, stamp in stamps.items()}


def known_stamps(model: Mapping[str, Any]) -> dict[str, FileStamp]:
    """Returns the stamps of the files of a model's stamp, by name.

    Raises:
        AttributeError, TypeError: if it is broken.
    """
    return {name: FileStamp(**each) for name, each in model.get("files", {}).items()}


def same_model(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Returns whether two stamps describe the same model, by content."""

    def content(stamp: Mapping[str, Any]) -> dict[str, Any]:
        hashes = {name: file["sha256"] for name, file in stamp.get("files", {}).items()}
        return {**stamp, "files": hashes}

    return content(one) == content(other)


def _vision_files(config: DualEncoderConfig) -> dict[str, Path]:
    """Returns the weights of the frozen vision encoder, if its options name a package or a path.

    A model from the hub needs none, because its revision is a commit.
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
