"""Adds the keys that later cells read from a batch and the collate function does not return."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edge_glass.tools.code.batch_items import Collate, Item, KeyRead, Place
from edge_glass.tools.code.batches import Batches
from edge_glass.tools.code.bindings import body_nodes
from edge_glass.tools.code.edits import Edit, apply
from edge_glass.tools.code.expressions import dotted, text_of
from edge_glass.tools.code.keys import own_nodes, returned
from edge_glass.tools.code.program import Program
from edge_glass.tools.patch.collate.rows import RowsError, rows_name
from edge_glass.tools.patch.syntax.rewrite import Note

# Keys of token ids and masks, which are padded; `image_ids` names rows.
_PADDED = re.compile(r"labels|(?!(?:doc|example|image|item|row|sample|video)_)(.*_)?(ids|mask)")
_STACKED = re.compile(r"(?:\w+_)?(?:embeddings?|features?|images?|pixel_values|pixels)")
_IDENTITY = re.compile(r"(?:.*_)?(?:id|idx|index|key)")


@dataclass(frozen=True)
class _Source:
    """The key of the rows that a key of the batch is made from, and how certain that is."""

    key: str
    reason: str


def add_missing_keys(program: Program) -> tuple[Mapping[int, str], list[Note]]:
    """Return new texts of the cells whose collate functions lack keys, and the notes."""
    batches = Batches(program)
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
            rows = rows_name(collate.node, collate.rows)
        except RowsError as error:
            notes.append(Note(collate.cell.index, "left", (
                f"{owner} lacks `{key}`, which {places} reads; the rows have `{source.key}`, "
                f"but {error}"
            )))  # fmt: skip
            continue
        adder = _Adder(collate, rows, has_torch)
        edit = adder.add(key, source.key, any(read.as_tensor for read in reads))
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
    candidates = [key, _singular(key), f"{key}s"]
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
    for each in (_singular(key), key):
        if any(name.startswith(f"{each}_") for name in known):
            kin = next(name for name in sorted(known) if name.startswith(f"{each}_"))
            return _Source(each, f"the rows have `{kin}`; no cell shows all their keys, so check")
    return None


def _singular(key: str) -> str:
    if key.endswith("ies") and len(key) > 4:
        return key[:-3] + "y"
    if re.search(r"(ss|x|ch|sh)es$", key):
        return key[:-2]
    return key[:-1] if key.endswith("s") and not key.endswith("ss") else key


class _Adder:
    """Writes a new key into the dict that a collate function returns, in the style of the dict."""

    def __init__(self, collate: Collate, rows: str, has_torch: bool) -> None:
        self._collate = collate
        self._rows = rows
        self._cell = collate.cell
        self._torch = has_torch
        self._nodes = own_nodes(collate.node)

    def add(self, key: str, source: str, as_tensor: bool) -> Edit | None:
        values = returned(self._collate.node)
        if len(values) != 1:
            return None
        value = values[0]
        code = self._value(source, as_tensor)
        if isinstance(value, ast.Name):
            made = self._assigned(value.id)
            if made is None or not _is_filled_dict(made):
                return self._store(value.id, key, code)
            value = made
        if isinstance(value, ast.Dict) and value.values:
            quote = self._quote()
            return self._insert(value.values[-1], value, f"{quote}{key}{quote}: {code}")
        if isinstance(value, ast.Call) and dotted(value.func) == "dict" and value.keywords:
            return self._insert(value.keywords[-1].value, value, f"{key}={code}")
        return None

    def _assigned(self, name: str) -> ast.expr | None:
        found = [
            node.value
            for node in self._nodes
            if isinstance(node, ast.Assign) and any(dotted(t) == name for t in node.targets)
        ]
        return found[0] if len(found) == 1 else None

    def _store(self, name: str, key: str, code: str) -> Edit | None:
        """Add `out["key"] = …` in front of the return."""
        if isinstance(self._collate.node, ast.Lambda):
            return None
        for node in body_nodes(self._collate.node.body):
            if isinstance(node, ast.Return):
                place = self._cell.line_start(node)
                indent = self._cell.text[place : self._cell.span(node)[0]]
                if indent.strip():
                    return None  # another statement on the same line
                quote = self._quote()
                return Edit(place, place, f"{indent}{name}[{quote}{key}{quote}] = {code}\n")
        return None

    def _insert(self, last: ast.expr, whole: ast.expr, text: str) -> Edit:
        """Add an entry behind the last one, on its own line if the entries have their own."""
        source = self._cell.text
        start, end = self._cell.span(whole)
        place = self._cell.span(last)[1]
        while match := re.compile(r"\s*\)").match(source, place, end - 1):  # around the value
            place = match.end()
        opening = re.compile(r"[^({]*[({][ \t]*(?:#[^\n]*)?\r?\n([ \t]*)").match(source, start, end)
        separator = f",\n{opening[1]}" if opening is not None else ", "
        return Edit(place, place, separator + text)

    def _quote(self) -> str:
        for node in self._nodes:
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                code = self._cell.code(node)
                if code[:1] in "'\"" and not code.startswith(('"""', "'''")):
                    return code[0]
        return '"'

    def _value(self, source: str, as_tensor: bool) -> str:
        """Return the code that makes a batch's value from the rows' key `source`."""
        rows, row = self._rows, self._row()
        quote = self._quote()
        entry = f"{row}[{quote}{source}{quote}]"
        alike = self._alike(source)
        if alike is not None:
            return alike
        kind = self._collate.kinds.get(source)
        if self._torch and kind == "tensor":
            return f"torch.stack([{entry} for {row} in {rows}])"
        if self._torch and kind == "int" and (as_tensor or not _IDENTITY.fullmatch(source)):
            return f"torch.tensor([{entry} for {row} in {rows}])"
        if self._torch and as_tensor and kind is None:
            return f"torch.stack([torch.as_tensor({entry}) for {row} in {rows}])"
        return f"[{entry} for {row} in {rows}]"

    def _row(self) -> str:
        for node in self._nodes:
            source = getattr(node, "iter", None)
            target = getattr(node, "target", None)
            if dotted(source) == self._rows and isinstance(target, ast.Name):
                return target.id
        return "row" if self._rows != "row" else "each"

    def _alike(self, source: str) -> str | None:
        """Return the code that pads or stacks a key of the same kind, for the new key."""
        kind = _PADDED.fullmatch(source)
        stacked = _STACKED.fullmatch(source)
        if kind is None and stacked is None:
            return None
        for node in self._nodes:
            name = (dotted(node.func) or "") if isinstance(node, ast.Call) else ""
            if name.rpartition(".")[2] not in ("pad_sequence", "stack"):
                continue
            assert isinstance(node, ast.Call)
            keys = [each for each in ast.walk(node)
                    if isinstance(each, ast.Subscript) and text_of(each.slice)]  # fmt: skip
            if len(keys) != 1:
                continue
            other = text_of(keys[0].slice) or ""
            kinds = self._collate.kinds
            if kinds.get(source, "tensor") not in ("tensor", kinds.get(other)):
                continue
            same = _PADDED.fullmatch(other)
            is_label = source == "labels" and same is not None and same[2] == "ids"
            if is_label and name.endswith("pad_sequence"):
                return self._padded_labels(node, keys[0])
            if (kind and same and kind[2] == same[2]) or (stacked and _STACKED.fullmatch(other)):
                start, _ = self._cell.span(node)
                at, end = self._cell.span(keys[0].slice)
                code = self._cell.code(node)
                quote = self._cell.text[at]
                return f"{code[: at - start]}{quote}{source}{quote}{code[end - start :]}"
        return None

    def _padded_labels(self, node: ast.Call, read: ast.Subscript) -> str:
        """Return the padding of ids for labels: with -100, which a loss ignores."""
        start, _ = self._cell.span(node)
        at, end = self._cell.span(read.slice)
        quote = self._cell.text[at]
        edits = [Edit(at - start, end - start, f"{quote}labels{quote}")]
        given = next((each for each in node.keywords if each.arg == "padding_value"), None)
        if given is not None:
            first, last = self._cell.span(given.value)
            edits.append(Edit(first - start, last - start, "-100"))
        code = apply(self._cell.code(node), edits)
        return code if given is not None else f"{code[:-1]}, padding_value=-100)"


def _is_filled_dict(node: ast.expr) -> bool:
    if isinstance(node, ast.Dict):
        return bool(node.values)
    return isinstance(node, ast.Call) and dotted(node.func) == "dict" and bool(node.keywords)
