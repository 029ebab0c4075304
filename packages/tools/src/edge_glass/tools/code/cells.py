"""The code cells of a notebook as Python: what parses, what is another language, what is broken."""

from __future__ import annotations

import ast
import re
import warnings
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import Any

import libcst as cst

from edge_glass.tools.code.bindings import ScopedCall, body_nodes, scoped_calls, targets
from edge_glass.tools.code.masking import Masked, MaskError, mask
from edge_glass.tools.code.scopes import CellNames, cell_names
from edge_glass.tools.notebook import Notebook

# Deeper trees would exhaust the stack of a recursive reader; no person writes one.
MAX_DEPTH = 120
# libcst ends the process when its stack is exhausted, which no error reports.
_MAX_BRACKETS = 200
_MAX_LINES = _MAX_LINE = 2000
_LINE_END = re.compile(r"\r\n|\r|\n")


class UnreadableCellError(Exception):
    """libcst cannot take a cell that this Python accepts."""

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(reason)
        self.index = index


@dataclass(frozen=True)
class PythonCell:
    """A code cell that parses, with magics masked. `tree` and `syntax` are made on first use."""

    index: int
    text: str
    hidden: tuple[str, ...] = ()  # the magic and shell lines behind the placeholders, in order
    parsed: ast.Module | None = field(default=None, compare=False, repr=False)  # of `text`

    @cached_property
    def tree(self) -> cst.Module:
        """The cell's concrete syntax tree; its code is `text`, byte for byte.

        Raises:
            UnreadableCellError: libcst cannot parse it. The runner then leaves the cell out.
        """
        if not self.syntax.body and parse(self.text) is None and _too_deep(self.text):
            raise UnreadableCellError(self.index, "nested too deeply")
        try:
            tree = cst.parse_module(self.text)
        except (cst.ParserSyntaxError, RecursionError, UnicodeError) as error:
            raise UnreadableCellError(self.index, str(error).splitlines()[0]) from error
        if tree.code != self.text:
            raise UnreadableCellError(self.index, "libcst cannot reproduce it byte for byte")
        return tree

    def visit(self, visitor: cst.CSTTransformer | cst.CSTVisitor) -> cst.Module:
        """Return the tree as `visitor` leaves it.

        Raises:
            UnreadableCellError: The tree is too deep to walk.
        """
        try:
            return self.tree.visit(visitor)
        except RecursionError:
            raise UnreadableCellError(self.index, "nested too deeply") from None

    @cached_property
    def syntax(self) -> ast.Module:
        """The cell's abstract syntax tree; empty if only a newer Python can parse the cell."""
        return self._levels[0][0] if self._levels else ast.Module(body=[], type_ignores=[])

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """Every node of `syntax`."""
        return tuple(node for level in self._levels for node in level)

    @cached_property
    def _levels(self) -> list[list[Any]]:
        """The nodes of the tree by their depth; nothing if the tree is too deep to be read."""
        # A byte order mark would shift the columns of the first line.
        tree = None if self.text.startswith("\ufeff") else self.parsed or parse(self.text)
        levels: list[list[Any]] = [[tree]] if tree is not None else []
        while levels and levels[-1]:
            if len(levels) > MAX_DEPTH:
                return []
            levels.append([c for node in levels[-1] for c in ast.iter_child_nodes(node)])
        return levels

    @cached_property
    def bindings(self) -> tuple[tuple[str, ast.AST], ...]:
        """The module-level names that the cell binds, each with the node that does it."""
        return tuple(
            (name, node) for node in body_nodes(self.syntax.body) for name in targets(node)
        )

    @cached_property
    def names(self) -> CellNames:
        """The module-level names that the cell binds and reads."""
        return cell_names(self.syntax)

    @cached_property
    def calls(self) -> tuple[ScopedCall, ...]:
        """The calls of the cell, in the order of the text."""
        return scoped_calls(self.syntax)

    @cached_property
    def _starts(self) -> list[int]:
        pieces = _LINE_END.split(self.text)
        ends = [len(match[0]) for match in _LINE_END.finditer(self.text)]
        lengths = [len(piece) + end for piece, end in zip(pieces, [*ends, 0], strict=True)]
        return list(accumulate(lengths, initial=0))

    def _offset(self, line: int, column: int) -> int:
        """Return the place in `text` of a line (from 1) and a column in bytes of UTF-8."""
        start = self._starts[line - 1]
        if self.text.isascii():
            return start + column
        piece = self.text[start : self._starts[line]]
        return start + len(
            piece.encode("utf-8", "surrogatepass")[:column].decode("utf-8", "ignore")
        )

    def span(self, node: ast.expr | ast.stmt | ast.keyword | ast.arg) -> tuple[int, int]:
        """Return where a node of `syntax` stands in `text`."""
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return (
            self._offset(node.lineno, node.col_offset),
            self._offset(node.end_lineno, node.end_col_offset),
        )

    def code(self, node: ast.expr | ast.stmt | ast.keyword | ast.arg) -> str:
        """Return the text of a node of `syntax`."""
        return self.text[slice(*self.span(node))]

    def line_start(self, node: ast.stmt) -> int:
        """Return where the first line of a statement starts, its decorators included."""
        decorators: list[ast.expr] = getattr(node, "decorator_list", [])
        return self._starts[min([node.lineno, *[each.lineno for each in decorators]]) - 1]

    def line_end(self, node: ast.stmt) -> int:
        """Return where the line after a statement starts."""
        assert node.end_lineno is not None
        return self._starts[node.end_lineno]


