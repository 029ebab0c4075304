"""Names of files: which are images, which other programs left behind, how they are printed.

A name that is not UTF-8 is a `str` with lone surrogates, as Python's `os.fsdecode` returns it.
"""

from __future__ import annotations

import errno
import unicodedata

IMAGE_SUFFIXES = (
    *(".avif", ".bmp", ".gif", ".heic", ".heif", ".hif", ".ico", ".j2k", ".jfif", ".jp2", ".jpe"),
    *(".jpeg", ".jpg", ".jpx", ".jxl", ".mpo", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif"),
    *(".tiff", ".webp"),
)
# of file managers, cameras and network disks; compared in lower case
HIDDEN = frozenset(
    (
        *("@eadir", "#recycle", "#snapshot", "$recycle.bin", "recycler", "__macosx"),
        *("system volume information", "thumbs.db", "desktop.ini", "lost+found"),
    )
)
UNFINISHED = (".tmp", ".part", ".partial", ".crdownload", "~")
ESCAPED = ("Cc", "Zl", "Zp")  # categories that would break a line of a report


def is_hidden(name: str) -> bool:
    """Returns whether a file or folder is left out because of its name, without its folder."""
    lower = name.lower()
    return lower.startswith(".") or lower in HIDDEN or lower.endswith(UNFINISHED)


def read_fault(error: OSError) -> str:
    """Returns in words why a file could not be read."""
    if error.errno == errno.ELOOP:
        return "a link that leads back to itself"
    if error.errno == errno.ENOENT:
        return "a link to a file that does not exist, or a file that was just deleted"
    return f"can't be read ({error.strerror})"


def shown(name: str) -> str:
    """Returns a name as one line of valid Unicode; other bytes and line ends become escapes."""
    if name.isascii() and name.isprintable():
        return name
    try:
        text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # a surrogate that stands for no byte
        text = name.encode("utf-8", "backslashreplace").decode()
    return "".join(_escaped(character) for character in text)


def _escaped(character: str) -> str:
    if unicodedata.category(character) not in ESCAPED:
        return character
    return character.encode("unicode_escape").decode()
