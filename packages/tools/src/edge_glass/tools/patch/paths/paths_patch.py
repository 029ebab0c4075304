"""Patch `paths`: paths of one person's machine become relative to the notebook.

Jupyter runs a notebook in its own folder, so that is what a written path is relative to. A path is
only exchanged where the project shows what it means: it lies in the project, or its last parts name
something there, or a `--map` says so. Everything else is reported and left.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import libcst as cst

from edge_glass.tools.code.cells import PythonCell
from edge_glass.tools.patch.rewrite import Kind, Note, Rewrite
from edge_glass.tools.patch.syntax.names import NamedTransformer, NotebookNames, code_of
from edge_glass.tools.project_root import find_root

# Where people's and platforms' files lie. /usr, /etc, /tmp, /dev are the system's and stay.
_MACHINE = re.compile(
    r"^(?:/(?:home|Users|root|mnt|media|Volumes|content|kaggle|workspace|scratch|data|datasets|work)"
    r"(?:/|$)|~(?:\w+)?/|[A-Za-z]:[\\/]|\\\\)"
)
_RELEVANT = re.compile(r"""["'][^"'\n]*[/\\]|["']\.\.["']|\bchdir\b""")
_RELATIVE = re.compile(r"(?:\.{1,2}/)*[\w.-]+(?:/[\w.-]+)+/?|(?:\.{1,2}/)+[\w.-]*|\.\.")
_CHDIR = re.compile(r"\bos\.chdir\s*\(|\bchdir\s*\(")


@dataclass(frozen=True, kw_only=True)
class PathsPatch:
    """Rewrites paths.

    Attributes:
        root: the project's folder; found by itself where None.
        mapping: pairs of a folder as the notebook writes it and what it is in the project.
    """

    root: Path | None = None
    mapping: tuple[tuple[str, str], ...] = ()
    name: str = "paths"

    def rewrite(self, cells: Sequence[PythonCell], path: Path, /) -> Rewrite:
        relevant = [cell for cell in cells if _RELEVANT.search(cell.text)]
        root = (self.root or find_root(path)).resolve()
        project = _Project(root, path.resolve().parent, self.mapping)
        names = NotebookNames(relevant)
        notes: list[Note] = []
        texts: dict[int, str] = {}
        moves = [cell.index for cell in cells if _CHDIR.search(cell.text)]
        if moves:
            message = "os.chdir: what a relative path means is open, so paths are left; remove it"
            return Rewrite(notes=[Note(index, "warning", message) for index in moves])
        for cell in relevant:
            transformer = _Paths(names.at(cell.index), project, cell.index)
            module = cell.visit(transformer)
            notes += transformer.notes
            if module.code != cell.text:
                texts[cell.index] = module.code
        return Rewrite(texts=texts, notes=notes)


class _Project:
    """What is where in the project, seen from a notebook's folder."""

    def __init__(self, root: Path, folder: Path, mapping: Sequence[tuple[str, str]]) -> None:
        self._root = root
        self._folder = folder
        self._mapping = [(old.replace("\\", "/").rstrip("/"), new) for old, new in mapping]

    def relative(self, text: str) -> str | None:
        """Return `text` as a path relative to the notebook's folder; None where nothing shows it.

        `text` uses `/`. A path that is fine as it is comes back equal.
        """
        slash = "/" if text.endswith("/") and len(text) > 1 else ""
        bare = text.rstrip("/")
        for old, new in self._mapping:
            if bare == old or bare.startswith(old + "/"):
                return self._seen(self._root / new / bare[len(old) + 1 :]) + slash
        absolute = _MACHINE.match(text) is not None
        expanded = Path(bare).expanduser() if bare.startswith("~/") else Path(bare)
        if expanded.is_absolute() and expanded.is_relative_to(self._root):
            return self._seen(expanded) + slash
        if not absolute:
            if (self._folder / bare).exists() or not self._astray(bare):
                return text
            inside = self._inside(PurePosixPath(bare).parts, least=2)
            return self._seen(inside) + slash if inside else None
        parts = [part for part in bare.split("/") if part]
        if self._root.name in parts:  # the same project on another machine
            place = len(parts) - parts[::-1].index(self._root.name)
            return self._seen(self._root.joinpath(*parts[place:])) + slash
        inside = self._inside(parts, least=2) or self._folder_named(parts[-1])
        return self._seen(inside) + slash if inside else None

    def _astray(self, bare: str) -> bool:
        """Whether a relative path that names nothing was written for another working folder.

        One that climbs to a place inside the project is taken as meant, e.g. as an output that
        isn't there yet.
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


class _Paths(NamedTransformer):
    def __init__(self, names: dict[str, str], project: _Project, index: int) -> None:
        super().__init__(names)
        self._project = project
        self._index = index
        self.notes: list[Note] = []

    def visit_Expr(self, node: cst.Expr) -> bool:
        # A string that stands alone is a docstring or a remark.
        return not isinstance(node.value, (cst.SimpleString, cst.ConcatenatedString))

    def visit_ConcatenatedString(self, node: cst.ConcatenatedString) -> bool:
        if _MACHINE.match(str(node.evaluated_value or "")):
            self._note("left", node, "is written in pieces")
        return False

    def leave_SimpleString(
        self, original_node: cst.SimpleString, updated_node: cst.SimpleString
    ) -> cst.BaseExpression:
        value = original_node.evaluated_value
        if not isinstance(value, str) or "\n" in value or len(original_node.quote) > 1:
            return updated_node
        new = self._exchanged(value, original_node)
        if new is None or new == value:
            return updated_node
        quote = original_node.quote
        if quote in new or "\\" in new:
            return updated_node
        return updated_node.with_changes(value=f"{quote}{new}{quote}")

    def visit_FormattedString(self, _node: cst.FormattedString) -> bool:
        return False

    def leave_FormattedString(
        self, original_node: cst.FormattedString, updated_node: cst.FormattedString
    ) -> cst.BaseExpression:
        """The folder in front of the first `{…}` is a path; the rest is not known."""
        first = original_node.parts[0] if original_node.parts else None
        if not isinstance(first, cst.FormattedStringText):
            return updated_node
        folder, slash, rest = first.value.rpartition("/")
        if not slash or not _MACHINE.match(folder + "/"):
            return updated_node
        new = self._exchanged(folder, original_node)
        if new is None:
            return updated_node
        parts = [first.with_changes(value=f"{new}/{rest}"), *updated_node.parts[1:]]
        return updated_node.with_changes(parts=parts)

    def _exchanged(self, value: str, node: cst.BaseExpression) -> str | None:
        machine = _MACHINE.match(value) is not None
        known = machine or Path(value).is_absolute()
        if not known and not _RELATIVE.fullmatch(value):
            return None
        new = self._project.relative(value.replace("\\", "/") if machine else value)
        if new is None:
            if machine:
                self._note("left", node, "nothing in the project shows what it means; use --map")
            return None
        if new != value:
            self._note("changed", node, f'now "{new}"')
        return new

    def _note(self, kind: Kind, node: cst.CSTNode, message: str) -> None:
        self.notes.append(Note(self._index, kind, f"{code_of(node)}: {message}"))
