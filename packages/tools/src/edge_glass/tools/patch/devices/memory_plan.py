"""Which component goes to which device: largest first, to the device with most room."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from edge_glass.tools.patch.devices.sizes import GIB, parse_bytes

# Kept free on each device for activations, KV cache and the allocator's own use.
RESERVE = 0.2


@dataclass(frozen=True, kw_only=True)
class Device:
    """A device and its memory in bytes; `cpu` counts as unlimited."""

    name: str
    memory: int

    @property
    def index(self) -> int:
        """The number that torch and `max_memory` know an accelerator by."""
        return int(self.name.partition(":")[2] or 0)

    @property
    def usable(self) -> int:
        return int(self.memory * (1 - RESERVE))


@dataclass(frozen=True, kw_only=True)
class Need:
    """A component's name and the bytes its weights take; None if that is not known."""

    name: str
    size: int | None
    spreadable: bool = False  # whether its loader understands `device_map`
    mapped: bool = False  # whether `device_map` places it already
    assumed: int = 0  # bytes that are counted if the size is not known
    reason: str = ""  # how the size was found


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where a component goes: to one device, or spread over several within `max_memory`."""

    device: str
    size: int | None = None
    max_memory: tuple[tuple[int, str], ...] = ()
    reason: str = ""

    @property
    def spread(self) -> bool:
        return bool(self.max_memory)


def parse_devices(names: str, memory: str) -> tuple[Device, ...]:
    """Parse `cuda:0,cuda:1` and `24GiB` (for all) or `24GiB,16GiB` (one each).

    Raises:
        ValueError: A name, a size or their number is wrong.
    """
    devices = [name.strip() for name in names.split(",") if name.strip()]
    for name in devices:
        if not re.fullmatch(r"cpu|cuda:\d+", name):
            raise ValueError(f"device {name!r} is unknown; expected cuda:0, cuda:1, … or cpu")
    if not devices or len(set(devices)) != len(devices):
        raise ValueError(f"devices {names!r}: name each device once, as cuda:0,cuda:1")
    sizes = [_bytes(size) for size in memory.split(",")]
    if len(sizes) == 1:
        sizes *= len(devices)
    if len(sizes) != len(devices):
        raise ValueError(f"{len(devices)} devices, but {len(sizes)} memory sizes: one each, or one")
    return tuple(Device(name=name, memory=size) for name, size in zip(devices, sizes, strict=True))


def _bytes(text: str) -> int:
    size = parse_bytes(text)
    if size is None:
        raise ValueError(f"memory {text!r} is not a size; expected e.g. 24GiB")
    return size


def plan(needs: Sequence[Need], devices: Sequence[Device]) -> dict[str, Placement]:
    """Place every component.

    The largest goes first, to the device with most free memory. Of equal devices the first is
    taken, but the last for a component that `device_map` places while others are moved to the
    notebook's own `device`: those then stay together. What fits on no single accelerator is spread
    over all of them; what does not fit on all together goes to the CPU. A component of unknown size
    goes to the device that has most room once the others are placed.
    """
    accelerators = [device for device in devices if device.name != "cpu"]
    free = {device.name: device.usable for device in accelerators}
    apart = any(not need.mapped for need in needs)
    placements: dict[str, Placement] = {}
    order = sorted(
        needs, key=lambda need: (need.size is None, -(need.size or need.assumed), need.name)
    )
    for need in order:
        last = need.mapped and apart
        if not accelerators:
            placements[need.name] = Placement(device="cpu", reason="no accelerator named")
        elif need.size is None:
            device = _roomiest(accelerators, free, last=last)
            free[device.name] -= need.assumed
            placements[need.name] = Placement(device=device.name, reason=need.reason)
        else:
            placements[need.name] = _place(need, need.size, accelerators, free, last=last)
    return {need.name: placements[need.name] for need in needs}


def _roomiest(devices: Sequence[Device], free: dict[str, int], *, last: bool) -> Device:
    order = list(enumerate(devices))
    return max(order, key=lambda each: (free[each[1].name], each[0] if last else -each[0]))[1]


def _place(
    need: Need, size: int, devices: Sequence[Device], free: dict[str, int], *, last: bool
) -> Placement:
    roomiest = _roomiest(devices, free, last=last)
    if size <= free[roomiest.name]:
        free[roomiest.name] -= size
        return Placement(device=roomiest.name, size=size, reason=need.reason)
    total = sum(free.values())
    if need.spreadable and len(devices) > 1 and size <= total:
        limits = tuple(
            (device.index, f"{free[device.name] // 2**20}MiB")
            for device in sorted(devices, key=lambda device: device.index)
        )
        for device in devices:
            free[device.name] -= int(size * free[device.name] / total)
        return Placement(device=devices[0].name, size=size, max_memory=limits, reason=need.reason)
    room = total if need.spreadable else free[roomiest.name]
    too_large = f"more than the {room / GIB:.2f} GiB that are free for it"
    return Placement(device="cpu", size=size, reason=f"{need.reason}; {too_large}")
