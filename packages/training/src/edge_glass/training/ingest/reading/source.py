"""The source of an import, with the options that every reader uses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from edge_glass.training.ingest.reading.exclusion import Exclusion
from edge_glass.training.ingest.reading.locate import Locator
from edge_glass.training.ingest.reading.scan import Listing, scan, with_suffix


@dataclass(frozen=True, kw_only=True)
class Source:
    """What is imported.

    Attributes:
        path: a file, or a folder.
        columns: role to names, as `--columns` gives them.
        images: folder that the names of images are relative to; None: the folder of the file.
        allow_outside: whether an image may lie outside the source folder.
        encoding: of texts without a byte order mark.
        leave_out: folders that are not read, such as the output.
        exclude: images that are left out.
    """

    path: Path
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    images: Path | None = None
    allow_outside: bool = False
    encoding: str = "utf-8"
    leave_out: tuple[Path, ...] = ()
    exclude: Exclusion | None = None

    @cached_property
    def root(self) -> Path:
        """The folder: of the file, if the source is a file."""
        return self.path if self.path.is_dir() else self.path.parent

    @cached_property
    def listing(self) -> Listing:
        """The files: one, if the source is a file."""
        if self.path.is_dir():
            return scan(self.path, allow_outside=self.allow_outside, leave_out=self.leave_out)
        return Listing(files=(self.path.name,), drops=())

    @cached_property
    def locator(self) -> Locator:
        """Finds the images that tables name."""
        return Locator(self.root, self.images, allow_outside=self.allow_outside)

    def files(self, *suffixes: str) -> list[str]:
        """Returns the files with one of the suffixes, relative to `root`, in order."""
        return list(with_suffix(self.listing.files, *suffixes))


def folder_of(name: str) -> str:
    """Returns the folder part of a relative path, "" at the top."""
    return name.rpartition("/")[0]


def splits_of_paths(names: Iterable[str]) -> dict[str, str]:
    """Returns the split that each path states, or "" for all.

    `train/metadata.csv`, `data/validation-00000-of-00002.parquet` and
    `annotations/captions_train2014.json` state one. The paths count only if they state two or more
    splits and `train` is one of them: a lone `train.csv` or `test.csv` is a whole data set, whose
    splits are drawn by shares.
    """
    found = {name: _split_of_path(name) for name in names}
    stated = set(found.values()) - {""}
    if len(stated) < 2 or "train" not in stated:
        return dict.fromkeys(found, "")
    return found


def splits_of_images(names: Iterable[str]) -> dict[str, str]:
    """Returns the split that the folders of each image state, or "" for all.

    They count only if each image lies below such a folder: `toys/train/red.svg` is a toy, and the
    name of an image states no split.
    """
    found = {name: _split_of_path(f"{folder_of(name)}/") for name in names}
    stated = set(found.values())
    if len(stated) < 2 or "train" not in stated or "" in stated:
        return dict.fromkeys(found, "")
    return found


def _split_of_path(name: str) -> str:
    *folders, last = name.lower().split("/")
    words = last.replace("-", "_").replace(".", "_").split("_")
    for word in [*words, *folders]:
        bare = word.rstrip("0123456789")
        for split, known in SPLIT_WORDS.items():
            if bare in known:
                return split
    return ""


SPLIT_WORDS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
