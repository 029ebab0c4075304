"""What a patch is, and how one runs over a notebook: mask, parse, rewrite, prove, restore."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal, Protocol

import libcst as cst

from edge_glass.tools.notebook import Notebook
from edge_glass.tools.patch.masking import Masked, MaskError, mask

Kind = Literal["note", "changed", "left", "warning", "unparsed"]


@dataclass(frozen=True)
class Note:
    """One line of the summary: what a patch did, or looked at and left, in which cell."""

    cell: int  # index; -1: the notebook as a whole
    kind: Kind
    message: str


class UnreadableCellError(Exception):
    """libcst can't take a cell that this Python accepts."""

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(reason)
        self.index = index


@dataclass(frozen=True)
class PythonCell:
    """A code cell that parses, with magics masked. `tree` is made on first use: it's the cost."""

    index: int
    text: str

    @cached_property
    def tree(self) -> cst.Module:
        """The cell's syntax tree; its code is `text`, byte for byte.

        Raises:
            UnreadableCellError: libcst can't parse it. The runner then leaves the cell out.
        """
        try:
            tree = cst.parse_module(self.text)
        except (cst.ParserSyntaxError, RecursionError, UnicodeError) as error:
            raise UnreadableCellError(self.index, str(error).splitlines()[0]) from error
        if tree.code != self.text:
            raise UnreadableCellError(self.index, "libcst can't reproduce it byte for byte")
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


@dataclass(frozen=True, kw_only=True)
class Rewrite:
    """What a patch wants: new masked text by cell index, and its notes."""

    texts: Mapping[int, str] = field(default_factory=dict)
    notes: Sequence[Note] = ()


class Patch(Protocol):
    """A syntactic rewrite of a notebook.

    Third parties register one under the entry-point group `edge_glass.notebook_patches`: a callable
    that takes keyword options (strings) and returns a `Patch`.

    `rewrite` sees every code cell that parses, in order, and must be idempotent: given its own
    result, it changes nothing.
    """

    @property
    def name(self) -> str: ...

    def rewrite(self, cells: Sequence[PythonCell], path: Path, /) -> Rewrite: ...


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A notebook's new sources (only of cells that differ) and the notes on it."""

    sources: Mapping[int, str]
    notes: tuple[Note, ...]


def rewrite_notebook(notebook: Notebook, patch: Patch) -> Outcome:
    """Run `patch` over `notebook`. Nothing is written.

    A cell that doesn't parse is noted and never handed to the patch. A result that doesn't parse,
    or loses a magic, is dropped and noted: a patch can't break a notebook.
    """
    if notebook.language not in ("python", "ipython"):
        note = Note(-1, "left", f"its language is {notebook.language}, not Python")
        return Outcome(sources={}, notes=(note,))
    masks: dict[int, Masked] = {}
    cells: list[PythonCell] = []
    notes: list[Note] = []
    for cell in notebook.cells:
        if cell.kind != "code" or not cell.source.strip():
            continue
        try:
            masked = mask(cell.source)
        except MaskError as error:
            notes.append(Note(cell.index, "left", str(error)))
            continue
        problem = syntax_problem(masked.text)
        if problem is not None:
            notes.append(Note(cell.index, "unparsed", f"doesn't parse, untouched: {problem}"))
            continue
        masks[cell.index] = masked
        cells.append(PythonCell(cell.index, masked.text))

    while True:
        try:
            rewrite = patch.rewrite(tuple(cells), notebook.path)
            break
        except UnreadableCellError as error:
            cells = [cell for cell in cells if cell.index != error.index]
            notes.append(Note(error.index, "unparsed", f"can't be read, untouched: {error}"))
    notes += rewrite.notes
    sources: dict[int, str] = {}
    for index, text in rewrite.texts.items():
        try:
            source = masks[index].restore(text)
        except MaskError as error:
            notes = _dropped(notes, index, str(error))
            continue
        problem = syntax_problem(text)
        if problem is not None:
            notes = _dropped(notes, index, f"the result would not parse: {problem}")
        elif source != notebook.cells[index].source:
            sources[index] = source
    return Outcome(sources=sources, notes=tuple(sorted(notes, key=lambda note: note.cell)))


def syntax_problem(text: str) -> str | None:
    """Return why `text` isn't Python, or None where it is.

    `ast` is 10 to 20 times faster than libcst and settles nearly all cells; what only a newer
    Python than this one accepts is left to libcst, which knows the grammars of all.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "invalid escape sequence" in somebody's notebook
        try:
            ast.parse(text)
        except RecursionError:
            return "nested too deeply"
        except (SyntaxError, ValueError) as error:
            try:
                cst.parse_module(text)
            except (cst.ParserSyntaxError, UnicodeError):
                line = getattr(error, "lineno", None)
                reason = getattr(error, "msg", None) or str(error)
                return f"line {line}: {reason}" if line else reason
    return None


def _dropped(notes: list[Note], index: int, reason: str) -> list[Note]:
    """Replace the claims that cell `index` was changed by the reason why it wasn't."""
    kept = [note for note in notes if not (note.cell == index and note.kind == "changed")]
    return [*kept, Note(index, "left", reason)]
