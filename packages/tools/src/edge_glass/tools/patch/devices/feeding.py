"""Moves the tensors of a call to the device of the model that is called, if they are elsewhere.

What is not surely a tensor is never moved.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

from edge_glass.tools.code.cells import PythonCell
from edge_glass.tools.code.edits import Edit
from edge_glass.tools.code.expressions import shown
from edge_glass.tools.patch.devices.layout import Layout
from edge_glass.tools.patch.devices.tensor import Frame, Tensor
from edge_glass.tools.patch.devices.tensor_names import CPU
from edge_glass.tools.patch.devices.tensors import Tensors
from edge_glass.tools.patch.syntax.rewrite import Note


class Feeder(Tensors):
    """Follows the tensors of a notebook; `edits` and `notes` are what is to be done."""

    def __init__(self, cells: Sequence[PythonCell], layout: Layout) -> None:
        super().__init__(layout)
        self.edits: dict[int, dict[tuple[int, int], Edit]] = {}
        self.notes: list[Note] = []
        self.needed: dict[int, set[str]] = {}  # devices that need a variable, by cell
        for _ in range(3):  # a function's values need those of its callers, and the other way
            before = (dict(self._returned), {k: set(v) for k, v in self._given.items()})
            self.edits, self.notes, self.needed = {}, [], {}
            self._frames = [Frame()]
            for cell in cells:
                self._cell = cell
                self._block(cell.syntax.body)
            if before == (self._returned, {k: set(v) for k, v in self._given.items()}):
                break

    def _feed(self, node: ast.Call, model: str) -> None:
        device = self._layout.of(model)
        assert device is not None
        for argument in node.args:
            inner = argument.value if isinstance(argument, ast.Starred) else argument
            value = self._value(inner)
            if not isinstance(argument, ast.Starred):
                self._move(inner, value, device, node)
        for keyword in node.keywords:
            value = self._value(keyword.value)
            if keyword.arg in ("device", "dtype"):
                continue
            if keyword.arg is None and not isinstance(keyword.value, ast.Name):
                continue
            self._move(keyword.value, value, device, node)

    def _combined(self, nodes: Sequence[ast.expr]) -> Tensor | None:
        """Return the value of an operation on several tensors, brought to one device."""
        values = [(node, self._value(node)) for node in nodes]
        known = [(node, value) for node, value in values if value is not None]
        placed = [value.device for _, value in known if value.device in self._layout.devices]
        if not known:
            return None
        if not placed:
            return known[0][1]
        # The larger model's device: its own tensors are more, and it is called next.
        device = max(placed, key=lambda each: self._weight(each or ""))
        for node, value in known:
            if value.device != device and value.device is not None and len(set(placed)) > 1:
                self._move(node, value, device, node)
        return Tensor(device)

    def _weight(self, device: str) -> int:
        return sum(each.size or 0 for each in self._models.values() if each.device == device)

    def _move(
        self, node: ast.expr, value: Tensor | None, device: str | None, call: ast.expr
    ) -> None:
        if value is None or device is None or value.device == device:
            return
        if not self._layout.several and value.device != CPU:
            return
        variable = self._layout.variables.get(device)
        if variable is None:
            variable = "device_" + device.replace(":", "_")
            self.needed.setdefault(self._cell.index, set()).add(device)
        if any(variable in frame.local for frame in self._frames):
            message = f"`{shown(call)}`: the function has a `{variable}` of its own"
            self.notes.append(Note(self._cell.index, "left", message))
            return
        start, end = self._cell.span(node)
        code = self._cell.text[start:end]
        if not _is_exact(code, node):
            return  # in an f-string, whose places are not reliable
        moved = _moved_to(node)
        if moved is not None and self._device(moved) is not None:
            message = f"`{shown(moved)}` is now `{variable}`"
            self._edit(Edit(*self._cell.span(moved), variable), message)
            return
        simple = isinstance(node, (ast.Name, ast.Attribute, ast.Call, ast.Subscript))
        if not simple:
            self._edit(Edit(start, end, f"({code}).to({variable})"), _told(node, variable))
            return
        self._edit(Edit(end, end, f".to({variable})"), _told(node, variable))

    def _edit(self, edit: Edit, message: str) -> None:
        edits = self.edits.setdefault(self._cell.index, {})
        if (edit.start, edit.end) not in edits:
            edits[edit.start, edit.end] = edit
            self.notes.append(Note(self._cell.index, "changed", message))


def _moved_to(node: ast.expr) -> ast.expr | None:
    """Return `device` of `x.to(device)`, else None."""
    called = node.func if isinstance(node, ast.Call) else None
    if not isinstance(called, ast.Attribute) or called.attr != "to":
        return None
    assert isinstance(node, ast.Call)
    return node.args[0] if len(node.args) == 1 and not node.keywords else None


def _told(node: ast.expr, variable: str) -> str:
    return f"`{shown(node)}` goes to the model's device: `.to({variable})`"


def _is_exact(code: str, node: ast.expr) -> bool:
    try:
        found = ast.parse(f"({code})", mode="eval").body
    except (SyntaxError, ValueError):
        return False
    return ast.dump(found) == ast.dump(node)
