"""Which component goes to which device: by parameter count and dtype, largest first."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

GIB = 2**30

# Kept free on each device for activations, KV cache and the allocator's own use.
RESERVE = 0.2

# Parameter counts, as the published checkpoints have them.
KNOWN_PARAMETERS = {
    "Qwen/Qwen2.5-0.5B-Instruct": 494_032_768,
    "Qwen/Qwen2.5-1.5B-Instruct": 1_543_714_304,
    "Qwen/Qwen2.5-3B-Instruct": 3_085_938_688,
    "Qwen/Qwen2.5-7B-Instruct": 7_615_616_512,
    "openai/clip-vit-large-patch14-336": 427_944_193,
    "sentence-transformers/all-MiniLM-L6-v2": 22_713_216,
    "sentence-transformers/all-mpnet-base-v2": 109_486_464,
}
# What `CLIPVisionModel` takes of them.
KNOWN_PARTS = {"openai/clip-vit-large-patch14-336": 303_507_456}
# In a model's name: "7B", "0.5B", "350M", between separators.
_SIZE = re.compile(r"(?<![A-Za-z0-9.])(\d+(?:\.\d+)?)([BbMm])(?![A-Za-z0-9])")

BYTES_PER_PARAMETER = {
    "float64": 8.0,
    "double": 8.0,
    "float32": 4.0,
    "float": 4.0,
    "bfloat16": 2.0,
    "float16": 2.0,
    "half": 2.0,
    "auto": 2.0,  # as stored, which is 16 bit for all current decoders
    "8bit": 1.0,
    "4bit": 0.56,  # NF4 with double quantisation, and the parts that stay in 16 bit
}


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
    """A component's name and the bytes its weights take; None where that isn't known."""

    name: str
    size: int | None
    spreadable: bool = False  # whether its loader understands `device_map`


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where a component goes: to one device, or spread over several within `max_memory`."""

    device: str
    max_memory: tuple[tuple[int, str], ...] = ()
    reason: str = ""

    @property
    def spread(self) -> bool:
        return bool(self.max_memory)


def parameters_of(model_id: str, kind: str = "") -> int | None:
    """Return the parameter count of a model by its id, exact where known, else from its name.

    `kind` is the class that loads it: one of them may take only a part of the checkpoint.
    """
    if model_id in KNOWN_PARTS and kind == "CLIPVisionModel":
        return KNOWN_PARTS[model_id]
    if model_id in KNOWN_PARAMETERS:
        return KNOWN_PARAMETERS[model_id]
    for name, count in KNOWN_PARAMETERS.items():
        if name.split("/")[1].lower() == model_id.split("/")[-1].lower():
            return count
    match = _SIZE.search(model_id.split("/")[-1])
    if match is None:
        return None
    return int(float(match[1]) * (10**9 if match[2] in "Bb" else 10**6))


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
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(GiB|GB|MiB|MB)", text.strip())
    if match is None:
        raise ValueError(f"memory {text!r} isn't a size; expected e.g. 24GiB")
    unit = {"GiB": GIB, "GB": 10**9, "MiB": 2**20, "MB": 10**6}[match[2]]
    return int(float(match[1]) * unit)


def plan(needs: Sequence[Need], devices: Sequence[Device]) -> dict[str, Placement]:
    """Place every component.

    The largest goes first, to the device with most free memory. What fits on no single
    accelerator is spread over all of them; what doesn't fit on all together goes to the CPU.
    """
    accelerators = [device for device in devices if device.name != "cpu"]
    free = {device.name: device.usable for device in accelerators}
    placements: dict[str, Placement] = {}
    for need in sorted(needs, key=lambda need: (-(need.size or 0), need.name)):
        if not accelerators:
            placements[need.name] = Placement(device="cpu", reason="no accelerator named")
        elif need.size is None:
            # First named device: the one whoever wrote the command thinks of as the main one.
            placements[need.name] = Placement(
                device=accelerators[0].name, reason="its size is unknown, not counted"
            )
        else:
            placements[need.name] = _place(need, need.size, accelerators, free)
    return placements


def _place(need: Need, size: int, devices: Sequence[Device], free: dict[str, int]) -> Placement:
    reason = f"{size / GIB:.2f} GiB"
    roomiest = max(devices, key=lambda device: (free[device.name], -device.index))
    if size <= free[roomiest.name]:
        free[roomiest.name] -= size
        return Placement(device=roomiest.name, reason=reason)
    total = sum(free.values())
    if need.spreadable and len(devices) > 1 and size <= total:
        limits = tuple(
            (device.index, f"{free[device.name] // 2**20}MiB")
            for device in sorted(devices, key=lambda device: device.index)
        )
        for device in devices:
            free[device.name] -= int(size * free[device.name] / total)
        return Placement(device=devices[0].name, max_memory=limits, reason=reason)
    room = total if need.spreadable else free[roomiest.name]
    return Placement(
        device="cpu", reason=f"{reason}, more than the {room / GIB:.2f} GiB that are free for it"
    )
