"""Patch `setup`: repeated imports and `sys.path` set-up are merged into one cell.

An import that an earlier cell has made already is removed. Folders that later cells put on
`sys.path` are put there by the first cell that imports anything; each folder once.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_glass.tools.code.bindings import targets
from edge_glass.tools.code.cells import PythonCell
from edge_glass.tools.code.edits import Edit, apply
from edge_glass.tools.code.expressions import dotted
from edge_glass.tools.code.program import Program, program_of
from edge_glass.tools.code.search_path import SearchPath
from edge_glass.tools.patch.syntax.rewrite import Note, Rewrite

_MOVES = ("os.chdir", "chdir(", "%cd", "sys.modules", "reload(")
# Remarks that are meant for a program, and only for the line that they stand on.
_DIRECTIVE = re.compile(r"#\s*(?:noqa|type:|pylint|ruff|isort|fmt:|pyright)")
_ADDS = frozenset({"sys.path.append", "sys.path.insert"})


@dataclass(frozen=True, kw_only=True)
class SetupPatch:
    """Merges the set-up of a notebook."""

    name: str = "setup"

    def rewrite(self, cells: Sequence[PythonCell], path: Path, /) -> Rewrite:
        if sum("import" in cell.text or "sys.path" in cell.text for cell in cells) == 0:
            return Rewrite()
        for cell in cells:
            if any(word in text for word in _MOVES for text in (cell.text, *cell.hidden)):
                if any("sys.path" in each.text for each in cells):
                    note = "changes its folder or reloads modules, so the set-up is left"
                    return Rewrite(notes=[Note(cell.index, "left", note)])
                return Rewrite()
        merge = _Merge(program_of(tuple(cells), path), path)
        return Rewrite(texts=merge.texts(), notes=merge.notes)


class _Merge:
    def __init__(self, program: Program, path: Path) -> None:
        self._program = program
        self._search = SearchPath((), path.resolve().parent)
        for cell in program.cells:
            for node in cell.nodes if "ath" in cell.text else ():
                if isinstance(node, ast.Assign):
                    self._search.read(node)
        self._imported: set[tuple[str, str]] = set()
        self._folders: set[Path] = set()
        self._first: PythonCell | None = None
        self._moved: list[str] = []
        self._modules: set[str] = set()  # that the imports so far look for
        self._order: list[Path] = []  # of the notebook's folders on sys.path
        self._stuck = False  # whether a later cell keeps a line: what follows has to stay behind it
        self._gone: dict[int, set[ast.stmt]] = {}
        self._replaced: dict[int, list[Edit]] = {}
        self.notes: list[Note] = []
        for cell in program.cells:
            for statement in cell.syntax.body:
                self._statement(cell, statement)

    def _statement(self, cell: PythonCell, node: ast.stmt) -> None:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names]
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else names
            self._modules |= {name.partition(".")[0] for name in names}
            self._import(cell, node)
            self._first = self._first or cell
            return
        added = _added(node)
        folder = self._search.value(added) if added is not None else None
        if added is None or folder is None:
            later = self._first is not None and cell is not self._first
            self._stuck = self._stuck or (later and "sys.path" in cell.code(node))
            return
        if not folder.is_dir():
            message = f"puts `{ast.unparse(added)}` on sys.path; there is no such folder"
            self.notes.append(Note(cell.index, "person", message))
        inserts = "sys.path.insert" in cell.code(node)
        guarded = isinstance(node, ast.If)
        if folder in self._folders and inserts and not guarded and self._order[0] != folder:
            self._leave(cell, node, "puts the folder in front of the others again")
        elif folder in self._folders:
            self._gone.setdefault(cell.index, set()).add(node)
            message = f"`{ast.unparse(node).splitlines()[-1].strip()}` again: removed"
            self.notes.append(Note(cell.index, "changed", message))
        elif self._first is None or cell is self._first:
            self._first = self._first or cell
        elif self._stuck:
            self._leave(cell, node, "has to stay behind a line that is left")
        elif inserts and (hidden := self._hidden(folder)):
            self._leave(cell, node, f"`{hidden}`, imported above it, may come from that folder")
        elif self._can_move(node):
            self._gone.setdefault(cell.index, set()).add(node)
            self._moved.append(cell.code(node))
            message = f"`{ast.unparse(node).splitlines()[-1].strip()}` moved to cell "
            self.notes.append(Note(cell.index, "changed", f"{message}{self._first.index + 1}"))
        else:
            self._leave(cell, node, "needs names of this cell")
        if folder not in self._folders or (inserts and not guarded):
            self._order.insert(0 if inserts else len(self._order), folder)
        self._folders.add(folder)

    def _leave(self, cell: PythonCell, node: ast.stmt, reason: str) -> None:
        line = ast.unparse(node).splitlines()[-1].strip()
        self.notes.append(Note(cell.index, "left", f"`{line}` {reason}"))
        self._stuck = self._stuck or cell is not self._first

    def _hidden(self, folder: Path) -> str | None:
        """Return a module that was imported above and that a folder holds too, or may hold."""
        if not folder.is_dir():
            return min(self._modules - sys.stdlib_module_names, default=None)
        found = [name for name in self._modules if name and (
            (folder / f"{name}.py").exists() or (folder / name).is_dir())]  # fmt: skip
        return min(found, default=None)

    def _import(self, cell: PythonCell, node: ast.Import | ast.ImportFrom) -> None:
        if isinstance(node, ast.ImportFrom) and (node.level or node.module == "__future__"):
            return
        again: list[ast.alias] = []
        for alias in node.names:
            module = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            name = alias.asname or (alias.name if module else alias.name.partition(".")[0])
            entry = (module + alias.name, alias.asname or alias.name)
            if alias.name == "*" or not self._only_imported(name):
                continue
            if entry in self._imported:
                again.append(alias)
            self._imported.add(entry)
        if not again:
            return
        if "#" in cell.code(node):
            return  # a remark inside of brackets would be lost
        names = ", ".join(ast.unparse(alias) for alias in again)
        if len(again) == len(node.names):
            self._gone.setdefault(cell.index, set()).add(node)
        else:
            kept = [alias for alias in node.names if alias not in again]
            text = ast.unparse(
                ast.Import(names=kept)
                if isinstance(node, ast.Import)
                else ast.ImportFrom(module=node.module, names=kept, level=0)
            )
            self._replaced.setdefault(cell.index, []).append(Edit(*cell.span(node), text))
        self.notes.append(Note(cell.index, "changed", f"`{names}` is imported above: removed"))

    def _only_imported(self, name: str) -> bool:
        """Whether imports alone bind a name, so that it means the same in each cell."""
        bindings = self._program.bindings.get(name, [])
        if not all(isinstance(each.node, (ast.Import, ast.ImportFrom)) for each in bindings):
            return False
        return len({self._program.meaning(name, each.cell) for each in bindings}) == 1

    def _can_move(self, node: ast.stmt) -> bool:
        assert self._first is not None
        names = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
        bound = {name for statement in self._first.syntax.body for name in targets(statement)}
        return names - {"str"} <= bound

    def texts(self) -> dict[int, str]:
        """Return the new texts by cell index."""
        found: dict[int, str] = {}
        for cell in self._program.cells:
            edits = list(self._replaced.get(cell.index, ()))
            gone = self._gone.get(cell.index, set())
            edits += _deletions(cell, gone)
            if cell is self._first and self._moved:
                edits.append(self._insertion(cell))
            if edits:
                text = apply(cell.text, edits)
                found[cell.index] = text.lstrip("\r\n") if gone else text
        return found

    def _insertion(self, cell: PythonCell) -> Edit:
        """Put the moved lines behind the last `sys.path` line, or behind what they need."""
        needed = {node.id for line in self._moved for node in ast.walk(ast.parse(line))
                  if isinstance(node, ast.Name)}  # fmt: skip
        place = 0
        for statement in cell.syntax.body:
            if _added(statement) is not None or needed & set(targets(statement)):
                place = cell.line_end(statement)
        lines = "".join(f"{line}\n" for line in self._moved)
        if place and not cell.text[:place].endswith(("\n", "\r")):
            return Edit(place, place, f"\n{lines}".rstrip("\n"))
        return Edit(place, place, lines)


def _added(node: ast.stmt) -> ast.expr | None:
    """Return the folder of `sys.path.append(…)`, also behind `if … not in sys.path:`."""
    if isinstance(node, ast.If) and len(node.body) == 1 and not node.orelse:
        return _added(node.body[0]) if "sys.path" in ast.unparse(node.test) else None
    if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Call):
        return None
    called = dotted(node.value.func)
    arguments = node.value.args
    if called not in _ADDS or len(arguments) != (1 if called == "sys.path.append" else 2):
        return None
    return arguments[-1]


def _deletions(cell: PythonCell, gone: set[ast.stmt]) -> list[Edit]:
    """Return the edits that take statements out, with their lines if nothing else is on them."""
    edits: list[Edit] = []
    spans: list[tuple[int, int]] = []  # of whole lines; neighbours are joined
    lines: dict[tuple[int, int], list[ast.stmt]] = {}
    for statement in cell.syntax.body:
        place = (cell.line_start(statement), cell.line_end(statement))
        lines.setdefault(place, []).append(statement)
    for (start, end), statements in lines.items():
        out = [each for each in statements if each in gone]
        clear = cell.text[start : cell.span(statements[0])[0]].strip() == ""
        remark = cell.text.find("#", cell.span(statements[-1])[1], end)
        kept = remark >= 0 and _DIRECTIVE.match(cell.text, remark) is None
        if out and len(out) == len(statements) and clear and kept:
            edits.append(Edit(start, remark, ""))
            continue
        if out and len(out) == len(statements) and clear:
            if spans and spans[-1][1] == start:
                start = spans.pop()[0]
            spans.append((start, end))
            continue
        for each in out:  # `import os; x = 1`
            begin, finish = cell.span(each)
            rest = re.compile(r"[ \t]*;[ \t]*").match(cell.text, finish, end)
            if rest is not None:
                edits.append(Edit(begin, rest.end(), ""))
    for start, end in spans:
        if end >= len(cell.text):  # the last lines: the break before them goes too
            start = len(cell.text[:start].rstrip("\r\n"))
        edits.append(Edit(start, end, ""))
    return edits
