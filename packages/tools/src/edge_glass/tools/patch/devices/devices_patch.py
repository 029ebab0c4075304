"""Patch `devices`: every model and tensor goes to a device that the notebook names.

A memory plan (parameter count times bytes of the dtype) gives each model a device. Moves, factory
calls and `device_map` are then rewritten to say it; a tensor goes where the model that it is handed
to is. Each device is one variable whose definition falls back to the CPU on a smaller machine.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import libcst as cst

from edge_glass.tools.code.cells import PythonCell
from edge_glass.tools.patch.devices.components import Survey
from edge_glass.tools.patch.devices.layout import Layout, definition
from edge_glass.tools.patch.devices.memory_plan import Device, Placement, plan
from edge_glass.tools.patch.devices.placer import Placer
from edge_glass.tools.patch.rewrite import Note, Rewrite
from edge_glass.tools.patch.syntax.insertion import insert_statements, leading
from edge_glass.tools.patch.syntax.names import NotebookNames, dotted

_RELEVANT = re.compile(r"cuda|device|\.to\(|from_pretrained|SentenceTransformer|DataParallel")


@dataclass(frozen=True, kw_only=True)
class DevicesPatch:
    """Names devices explicitly. `devices`: those to use, the first is the main one."""

    devices: tuple[Device, ...]
    name: str = "devices"

    def rewrite(self, cells: Sequence[PythonCell], _path: Path, /) -> Rewrite:
        relevant = [cell for cell in cells if _RELEVANT.search(cell.text)]
        if not relevant:
            return Rewrite()
        names = NotebookNames(cells)
        survey = Survey(relevant, names)
        components = survey.components
        if len(self.devices) > 1 and components:
            # Who is handed what matters only now, and stands in cells without any device in them.
            called = re.compile(rf"\b(?:{'|'.join(map(re.escape, components))})\b")
            survey = Survey([cell for cell in cells if called.search(cell.text)], names)
        placements = plan([component.need for component in components.values()], self.devices)
        notes = [
            Note(
                -1, "note", f"{name} ({components[name].dtype}): {_where(placed)}, {placed.reason}"
            )
            for name, placed in placements.items()
        ]
        layout = Layout(
            devices=tuple(device.name for device in self.devices),
            components=components,
            placements=placements,
            consumers=survey.consumers,
        )
        texts: dict[int, str] = {}
        torch: str | None = None
        for cell in relevant:
            torch = torch or names.bound_before(cell.index, "torch")
            placer = Placer(names.at(cell.index), layout, cell.index, torch or _torch_in(cell))
            module = cell.visit(placer)
            notes += placer.notes
            lines = []
            if placer.needs_import:
                torch = "torch"
                lines = ["import torch"]
            name = torch or _torch_in(cell) or "torch"
            for device in placer.needed:
                lines.append(f"{layout.variables[device]} = {definition(device, name)}")
            if lines:
                module = insert_statements(module, lines)
            if module.code != cell.text:
                texts[cell.index] = module.code
        return Rewrite(texts=texts, notes=notes)


def _where(placed: Placement) -> str:
    limits = ", ".join(f"cuda:{index} {limit}" for index, limit in placed.max_memory)
    return f"several devices: {limits}" if limits else placed.device


def _torch_in(cell: PythonCell) -> str | None:
    """Return the name that the cell's leading imports give torch."""
    for statement in leading(cell.tree):
        for small in statement.body:
            for alias in small.names if isinstance(small, cst.Import) else ():
                if dotted(alias.name) == "torch":
                    return alias.evaluated_alias or "torch"
    return None
