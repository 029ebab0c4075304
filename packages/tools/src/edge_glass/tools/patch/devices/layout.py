"""Which variable names which device, and which device a tensor belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from edge_glass.tools.patch.devices.component import Component
from edge_glass.tools.patch.devices.memory_plan import Placement
from edge_glass.tools.patch.devices.models import Aliases
from edge_glass.tools.patch.devices.sizes import GIB


def choice(device: str, torch: str) -> str:
    """Return the expression for a device's name that is the CPU's if the device is missing."""
    if device == "cpu":
        return '"cpu"'
    number = device.partition(":")[2]
    return f'"{device}" if {torch}.cuda.device_count() > {number} else "cpu"'


def definition(device: str, torch: str) -> str:
    """Return the expression for a device that is the CPU if the device is missing."""
    return f"{torch}.device({choice(device, torch)})"


def own_variable(device: str) -> str:
    """Return the name of a variable that a patch adds for a device."""
    return "device_" + device.replace(":", "_")


@dataclass(kw_only=True)
class Layout:
    """The plan, and the device variables defined so far while the cells are walked in order."""

    devices: tuple[str, ...]  # the first is the main one
    components: Mapping[str, Component]
    placements: Mapping[str, Placement]
    consumers: Mapping[str, set[str]]
    aliases: Aliases
    containers: Mapping[str, set[str]]  # objects moved as a whole -> the models in them
    left_whole: Mapping[str, set[str]]  # those of them that have to be moved as a whole
    functions: Mapping[str, list[str]]  # parameters of the notebook's own functions
    handled: set[str] = field(default_factory=set)  # models whose `device_map` follows the plan
    by_hand: set[str] = field(default_factory=set)  # models that the notebook spreads itself
    variables: dict[str, str] = field(default_factory=dict)  # device -> variable
    meaning: dict[str, str] = field(default_factory=dict)  # variable -> device
    defined: dict[tuple[int, str], str] = field(default_factory=dict)  # (cell, variable) -> device
    kept: frozenset[str] = frozenset()  # device variables whose very text the notebook needs

    @property
    def several(self) -> bool:
        """Whether models stand on different devices, or one on several."""
        placed = [self.placements[name] for name in self.placed]
        return len({each.device for each in placed}) > 1 or any(each.spread for each in placed)

    @property
    def placed(self) -> list[str]:
        """The models that the patched code puts on the device of the plan."""
        return [name for name, each in self.components.items()
                if each.placed and name not in self.by_hand]  # fmt: skip

    def define(self, name: str, device: str, cell: int) -> None:
        """Note that from `cell` on the variable `name` is `device`, and no other any more."""
        self.defined[cell, name] = device
        for other in [other for other, variable in self.variables.items() if variable == name]:
            if other != device:
                del self.variables[other]
        self.variables.setdefault(device, name)
        self.meaning[name] = device

    def of(self, name: str | None) -> str | None:
        """Return the device of a model by its key."""
        placed = self.placements.get(name) if name and name not in self.by_hand else None
        return placed.device if placed else None

    def of_tensor(self, names: Iterable[str], named: str | None) -> str:
        """Return the device that a tensor is moved to when it is made.

        It is that of the models which any of its variables goes to, else the one that the notebook
        names, else the main one. Every call of a model on another device moves it again.
        """
        for name in names:
            used = {self.of(user) for user in self.consumers.get(name, ())} - {None}
            if len(used) == 1:
                return used.pop() or self.devices[0]
            if used:
                break
        return named if named in self.devices else self.devices[0]

    def table(self) -> list[str]:
        """Return the plan as lines of a table: model, device, memory, and how that was found."""
        rows = [("model", "device", "memory", "how the memory was found")]
        for name, placed in self.placements.items():
            limits = ", ".join(f"cuda:{index} up to {limit}" for index, limit in placed.max_memory)
            memory = f"{placed.size / GIB:.2f} GiB" if placed.size is not None else "?"
            where = "by hand" if name in self.by_hand else limits or placed.device
            rows.append((name, where, memory, placed.reason))
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        return [
            "  ".join(
                [*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]
            )
            for row in rows
        ]
