"""One model of a notebook."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field

from edge_glass.tools.patch.devices.memory_plan import Need
from edge_glass.tools.patch.devices.sizes import GIB, Size

# A decoder of unknown size counts as something, so that it does not share a device for nothing.
_DECODER = re.compile(r"decoder|generator|gpt|language|llama|lm\b|llm|qwen", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Component:
    """A model of the notebook."""

    name: str  # its key, see models.py
    kind: str  # the class or function that makes it
    size: Size
    device_mapped: bool  # made with `device_map=`, or quantised, which needs one
    spreadable: bool  # its loader understands `device_map`
    takes_max_memory: bool
    wrapper: bool  # a class of the notebook's own project, made with `device_map=`
    moved: bool  # the notebook moves it somewhere
    parked: bool  # the notebook moves it to the CPU for a while
    in_dict: bool  # `device_map` is in a dictionary that the call is given with two stars

    @property
    def need(self) -> Need:
        return Need(
            name=self.name,
            size=self.size.bytes,
            spreadable=self.spreadable or (self.wrapper and self.device_mapped),
            mapped=self.device_mapped,
            reason=self.size.reason,
            assumed=GIB if _DECODER.search(f"{self.name} {self.kind}") else 0,
        )

    @property
    def placed(self) -> bool:
        """Whether the code puts it on an accelerator; a model that is only loaded stays on CPU."""
        return self.moved or self.device_mapped


@dataclass
class Found:
    """A call that may make a model, as far as it was read."""

    made: ast.Call
    kind: str  # the class or function that makes it
    identifier: str | None = None
    loader: bool = False  # made by `from_pretrained` and the like
    spreadable: bool = False
    wrapper: bool = False
    dtype: str | None = None
    bits: str | None = None
    mapped: bool = False
    takes_max_memory: bool = False
    by_hand: bool = False  # its `device_map` is
    in_dict: bool = False  # `device_map` comes from a dictionary: `Model(**config)`
    parts: set[str] = field(default_factory=set)  # the models that it is given

    @property
    def is_class(self) -> bool:
        """Whether it is made by calling a class, as far as the name shows."""
        return self.kind[:1].isupper()
