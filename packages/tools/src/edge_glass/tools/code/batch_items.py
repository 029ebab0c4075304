"""What the reader of batches knows: collate functions, dicts, and the reads of their keys."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edge_glass.tools.code.cells import PythonCell
from edge_glass.tools.code.keys import Function, Keys
from edge_glass.tools.code.row_kinds import common_kinds

Place = tuple[int, int, int]  # cell, line, column


@dataclass(eq=False)
class Collate:
    """A collate function of the notebook, and what reads of its batches were found."""

    name: str
    cell: PythonCell
    node: Function
    rows: str  # the parameter that gets the batch; "" if loaders give it different ones
    keys: Keys | None  # of the batch; None: it returns no dict
    row_reads: set[str] = field(default_factory=set)
    received: str | None = None  # the parameter that a loader gives the batch
    # The rows of each loader that uses it; None for rows that are not known.
    loaders: dict[Place, list[Item | None]] = field(default_factory=dict)
    # The rows are tuples, as the data set of a loader or the function itself shows.
    tuples: bool = False

    @property
    def row_sets(self) -> list[tuple[Place, Item | None]]:
        """The rows of each loader, with the place of the loader."""
        return [(place, each) for place, found in sorted(self.loaders.items()) for each in found]

    @property
    def row_keys(self) -> Keys | None:
        """The keys that the rows of all loaders have, if the rows of one are known."""
        known = [each.keys for _, each in self.row_sets if each is not None]
        if not known:
            return None
        names = frozenset.intersection(*[each.names for each in known])
        return Keys(names=names, open=any(each.open for each in known))

    @property
    def kinds(self) -> Mapping[str, str]:
        """What the values of the rows are, if the rows of all loaders are known."""
        return common_kinds(each.kinds if each is not None else {} for _, each in self.row_sets)


@dataclass(frozen=True)
class Item:
    """A dict that code reads keys of."""

    what: str  # "batch" or "row"
    keys: Keys
    owner: str  # for messages: who makes it
    collate: Collate | None = None
    kinds: Mapping[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Many:
    """A sequence or an iterator of dicts."""

    item: Item


Value = Item | Many


@dataclass(frozen=True)
class KeyRead:
    """A key that is read from a dict that has no such key."""

    cell: PythonCell
    key: str
    item: Item
    node: ast.expr
    as_tensor: bool  # the code calls a tensor's method on the value


@dataclass(eq=False)
class Scope:
    """The module (`function` is None) or a function, with the values of its variables by place."""

    cell: PythonCell | None
    function: Function | None
    parent: Scope | None
    values: dict[str, list[tuple[Place, Value]]] = field(default_factory=dict)
    extra: dict[str, set[str]] = field(default_factory=dict)  # keys added or tested by the reader
    handed: dict[str, dict[int, Value | None]] = field(default_factory=dict)  # by calls


def joined(items: Sequence[Item]) -> Item:
    """Return the rows of several data sets that are put together."""
    names = frozenset.intersection(*[each.keys.names for each in items])
    keys = Keys(names=names, open=any(each.keys.open for each in items))
    owner = " and ".join(dict.fromkeys(each.owner for each in items))
    return Item("row", keys, owner, kinds=common_kinds(each.kinds for each in items))
