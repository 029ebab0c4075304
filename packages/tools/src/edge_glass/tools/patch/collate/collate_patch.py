"""Patch `collate`: collate functions return every key that later cells read.

A missing key is added if the rows have it. A function whose keys all map to those of the library's
function may become a call of it; that is only done on request, and offered otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_glass.tools.code.batches import RELEVANT, Batches
from edge_glass.tools.code.cells import PythonCell, changed_cell
from edge_glass.tools.code.program import program_of
from edge_glass.tools.patch.collate.library import ALL_MAP, call_the_library
from edge_glass.tools.patch.collate.missing_keys import add_missing_keys
from edge_glass.tools.patch.syntax.rewrite import Note, Rewrite


@dataclass(frozen=True, kw_only=True)
class CollatePatch:
    """Repairs collate functions. `library`: also let them call the library's if all keys map."""

    library: bool = False
    name: str = "collate"

    def rewrite(self, cells: Sequence[PythonCell], path: Path, /) -> Rewrite:
        if not any(RELEVANT.search(cell.text) for cell in cells):
            return Rewrite()
        batches = Batches(program_of(tuple(cells), path))
        repaired, notes = add_missing_keys(batches)
        rows = {each.name.rpartition(".")[2]: each.rows for each in batches.collates.values()}
        cells = [changed_cell(cell, repaired.get(cell.index, cell.text)) for cell in cells]
        called, library_notes = call_the_library(cells, rows)
        if self.library:
            return Rewrite(texts={**repaired, **called}, notes=[*notes, *library_notes])
        for note in library_notes:
            if note.kind == "changed":
                message = note.message.replace("now calls", ALL_MAP)
                offer = f"{message}; `patch collate --library` makes it a call of that"
                notes.append(Note(note.cell, "left", offer))
            elif ALL_MAP in note.message:
                notes.append(note)
        return Rewrite(texts=repaired, notes=notes)
