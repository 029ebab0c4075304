"""What the reader of batches knows: collate functions, dicts, and the reads of their keys."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

from edge_glass.tools.code.cells import PythonCell
from edge_glass.tools.code.keys import Function, Keys


@dataclass(eq=False)
class Collate:
    """A collate function of the notebook, and what reads of its batches were found."""

    name: str
    cell: PythonCell
    node: Function
    rows: str  # its parameter
    keys: Keys | None  # of the batch; None: it returns no dict
    row_reads: set[str] = field(default_factory=set)
    row_keys: Keys | None = None  # of the data set that it is used with, if that is known


@dataclass(frozen=True)
class Item:
    """A dict that code reads keys of."""

    what: str  # "batch" or "row"
    keys: Keys
    owner: str  # for messages: who makes it
    collate: Collate | None = None


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
    values: dict[str, list[tuple[tuple[int, int, int], Value]]] = field(default_factory=dict)
    extra: dict[str, set[str]] = field(default_factory=dict)  # keys added or tested by the reader
