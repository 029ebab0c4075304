"""Adds the keys that later cells read from a batch and the collate function does not return."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edge_glass.tools.code.batch_items import Collate, Item, KeyRead, Place
from edge_glass.tools.code.batches import Batches
from edge_glass.tools.code.edits import Edit, apply
from edge_glass.tools.patch.collate.adder import Adder
from edge_glass.tools.patch.collate.body import singular
from edge_glass.tools.patch.collate.rows import RowsError, rows_name
from edge_glass.tools.patch.syntax.rewrite import Note


@dataclass(frozen=True)
class _Source:
    """The key of the rows that a key of the batch is made from, and how certain that is."""

    key: str
    reason: str


def add_missing_keys(batches: Batches) -> tuple[Mapping[int, str], list[Note]]:
    """Return new texts of the cells whose collate functions lack keys, and the notes."""
    program = batches.program
    edits: dict[int, list[Edit]] = {}
    cells = {cell.index: cell for cell in program.cells}
    notes: list[Note] = []
    wanted: dict[tuple[str, str], list[KeyRead]] = {}
    for read in batches.missing:
        wanted.setdefault((read.item.owner, read.key), []).append(read)
    has_torch = program.meaning("torch", program.cells[-1].index) == "torch"
    for (owner, key), reads in wanted.items():
        places = _cells_of(reads)
        collate = reads[0].item.collate
        if collate is None:
            returns = ", ".join(f"`{name}`" for name in sorted(reads[0].item.keys.names))
            message = f"reads the key `{key}` of a {reads[0].item.what}; {owner} gives {returns}"
            notes += [Note(read.cell.index, "person", message) for read in reads]
            continue
        source = _source(collate, key)
        if source is None:
            notes.append(Note(collate.cell.index, "person", _unknown(collate, key, places)))
            continue
        try:
            adder = Adder(collate, rows_name(collate.node, collate.rows), has_torch)
            edit = adder.add(key, source.key, any(read.as_tensor for read in reads))
        except RowsError as error:
            notes.append(Note(collate.cell.index, "left", (
                f"{owner} lacks `{key}`, which {places} reads; the rows have `{source.key}`, "
                f"but {error}"
            )))  # fmt: skip
            continue
        if edit is None:
            notes.append(Note(collate.cell.index, "person", (
                f"{owner} lacks `{key}`, which {places} reads; return it from the rows' "
                f"`{source.key}`: the dict is not built in one place, so it is left"
            )))  # fmt: skip
            continue
        edits.setdefault(collate.cell.index, []).append(edit)
        notes.append(Note(collate.cell.index, "changed", (
            f"{owner} now returns `{key}`, which {places} reads, from the rows' "
            f"`{source.key}`: {source.reason}"
        )))  # fmt: skip
    return {index: apply(cells[index].text, each) for index, each in edits.items()}, notes


def _cells_of(reads: Sequence[KeyRead]) -> str:
    numbers = sorted({read.cell.index + 1 for read in reads})
    return f"cell {', '.join(map(str, numbers))}"


def _unknown(collate: Collate, key: str, places: str) -> str:
    names = collate.keys.names if collate.keys is not None else frozenset()
    returns = ", ".join(f"`{name}`" for name in sorted(names))
    lacks = f"`{collate.name}` lacks `{key}`, which {places} reads; it returns {returns or 'none'}"
    if collate.tuples:
        return f"{lacks}; its rows are tuples, so no key shows which item it is"
    if len(collate.row_sets) > 1 and collate.row_keys is not None:
        sets = "; ".join(_described(place, each) for place, each in collate.row_sets)
        return f"{lacks}; not all loaders have rows with a key for it: {sets}"
    rows = sorted(collate.row_keys.names if collate.row_keys is not None else collate.row_reads)
    if not rows:
        return f"{lacks}, and its rows have no key that can be read"
    return f"{lacks}, and the rows have {', '.join(f'`{name}`' for name in rows)}: no key for it"


def _described(place: Place, rows: Item | None) -> str:
    """Return the rows of one loader in words."""
    loader = f"the loader in cell {place[0] + 1}, line {place[1]},"
    if rows is None:
        return f"{loader} has rows that are not known"
    names = ", ".join(f"`{name}`" for name in sorted(rows.keys.names))
    return f"{loader} has {names or 'no key that can be read'}"


def _source(collate: Collate, key: str) -> _Source | None:
    """Return the row's key that holds what a batch's `key` should hold, for all loaders."""
    if collate.tuples:
        return None
    candidates = [key, singular(key), f"{key}s"]
    sets = collate.row_sets
    if len(sets) > 1 and any(each is not None for _, each in sets):
        for each in candidates:
            if all(rows is not None and each in rows.keys.names for _, rows in sets):
                return _Source(each, "the rows of every loader have it")
        return None
    rows = collate.row_keys
    if rows is not None and rows.names and not rows.open:
        found = next((each for each in candidates if each in rows.names), None)
        return _Source(found, "the data set gives it") if found is not None else None
    known = collate.row_reads | (rows.names if rows is not None else frozenset())
    for each in candidates:
        if each in known:
            return _Source(each, "the notebook reads it from a row")
    for each in (singular(key), key):
        if any(name.startswith(f"{each}_") for name in known):
            kin = next(name for name in sorted(known) if name.startswith(f"{each}_"))
            return _Source(each, f"the rows have `{kin}`; no cell shows all their keys, so check")
    return None
