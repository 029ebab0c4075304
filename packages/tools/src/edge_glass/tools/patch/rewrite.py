"""What a patch is, and how patches run over a notebook: mask, parse, rewrite, prove, restore."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol

from edge_glass.tools.code.cells import (
    Code,
    PythonCell,
    UnreadableCellError,
    changed_cell,
    parse,
    read_code,
    syntax_problem,
)
from edge_glass.tools.code.masking import MaskError
from edge_glass.tools.code.program import program_of
from edge_glass.tools.notebook import Notebook

_LAYOUT = re.compile(r"['\"\s]")

Kind = Literal["note", "changed", "left", "warning", "person", "unparsed", "skipped"]


@dataclass(frozen=True)
class Note:
    """One line of the summary: what a patch did, or looked at and left, in which cell."""

    cell: int  # index; -1: the notebook as a whole
    kind: Kind
    message: str
    patch: str = ""  # its name; the runner fills it in


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


Review = Callable[[Code, Path], Sequence[Note]]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A notebook's new sources (only of cells that differ) and the notes on it."""

    sources: Mapping[int, str]
    notes: tuple[Note, ...]


def rewrite_notebook(
    notebook: Notebook, patches: Sequence[Patch], review: Review | None = None
) -> Outcome:
    """Run `patches` over `notebook`, one after the other. Nothing is written.

    A cell that does not parse is noted and never handed to a patch. A result that does not parse,
    loses a magic or differs in nothing but layout is dropped: a patch cannot break a notebook.

    Args:
        notebook: what to rewrite.
        patches: in order; each sees the result of the one before.
        review: reads the final code and returns further notes.
    """
    if notebook.language not in ("python", "ipython"):
        note = Note(-1, "skipped", f"its language is {notebook.language}, not Python")
        return Outcome(sources={}, notes=(note,))
    program_of.cache_clear()
    code = read_code(notebook)
    notes = [Note(cell.index, "skipped", cell.magic) for cell in code.foreign]
    notes += [
        Note(index, "unparsed", f"does not parse, untouched: {reason}")
        for index, reason in code.broken.items()
    ]
    for patch in patches:
        code, made = _run(patch, code, notebook.path)
        notes += [replace(note, patch=patch.name) for note in made if note not in notes]
    if review is not None:
        notes += review(code, notebook.path)
    sources: dict[int, str] = {}
    for cell in code.cells:
        source = code.masks[cell.index].restore(cell.text)
        if source != notebook.cells[cell.index].source:
            sources[cell.index] = source
    return Outcome(sources=sources, notes=tuple(sorted(notes, key=lambda note: note.cell)))


def _run(patch: Patch, code: Code, path: Path) -> tuple[Code, list[Note]]:
    cells = list(code.cells)
    notes: list[Note] = []
    while True:
        try:
            rewrite = patch.rewrite(tuple(cells), path)
            break
        except UnreadableCellError as error:
            cells = [cell for cell in cells if cell.index != error.index]
            notes.append(Note(error.index, "unparsed", f"cannot be read, untouched: {error}"))
    notes += rewrite.notes
    changed: dict[int, PythonCell] = {}
    for cell in cells:
        text = rewrite.texts.get(cell.index, cell.text)
        if text == cell.text:
            continue
        try:
            code.masks[cell.index].restore(text)
        except MaskError as error:
            notes = _dropped(notes, cell.index, str(error))
            continue
        problem = syntax_problem(text)
        if problem is not None:
            notes = _dropped(notes, cell.index, f"the result would not parse: {problem}")
        elif _same_meaning(cell.text, text):
            notes = [each for each in notes if (each.cell, each.kind) != (cell.index, "changed")]
        else:
            changed[cell.index] = changed_cell(cell, text)
    if not changed:
        return code, notes
    new = tuple(changed.get(cell.index, cell) for cell in code.cells)
    return replace(code, cells=new), notes


def _same_meaning(old: str, new: str) -> bool:
    """Whether two texts differ only in quotes, spaces and line breaks."""
    if _LAYOUT.sub("", old) != _LAYOUT.sub("", new):
        return False
    before, after = parse(old), parse(new)
    return before is not None and after is not None and ast.dump(before) == ast.dump(after)


def _dropped(notes: list[Note], index: int, reason: str) -> list[Note]:
    """Replace the claims that cell `index` was changed by the reason why it was not."""
    kept = [note for note in notes if not (note.cell == index and note.kind == "changed")]
    return [*kept, Note(index, "left", reason)]
