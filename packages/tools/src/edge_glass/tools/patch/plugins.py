"""The patches of third parties, found by entry point."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # it imports libcst, which `--help` can do without
    from edge_glass.tools.patch.rewrite import Patch

GROUP = "edge_glass.notebook_patches"


def plugin_names() -> list[str]:
    """Return the names that installed distributions register, sorted; nothing is imported."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def load_plugin(name: str, options: Mapping[str, str]) -> Patch:
    """Make the patch that a third party registers as `name`.

    Raises:
        ValueError: No or several distributions register it, or it refuses the options.
    """
    found = list(entry_points(group=GROUP, name=name))
    if len(found) != 1:
        raise ValueError(f"{len(found)} distributions register the patch {name!r}, expected one")
    make = found[0].load()
    try:
        patch: Patch = make(**options)
    except TypeError as error:
        raise ValueError(f"patch {name!r} does not take these options: {error}") from error
    return patch
