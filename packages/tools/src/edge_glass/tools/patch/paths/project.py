"""The folders and files of a project, seen from a notebook's folder."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

# Where people's and platforms' files lie. /usr, /etc, /tmp, /dev are the system's and stay.
MACHINE = re.compile(
    r"^(?:/(?:home|Users|root|mnt|media|Volumes|content|kaggle|workspace|scratch|data|datasets|work)"
    r"(?:/|$)|~(?:\w+)?/|[A-Za-z]:[\\/]|\\\\)"
)
_SKIPPED = frozenset({"__pycache__", "build", "dist", "node_modules", "site-packages", "venv"})
_MAX_FILES = 20_000  # that are looked at in a project


@dataclass(frozen=True)
class Files:
    """The files of projects by their names; each project is walked once."""

    _known: dict[Path, dict[str, list[Path]]] = field(default_factory=dict)

    def named(self, root: Path, name: str) -> list[Path]:
        """Return the files below `root` with a name, sorted."""
        if root not in self._known:
            self._known[root] = _walk(root)
        return self._known[root].get(name, [])


def _walk(root: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    count = 0
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f not in _SKIPPED)
        for name in sorted(names):
            found.setdefault(name, []).append(Path(folder, name))
        count += len(names)
        if count > _MAX_FILES:
            break
    return found


class Project:
    """The project of a notebook."""

    def __init__(
        self, root: Path, folder: Path, mapping: Sequence[tuple[str, str]], files: Files
    ) -> None:
        self._files = files
        self._root = root
        self._folder = folder
        self._mapping = [(old.replace("\\", "/").rstrip("/"), new) for old, new in mapping]

    def relative(self, text: str) -> str | None:
        """Return `text` as a path relative to the notebook's folder; None if nothing shows it.

        `text` uses `/`. A path that is fine as it is comes back equal.
        """
        slash = "/" if text.endswith("/") and len(text) > 1 else ""
        bare = text.rstrip("/")
        for old, new in self._mapping:
            if bare == old or bare.startswith(old + "/"):
                return self._seen(self._root / new / bare[len(old) + 1 :]) + slash
        absolute = MACHINE.match(text) is not None
        expanded = Path(bare).expanduser() if bare.startswith("~/") else Path(bare)
        if expanded.is_absolute() and expanded.is_relative_to(self._root):
            return self._seen(expanded) + slash
        if not absolute:
            if (self._folder / bare).exists() or not self._astray(bare):
                return text
            inside = self._inside(PurePosixPath(bare).parts, least=2)
            return self._seen(inside) + slash if inside else None
        parts = [part for part in bare.split("/") if part]
        if self._root.name in parts:  # the same project on a different machine
            place = len(parts) - parts[::-1].index(self._root.name)
            return self._seen(self._root.joinpath(*parts[place:])) + slash
        inside = self._inside(parts, least=2) or self._folder_named(parts[-1])
        return self._seen(inside) + slash if inside else None

    def behind_map(self, text: str) -> str:
        """Return what of a path follows the folder that the mapping names; all if none does."""
        for old, _ in self._mapping:
            if text == old or text.startswith(old + "/"):
                return text[len(old) :]
        return text

    def missing(self, text: str) -> bool:
        """Whether a path names nothing, seen from the notebook's folder."""
        return not (self._folder / text).exists()

    def candidates(self, text: str) -> list[str]:
        """Return the files that a path may mean: of its name, with the longest common end."""
        parts = PurePosixPath(text).parts
        found: dict[int, list[str]] = {}
        for path in self._files.named(self._root, parts[-1]) if parts else ():
            common = 0
            for one, other in zip(reversed(parts), reversed(path.parts), strict=False):
                if one != other:
                    break
                common += 1
            found.setdefault(common, []).append(self._seen(path))
        return found[max(found)] if found else []

    def _astray(self, bare: str) -> bool:
        """Whether a relative path that names nothing was written for a different working folder.

        One that climbs to a place inside the project is taken as meant, e.g. as an output that
        is not there yet.
        """
        if self._folder == self._root and not bare.startswith(".."):
            return False
        target = Path(os.path.normpath(self._folder / bare))
        return not bare.startswith("..") or not target.is_relative_to(self._root)

    def _inside(self, parts: Sequence[str], least: int) -> Path | None:
        """Return what the longest tail of `parts` names in the project, if it has `least` parts."""
        parts = [part for part in parts if part not in (".", "..")]
        for start in range(len(parts) - least + 1):
            candidate = self._root.joinpath(*parts[start:])
            if candidate.exists():
                return candidate
        return None

    def _folder_named(self, name: str) -> Path | None:
        """Return a folder at the project's top by the last name of a path, such as `data`."""
        candidate = self._root / name
        return candidate if candidate.is_dir() else None

    def _seen(self, path: Path) -> str:
        return Path(os.path.relpath(path, self._folder)).as_posix()
