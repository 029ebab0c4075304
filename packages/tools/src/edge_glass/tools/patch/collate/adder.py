"""Writes a new key into the dict that a collate function returns."""

from __future__ import annotations

import ast
import re

from edge_glass.tools.code.batch_items import Collate
from edge_glass.tools.code.bindings import body_nodes
from edge_glass.tools.code.edits import Edit, apply
from edge_glass.tools.code.expressions import dotted, text_of
from edge_glass.tools.code.keys import own_nodes, returned
from edge_glass.tools.patch.collate.rows import RowsError

# Keys of token ids and masks, which are padded; `image_ids` names rows.
_PADDED = re.compile(r"labels|(?!(?:doc|example|image|item|row|sample|video)_)(.*_)?(ids|mask)")
_STACKED = re.compile(r"(?:\w+_)?(?:embeddings?|features?|images?|pixel_values|pixels)")
_IDENTITY = re.compile(r"(?:.*_)?(?:id|idx|index|key)")


class Adder:
    """Writes a new key into the dict that a collate function returns, in the style of the dict."""

    def __init__(self, collate: Collate, rows: str, has_torch: bool) -> None:
        self._collate = collate
        self._rows = rows
        self._cell = collate.cell
        self._torch = has_torch
        self._nodes = own_nodes(collate.node)

    def add(self, key: str, source: str, as_tensor: bool) -> Edit | None:
        """Return the edit that adds `key`; None if the dict is not built in one place.

        Raises:
            RowsError: How the value is to be made does not show.
        """
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
        if kind == "tensor" and _PADDED.fullmatch(source) and self._pads():
            raise RowsError("how it pads does not show for that key")
        if self._torch and kind == "tensor":
            return f"torch.stack([{entry} for {row} in {rows}])"
        if self._torch and kind == "int" and (as_tensor or not _IDENTITY.fullmatch(source)):
            return f"torch.tensor([{entry} for {row} in {rows}])"
        if self._torch and as_tensor and kind is None:
            return f"torch.stack([torch.as_tensor({entry}) for {row} in {rows}])"
        return f"[{entry} for {row} in {rows}]"

    def _pads(self) -> bool:
        calls = [each.func for each in self._nodes if isinstance(each, ast.Call)]
        return any((dotted(each) or "").endswith("pad_sequence") for each in calls)

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
        if kind is not None and kind[2] == "mask" and not self._masks_tokens(source):
            kind = None
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

    def _masks_tokens(self, source: str) -> bool:
        """Whether a mask belongs to ids of tokens, and not to an image."""
        keys = self._collate.row_keys
        known = self._collate.row_reads | (keys.names if keys is not None else frozenset())
        prefix = source.removesuffix("mask")
        return "attention" in source or bool({f"{prefix}ids", f"{prefix}input_ids"} & known)

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
