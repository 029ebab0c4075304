"""Patch `devices`: every model and tensor goes to a device that the notebook names.

A memory plan (parameter count times bytes of the dtype) gives each model a device. Moves, factory
calls and `device_map` are then rewritten to name it, and a tensor is moved to the device of each
model that is called with it. Each device is one variable, which is the CPU on a smaller machine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import libcst as cst

from edge_glass.tools.code.cells import PythonCell, changed_cell
from edge_glass.tools.code.edits import apply
from edge_glass.tools.code.program import program_of
from edge_glass.tools.patch.devices.components import Survey
from edge_glass.tools.patch.devices.feeding import Feeder
from edge_glass.tools.patch.devices.kept_variables import kept_variables
from edge_glass.tools.patch.devices.layout import Layout, definition, own_variable
from edge_glass.tools.patch.devices.memory_plan import Device, plan
from edge_glass.tools.patch.devices.placer import Placer
from edge_glass.tools.patch.devices.visible import visible_devices
from edge_glass.tools.patch.syntax.insertion import insert_statements, leading
from edge_glass.tools.patch.syntax.names import NotebookNames, dotted
from edge_glass.tools.patch.syntax.rewrite import Note, Rewrite

_RELEVANT = re.compile(
    r"cuda|device|\.to\(|from_pretrained|SentenceTransformer|DataParallel|load_in_[48]bit"
)

_TIMED = re.compile(r"%time(?:it)?\b.*(?:\bcuda\b|\.to\(|device)")


@dataclass(frozen=True, kw_only=True)
class DevicesPatch:
    """Names devices explicitly.

    Attributes:
        devices: those to use, the first is the main one.
        sizes: the size of a model by its variable, class or id, such as "7.6B" or "15GiB".
    """

    devices: tuple[Device, ...]
    sizes: Mapping[str, str] = field(default_factory=dict)
    name: str = "devices"

    def rewrite(self, cells: Sequence[PythonCell], path: Path, /) -> Rewrite:
        relevant = [cell for cell in cells if _RELEVANT.search(cell.text)]
        if not relevant:
            return Rewrite()
        names = NotebookNames(cells)
        notes: list[Note] = []
        devices = self.devices
        limit = visible_devices(cells)
        if limit is not None:
            devices = tuple(d for d in devices if d.name == "cpu" or d.index < limit[1])
        if limit is not None and devices != self.devices:
            kept = ", ".join(device.name for device in devices) or "none of the devices"
            message = f"CUDA_VISIBLE_DEVICES leaves {limit[1]} visible; the plan has {kept}"
            notes.append(Note(limit[0], "left", message))
        if not devices:
            return Rewrite(notes=notes)
        layout = self._layout(cells, path, devices)
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
            for device in placer.needed:
                name = torch or _torch_in(cell) or "torch"
                lines.append(_line(layout.variables[device], device, name, cell))
            if lines:
                module = insert_statements(module, lines)
            if module.code != cell.text:
                texts[cell.index] = module.code
        layout.by_hand |= {name for name, each in layout.components.items()
                           if each.device_mapped and name not in layout.handled}  # fmt: skip
        notes += [
            Note(cell.index, "left", f"`{line}`: its value is assigned, so the line is not read")
            for cell in cells for line in cell.hidden if _TIMED.match(line)
        ]  # fmt: skip
        if layout.placements:
            notes = [*(Note(-1, "note", line) for line in layout.table()), *notes]
        if layout.placed:
            placed = [changed_cell(cell, texts.get(cell.index, cell.text)) for cell in cells]
            fed, feeding_notes = _fed(placed, layout, names)
            texts |= fed
            notes += feeding_notes
        return Rewrite(texts=texts, notes=notes)

    def _layout(
        self, cells: Sequence[PythonCell], path: Path, devices: tuple[Device, ...]
    ) -> Layout:
        survey = Survey(cells, program_of(tuple(cells), path), self.sizes)
        components = survey.components
        return Layout(
            devices=tuple(device.name for device in devices),
            components=components,
            placements=plan([each.need for each in components.values()], devices),
            consumers=survey.consumers,
            aliases=survey.aliases,
            functions=survey.functions,
            containers=survey.containers,
            left_whole=survey.left_whole,
            kept=kept_variables(cells),
        )


def _fed(
    cells: Sequence[PythonCell], layout: Layout, names: NotebookNames
) -> tuple[dict[int, str], list[Note]]:
    feeder = Feeder(cells, layout)
    texts: dict[int, str] = {}
    for cell in cells:
        edits = feeder.edits.get(cell.index, {})
        if not edits:
            continue
        text = apply(cell.text, edits.values())
        lines: list[str] = []
        for device in sorted(feeder.needed.get(cell.index, ())):
            torch = names.bound_before(cell.index, "torch") or _torch_in(cell)
            if torch is None and not lines:
                lines.append("import torch")
            lines.append(_line(own_variable(device), device, torch or "torch", cell))
        if lines:
            text = insert_statements(changed_cell(cell, text).tree, lines).code
        texts[cell.index] = text
    return texts, feeder.notes


def _line(variable: str, device: str, torch: str, cell: PythonCell) -> str:
    """Return the statement that defines a device's variable, in the quotes of the cell."""
    line = f"{variable} = {definition(device, torch)}"
    return line.replace('"', "'") if "'" in cell.text and '"' not in cell.text else line


def _torch_in(cell: PythonCell) -> str | None:
    """Return the name that the cell's leading imports give torch."""
    for statement in leading(cell.tree):
        for small in statement.body:
            for alias in small.names if isinstance(small, cst.Import) else ():
                if dotted(alias.name) == "torch":
                    return alias.evaluated_alias or "torch"
    return None