@dataclass(frozen=True)
class ForeignCell:
    """A cell of another language, such as `%%bash`: its magic and its text."""

    index: int
    magic: str
    source: str


@dataclass(frozen=True, kw_only=True)
class Code:
    """The code of a notebook: cells that parse, their masks, and the others with a reason."""

    cells: tuple[PythonCell, ...]
    masks: dict[int, Masked]
    foreign: tuple[ForeignCell, ...]
    broken: dict[int, str]  # why a cell does not parse, by its index


def read_code(notebook: Notebook) -> Code:
    """Mask and parse the code cells of a notebook. Empty cells are left out."""
    masks: dict[int, Masked] = {}
    cells: list[PythonCell] = []
    foreign: list[ForeignCell] = []
    broken: dict[int, str] = {}
    for cell in notebook.cells:
        if cell.kind != "code" or not cell.source.strip():
            continue
        try:
            masked = mask(cell.source)
        except MaskError as error:
            foreign.append(ForeignCell(cell.index, str(error), cell.source))
            continue
        tree = parse(masked.text)
        problem = syntax_problem(masked.text) if tree is None else None
        if problem is not None:
            broken[cell.index] = problem
            continue
        masks[cell.index] = masked
        cells.append(PythonCell(cell.index, masked.text, masked.hidden, tree))
    return Code(cells=tuple(cells), masks=masks, foreign=tuple(foreign), broken=broken)


def changed_cell(cell: PythonCell, text: str) -> PythonCell:
    """Return `cell` with another text."""
    return PythonCell(cell.index, text, cell.hidden)


def parse(text: str) -> ast.Module | None:
    """Return the tree of `text`, or None if this Python cannot parse it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "invalid escape sequence" in a notebook
        try:
            return ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


def syntax_problem(text: str) -> str | None:
    """Return why `text` is not Python, or None if it is.

    `ast` is 10 to 20 times faster than libcst and settles nearly all cells. What only a newer
    Python than this one accepts is left to libcst, which knows the grammars of all.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ast.parse(text)
        except (RecursionError, MemoryError):
            return "nested too deeply"
        except (SyntaxError, ValueError) as error:
            if _too_deep(text):
                return "nested too deeply, or too long for a cell that Python does not accept"
            try:
                cst.parse_module(text)
            except (cst.ParserSyntaxError, UnicodeError, RecursionError):
                line = getattr(error, "lineno", None)
                reason = getattr(error, "msg", None) or str(error)
                return f"line {line}: {reason}" if line else reason
    return None


def _too_deep(text: str) -> bool:
    """Whether a text that `ast` refuses is too much for libcst."""
    lines = text.splitlines()
    if len(lines) > _MAX_LINES or any(len(line) > _MAX_LINE for line in lines):
        return True
    depth = 0
    for bracket in re.findall(r"[(\[{)\]}]", text):
        depth = depth + 1 if bracket in "([{" else max(0, depth - 1)
        if depth > _MAX_BRACKETS:
            return True
    return False
