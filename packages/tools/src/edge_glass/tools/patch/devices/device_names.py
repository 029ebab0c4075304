"""The variables that name devices in one cell, and notes on what is done there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import libcst as cst

from edge_glass.tools.patch.devices.created_models import CreatedModels
from edge_glass.tools.patch.devices.expressions import device_in, held
from edge_glass.tools.patch.devices.layout import Layout, own_variable
from edge_glass.tools.patch.syntax.names import code_of
from edge_glass.tools.patch.syntax.rewrite import Kind, Note

NodeT = TypeVar("NodeT", bound=cst.CSTNode)


class DeviceNames(CreatedModels):
    """Reads one cell. `torch` is the name of torch in it; None if it is not imported yet."""

    def __init__(
        self, names: Mapping[str, str], layout: Layout, index: int, torch: str | None
    ) -> None:
        super().__init__(names, layout)
        self._index = index
        self._torch = torch
        self.needs_import = False  # of torch, in this cell
        self.needed: list[str] = []  # devices whose variable must be defined in this cell
        self.notes: list[Note] = []

    def qualified(self, node: cst.BaseExpression | None) -> str | None:
        """As the base, but torch is torch even if the notebook forgot to import it."""
        found = super().qualified(node)
        path = held(node) or ""
        if found is None and path.startswith("torch.") and not self.is_local("torch"):
            return path
        return found

    def _torch_name(self) -> str:
        """Return the name of torch in this cell, which imports it if nothing has done so yet."""
        self.needs_import = self.needs_import or self._torch is None
        return self._torch or "torch"

    def _named(self, node: cst.BaseExpression) -> str | None:
        """Return the device that an expression names, through the notebook's own variables too."""
        if isinstance(node, cst.Name):
            return None if self.is_local(node.value) else self._layout.meaning.get(node.value)
        called = self.qualified(node.func) if isinstance(node, cst.Call) else None
        return device_in(node, called)

    def _variable(self, device: str, node: cst.CSTNode) -> str | None:
        """Return the variable for `device`, which this cell defines if none before it does."""
        name = self._layout.variables.get(device)
        if name is None:
            name = own_variable(device)
            self._layout.define(name, device, self._index)
            self._torch_name()
            self.needed.append(device)
        if self.is_local(name):
            self._note("left", node, f"the function has a `{name}` of its own")
            return None
        return name

    def _changed(
        self, original: cst.CSTNode, before: NodeT, after: NodeT, shown: str = ""
    ) -> NodeT:
        """Return `after`, with a note that shows `shown` of it, or `before` if nothing changes."""
        old, new = code_of(before, 10**6), code_of(after, 10**6)
        if old.replace("'", '"') == new.replace("'", '"'):
            return before
        self._note("changed", original, f"now `{shown or code_of(after)}`")
        return after

    def _note(self, kind: Kind, node: cst.CSTNode, message: str) -> None:
        self.notes.append(Note(self._index, kind, f"`{code_of(node)}`: {message}"))

    def _move_container(
        self, container: str, original: cst.Call, updated: cst.Call
    ) -> cst.BaseExpression:
        """Drop a move that would bring models to one device that the plan puts on several."""
        parts = ", ".join(sorted(self._layout.containers[container]))
        if container in self._layout.left_whole:
            self._note("left", original, f"moves {parts} as a whole, so the plan leaves them")
            return updated
        self._note("changed", original, f"move dropped: {parts} are moved one by one")
        assert isinstance(updated.func, cst.Attribute)
        return updated.func.value
