"""A tensor of a notebook, and the variables that hold tensors."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Tensor:
    """A tensor, or an object with tensors as attributes. `device` is None if it is not known."""

    device: str | None
    movable: bool = True  # has `.to`


@dataclass
class Frame:
    """Variables of the module or of a function. None: surely no tensor."""

    names: dict[str, Tensor | None] = field(default_factory=dict)
    local: frozenset[str] = frozenset()
    function: str = ""
