"""From the name of an image in a table to its file, which lies inside the source folder."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from urllib.parse import unquote, urlsplit

from edge_glass.encoders.file_names import shown
from edge_glass.training.ingest.reading.records import FILE, ImageRef, RowProblem

MAX_BYTES = 256 * 2**20  # of one image
LINKS = ("http", "https", "ftp", "s3", "gs", "hf")


class Locator:
    """Finds images: relative to the file that names them, then below the source.

    Args:
        root: the source folder.
        images: the folder that names are relative to (`--images`); None tries the usual ones.
        allow_outside: whether an image may lie outside `root` and `images`.
    """

    def __init__(self, root: Path, images: Path | None, *, allow_outside: bool) -> None:
        self._root = os.fspath(root)
        self._images = None if images is None else os.fspath(images)
        self._allow_outside = allow_outside
        inside = [root] if images is None else [root, images]
        self._inside = tuple(os.path.realpath(path).rstrip("/") + "/" for path in inside)
        self._real: dict[str, str] = {}  # of folders

    def find(self, name: object, folder: str, *more: str) -> ImageRef:
        """Returns the file of an image.

        Args:
            name: as the table has it.
            folder: of the table, relative to the source; names are relative to it.
            more: folders relative to the source that are tried after it.

        Raises:
            RowProblem: "no_image", "wrong_type", "link", "inline_image", "bad_path",
                "missing_file", "unreadable_file", "outside", "not_a_file" or "large_file".
        """
        path = _path(name)
        tries = [path] if "\\" not in path else [path, path.replace("\\", "/")]
        fault: OSError | None = None
        for base in self._bases(folder, more):
            for each in tries:
                full = os.path.join(base, each)  # noqa: PTH118 - keeps bytes that are not UTF-8
                try:
                    status = os.stat(full)  # noqa: PTH116
                except (FileNotFoundError, NotADirectoryError):
                    continue
                except OSError as error:
                    fault = error
                    continue
                return self._checked(each, full, status)
        if fault is not None:
            raise RowProblem("unreadable_file", f"{shown(path)}: {fault.strerror}")
        where = shown(self._images or folder or ".")
        raise RowProblem(
            "missing_file", f"{shown(path)}: no such file; it was looked for in {where}"
        )

    def listed(self, name: str) -> ImageRef:
        """Returns an image of the folder's listing.

        Raises:
            RowProblem: "outside", "unreadable_file", "not_a_file" or "large_file".
        """
        full = os.path.join(self._root, name)  # noqa: PTH118
        try:
            status = os.stat(full)  # noqa: PTH116
        except OSError as error:
            raise RowProblem("unreadable_file", f"{shown(name)}: {error.strerror}") from None
        return self._checked(name, full, status)

    def _bases(self, folder: str, more: tuple[str, ...]) -> list[str]:
        if self._images is not None:
            return [self._images]
        below = [folder, *more, os.path.join(folder, "images"), "", "images", "Images"]  # noqa: PTH118
        return [os.path.join(self._root, each) for each in dict.fromkeys(below)]  # noqa: PTH118

    def _checked(self, name: str, full: str, status: os.stat_result) -> ImageRef:
        if not self._allow_outside and not self._is_inside(full):
            detail = f"{shown(name)} leads to {shown(os.path.realpath(full))}, outside the source"
            raise RowProblem("outside", f"{detail}: add --allow-outside to use it")
        if not stat.S_ISREG(status.st_mode):
            raise RowProblem("not_a_file", f"{shown(name)} is no regular file")
        if status.st_size > MAX_BYTES:
            raise RowProblem("large_file", f"{shown(name)}: {status.st_size} bytes")
        return ImageRef(kind=FILE, path=os.fsencode(full), name=shown(name), length=status.st_size)

    def _is_inside(self, full: str) -> bool:
        folder, name = os.path.split(full)
        if name in ("", ".", "..") or os.path.islink(full):  # noqa: PTH114
            real = os.path.realpath(full)
        else:
            if folder not in self._real:
                self._real[folder] = os.path.realpath(folder)
            real = f"{self._real[folder]}/{name}"
        return real.startswith(self._inside)


def _path(name: object) -> str:
    if name is None or name == "":
        raise RowProblem("no_image", "the row names no image")
    if isinstance(name, bytes):
        name = os.fsdecode(name)
    if not isinstance(name, str):
        if isinstance(name, int) and not isinstance(name, bool) and abs(name) < 10**18:
            name = str(name)
        else:
            found = type(name).__name__
            raise RowProblem("wrong_type", f"the image is {found}, expected a file's name")
    path = name.strip().strip("\ufeff")
    if not path:
        raise RowProblem("no_image", "the row names no image")
    if "\0" in path or len(path) > 4096:
        raise RowProblem("bad_path", f"{path[:40]!a}: not a file's name")
    scheme = path.split(":", 1)[0].lower() if ":" in path[:8] else ""
    if scheme in LINKS:
        raise RowProblem("link", f"{shown(path[:200])}: `edge-glass fetch` loads images from links")
    if scheme == "data":
        raise RowProblem("inline_image", "base64 inside the text: write it to a file first")
    if scheme == "file":
        path = unquote(urlsplit(path).path)
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        raise RowProblem("bad_path", f"{path[:40]!a}: not a file's name") from None
    return path
