"""Moves the tensors of a call to the device of the model that is called, if they are elsewhere.

What is not surely a tensor is never moved.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence

from edge_glass.tools.code.cells import PythonCell
from edge_glass.tools.code.edits import Edit
from edge_glass.tools.code.expressions import argument, held, shown, text_of
from edge_glass.tools.patch.devices.layout import Layout, own_variable
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
        self._variables: dict[str, str] = {}  # device -> the variable that is defined by here
        for _ in range(3):  # a function's values need those of its callers, and the other way
            before = (dict(self._returned), {k: set(v) for k, v in self._given.items()})
            self.edits, self.notes, self.needed = {}, [], {}
            self._frames = [Frame()]
            self._variables, self._on_cpu = {}, set()
            for cell in cells:
                self._cell = cell
                self._block(cell.syntax.body)
            if before == (self._returned, {k: set(v) for k, v in self._given.items()}):
                break

    def _feed(self, node: ast.Call, model: str) -> None:
        device = self._layout.of(model) if model not in self._on_cpu else None
        for each in node.args:
            inner = each.value if isinstance(each, ast.Starred) else each
            value = self._value(inner)
            if device is not None and _is_open(value, device):
                self._report_unknown(node, each, device)
            if not isinstance(each, ast.Starred):
                self._move(inner, value, device, node)
        for keyword in node.keywords:
            value = self._value(keyword.value)
            if keyword.arg in ("device", "dtype"):
                continue
            if keyword.arg is None and device is not None and _is_open(value, device):
                self._report_unknown(node, ast.Starred(keyword.value), device)
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

    def _report_unknown(self, call: ast.Call, node: ast.expr, device: str) -> None:
        """Report the first input of a model, or one with stars, that may be a tensor anywhere."""
        inner = node.value if isinstance(node, ast.Starred) else node
        followed = isinstance(inner, (ast.Name, ast.Attribute, ast.Subscript))
        whole = isinstance(node, ast.Starred) or node is call.args[0]
        if not (self._layout.several and followed and whole) or self._model(held(inner)):
            return
        functions = [self._functions[each.function] for each in self._frames if each.function]
        passed = {each.args.kwarg.arg for each in functions if each.args.kwarg is not None}
        if isinstance(inner, ast.Name) and inner.id in passed:
            return  # `**kwargs`, as the callers give them
        message = f"`{shown(call)}`: the input `{shown(inner)}` could not be followed; "
        note = Note(
            self._cell.index, "person", f"{message}if it holds tensors, move it to {device}"
        )
        if note not in self.notes:
            self.notes.append(note)

    def _augmented(self, node: ast.AugAssign) -> None:
        value, target = self._value(node.value), self._value(node.target)
        name = held(node.target)
        if value is None:
            return
        if target is None:
            if name is not None:
                self._frames[-1].names[name] = value  # `total = 0`, then `total += loss`
        elif {value.device, target.device} <= set(self._layout.devices):
            self._move(node.value, value, target.device, node.value)

    def _bound(self, name: str) -> None:
        device = self._layout.defined.get((self._cell.index, name))
        if device is None or len(self._frames) > 1:
            return
        self._variables = {k: v for k, v in self._variables.items() if v != name or k == device}
        self._variables.setdefault(device, name)

    def _variable(self, device: str) -> str:
        """Return the variable of a device; `needed` notes that this cell has to define it."""
        own = own_variable(device)
        if device in self._variables:
            return self._variables[device]
        inside = len(self._frames) > 1  # when that runs, the cell with the model has run
        if not (inside and own in {name for _, name in self._layout.defined}):
            self.needed.setdefault(self._cell.index, set()).add(device)
            self._variables[device] = own
        return own

    def _weight(self, device: str) -> int:
        return sum(each.size or 0 for each in self._models.values() if each.device == device)

    def _move(
        self, node: ast.expr, value: Tensor | None, device: str | None, call: ast.expr
    ) -> None:
        if value is None or device is None or value.device == device or not value.movable:
            return
        if not self._layout.several and value.device != CPU:
            return
        start, end = self._cell.span(node)
        code = self._cell.text[start:end]
        if not _is_exact(code, node):
            return  # in an f-string, whose places are not reliable
        plain = isinstance(node, (ast.Name, ast.Attribute, ast.Subscript))
        if value.optional and not plain:
            message = f"`{shown(node)}` may be None, so it is not moved to {device}"
            self.notes.append(Note(self._cell.index, "left", message))
            return
        variable = self._variable(device)
        if any(variable in frame.local for frame in self._frames):
            message = f"`{shown(call)}`: the function has a `{variable}` of its own"
            self.notes.append(Note(self._cell.index, "left", message))
            return
        if value.optional:
            text = f"{code} if {code} is None else {code}.to({variable})"
            text = f"({text})" if call is node else text  # an operand
            self._edit(Edit(start, end, text), _told(node, variable))
            return
        moved = _moved_to(node)
        if moved is not None:
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


def _is_open(value: Tensor | None, device: str) -> bool:
    """Whether it is open that an input is on a device, and it cannot be moved there."""
    return value is None or not (value.movable or value.device == device)


def _moved_to(node: ast.expr) -> ast.expr | None:
    """Return `device` of `x.to(device, …)`, else None."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return None
    given = argument(node, "device", 0) if node.func.attr == "to" else None
    text = text_of(given) or held(given) or ""
    named = re.search(r"(?:^|[._])(?:dev|device)(?:_|$)|^cuda|^cpu$", text, re.IGNORECASE)
    return given if named is not None else None


def _told(node: ast.expr, variable: str) -> str:
    return f"`{shown(node)}` goes to the model's device: `.to({variable})`"


def _is_exact(code: str, node: ast.expr) -> bool:
    try:
        found = ast.parse(f"({code})", mode="eval").body
    except (SyntaxError, ValueError):
        return False
    return ast.dump(found) == ast.dump(node)
