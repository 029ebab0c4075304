"""Which variable names which device, and which device a tensor belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edge_glass.tools.patch.devices.components import Component
from edge_glass.tools.patch.devices.memory_plan import Placement


def choice(device: str, torch: str) -> str:
    """Return the expression for a device's name that is the CPU's where the device is missing."""
    if device == "cpu":
        return '"cpu"'
    number = device.partition(":")[2]
    return f'"{device}" if {torch}.cuda.device_count() > {number} else "cpu"'


def definition(device: str, torch: str) -> str:
    """Return the expression for a device that is the CPU where the device is missing."""
    return f"{torch}.device({choice(device, torch)})"


@dataclass(kw_only=True)
class Layout:
    """The plan, and the device variables defined so far while the cells are walked in order."""

    devices: tuple[str, ...]  # the first is the main one
    components: Mapping[str, Component]
    placements: Mapping[str, Placement]
    consumers: Mapping[str, set[str]]
    variables: dict[str, str] = field(default_factory=dict)  # device -> variable
    meaning: dict[str, str] = field(default_factory=dict)  # variable -> device

    def define(self, name: str, device: str) -> None:
        """Note that from here on the variable `name` is `device`, and no other any more."""
        for other in [other for other, variable in self.variables.items() if variable == name]:
            if other != device:
                del self.variables[other]
        self.variables.setdefault(device, name)
        self.meaning[name] = device

    def of(self, name: str | None) -> str | None:
        """Return the device of a model by its variable."""
        placed = self.placements.get(name) if name else None
        return placed.device if placed else None

    def of_tensor(self, names: list[str], said: str | None) -> str | None:
        """Return the device of a tensor, or None where that's open.

        It is that of the models which any of its variables goes to, else what the notebook says
        itself, else the only one there is.
        """
        for name in names:
            used = {self.of(user) for user in self.consumers.get(name, ())} - {None}
            if len(used) == 1:
                return used.pop()
            if used:
                return None
        if said in self.devices:
            return said
        others = {placed.device for placed in self.placements.values()} - {self.devices[0]}
        return None if others else self.devices[0]
