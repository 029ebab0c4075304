"""Names that no cell defines, or that a cell reads before a later one defines them."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator
from dataclasses import dataclass

from edge_glass.tools.code.cells import PythonCell
from edge_glass.tools.code.expressions import dotted, text_of
from edge_glass.tools.code.modules import bound_names
from edge_glass.tools.code.program import Program
from edge_glass.tools.code.scopes import CellNames, Read

# What IPython and the platforms put into a notebook's namespace.
_GIVEN = frozenset(
    {*dir(builtins), "__file__", "__builtins__", "In", "Out", "display", "exit", "get_ipython"}
    | {"quit", "__annotations__", "__spec__", "__path__", "dbutils", "sc", "spark", "sqlContext"}
)
_HISTORY = re.compile(r"_+|_i+|_i?\d+|_dh|_oh|_ih|_exit_code")
_NAMESPACES = ("globals", "locals", "vars")
_NEVER = 1 << 30  # behind any cell
_PLACEHOLDER = "__eg_magic_"
# Cell magics whose text cannot bind a Python name.
_HARMLESS = re.compile(
    r"%%(?:bash|sh|script|html|HTML|svg|SVG|javascript|js|latex|markdown|perl|ruby|writefile|file"
    r"|system|sx|cmd|!)\b|%%!"
)
_MAGIC_BINDS = re.compile(r"^%{1,2}(?:capture|store\s+-r|R|sql|bash|sh|script)\b(.*)$")


@dataclass(frozen=True)
class NameProblem:
    """A read of a name that is not there. `later`: the cell that defines it, if one does."""

    cell: PythonCell
    read: Read
    later: int | None
    deleted: bool = False  # a `del` has removed it
    through: str = ""  # the function that is called and reads it


def name_problems(program: Program) -> Iterator[NameProblem]:
    """Yield the first read of each missing name in each cell, in order.

    Nothing is reported from the cell on that may bind names that cannot be read here: a star import
    of an unknown module, a cell magic of a different kind, `%run`, `exec`.
    """
    found = {cell.index: cell.names for cell in program.cells}
    if any(not cell.syntax.body for cell in program.cells):
        return
    everything: set[str] = set(_GIVEN)
    first: dict[str, int] = {}
    stars: dict[int, set[str]] = {}
    opened = _opened(program)
    for cell in program.cells:
        names = found[cell.index]
        extra = _from_stars(program, names)
        if extra is None:
            opened = min(opened, cell.index)
        stars[cell.index] = (extra or set()) | _from_magics(cell)
        for name in names.bound | names.deleted | stars[cell.index]:
            first.setdefault(name, cell.index)
        everything |= names.bound | names.deleted | stars[cell.index]
    for foreign in program.foreign:
        for name in re.findall(r"(?:-o|--out|<<)[ =]*(\w+)|(\w+)[ ]*<<", foreign.source):
            everything |= set(filter(None, name))
    bound = set(_GIVEN) | (everything - first.keys())
    deleted: set[str] = set()
    functions: dict[str, tuple[Read, ...]] = {}
    for cell in program.cells:
        if cell.index >= opened:
            return
        names = found[cell.index]
        bound |= stars[cell.index]
        seen: set[str] = set()
        for read in names.reads:
            name = read.name
            known = everything if read.late else bound
            removed = not read.late and (read.deleted or name in deleted) and name not in _GIVEN
            if (name in known and not removed) or name in seen or read.guarded or _is_given(name):
                continue
            if read.late and opened < _NEVER:  # the cell that opens may bind it before the call
                continue
            seen.add(name)
            if not _is_tested(program, name):
                yield NameProblem(cell, read, first.get(name), deleted=removed)
        functions |= names.functions
        for call in names.calls:
            for inner in functions.get(call.read.name, ()):
                name = inner.name
                if name in bound | call.bound or name not in first or name in seen | deleted:
                    continue
                if inner.guarded or _is_tested(program, name):
                    continue
                seen.add(name)
                through = Read(name, call.read.node, False, call.read.statement)
                yield NameProblem(cell, through, first[name], through=call.read.name)
        bound = (bound | names.bound) - (names.deleted - _GIVEN)
        deleted = (deleted - names.bound) | names.deleted


def _is_given(name: str) -> bool:
    return name.startswith(_PLACEHOLDER) or _HISTORY.fullmatch(name) is not None


def _is_tested(program: Program, name: str) -> bool:
    """Whether the code looks a name up before it uses it: `"x" in globals()`."""
    quoted = re.compile(
        rf"""["']{re.escape(name)}["']\s*(?:not\s+)?in\s+(?:globals|locals|vars|dir)"""
    )
    return any(quoted.search(cell.text) for cell in program.cells)


def _opened(program: Program) -> int:
    """Return the first cell that may bind names that cannot be read here."""
    foreign = [cell.index for cell in program.foreign if not _HARMLESS.match(cell.source.strip())]
    own = [cell.index for cell in program.cells if _is_open(cell)]
    return min([*foreign, *own, _NEVER])


def _is_open(cell: PythonCell) -> bool:
    if any(re.match(r"%(?:run|pylab|load|loadpy|macro|cython)\b", line) for line in cell.hidden):
        return True
    if not re.search(r"exec|globals|locals|vars|inject", cell.text):
        return False
    for node in cell.nodes:
        if isinstance(node, ast.Call) and dotted(node.func) in ("exec", "get_ipython.run"):
            return True
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Call):
            stored = isinstance(node.ctx, ast.Store) and text_of(node.slice) is None
            if stored and dotted(node.value.func) in _NAMESPACES:
                return True
        if isinstance(node, ast.Attribute) and node.attr == "update":
            inner = node.value
            if isinstance(inner, ast.Call) and dotted(inner.func) in _NAMESPACES:
                return True
    return False


def _from_stars(program: Program, names: CellNames) -> set[str] | None:
    """Return the names that star imports bind, or None if that cannot be known."""
    found: set[str] = set()
    for statement in names.stars:
        if statement.level or not statement.module:
            return None
        module = program.modules.find(statement.module)
        bound = bound_names(module) if module is not None else None
        if bound is None:
            return None
        found |= bound
    return found


def _from_magics(cell: PythonCell) -> set[str]:
    found: set[str] = set()
    for line in cell.hidden:
        match = _MAGIC_BINDS.match(line.strip())
        if match is not None:
            found |= set(re.findall(r"\b[^\W\d]\w*\b", match[1]))
    for node in cell.nodes:  # `globals()["x"] = 1`
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
            owner = node.value
            if isinstance(owner, ast.Call) and dotted(owner.func) in _NAMESPACES:
                found.add(text_of(node.slice) or "")
    return found
