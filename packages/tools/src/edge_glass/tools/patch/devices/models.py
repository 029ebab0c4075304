"""By which key a model is known, wherever the notebook holds it.

encoder = Encoder()                  encoder
aligned.vision = Encoder()           aligned.vision
self.decoder = Decoder()             Pipeline.decoder     in a method of the class Pipeline
def build(): model = Decoder()       build.model          a local variable
language = build()                   build.model          what the function returns
def run(net): net(x);  run(encoder)  encoder              a parameter that is given one model
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field

import libcst as cst

from edge_glass.tools.patch.syntax.names import NamedTransformer


@dataclass
class Aliases:
    """What variables and parameters stand for."""

    variables: dict[str, str] = field(default_factory=dict)  # also `function.parameter`
    returns: dict[str, list[str | None]] = field(default_factory=dict)  # keys, by function

    def resolve(
        self, path: str, functions: tuple[str, ...], owner: str | None, local: bool
    ) -> list[str]:
        """Return the keys that `path` may have, the most likely first.

        Args:
            path: a dotted name in the code.
            functions: the functions around it, the outermost first.
            owner: the class around it.
            local: whether a function around it binds the path's root.
        """
        root, dot, rest = path.partition(".")
        if root in ("self", "cls") and owner is not None:
            return [*self._renamed(f"{owner}.{rest}"), f"{owner}.{rest}"]
        keys = []
        if local:
            for count in range(len(functions), 0, -1):
                name = ".".join(functions[:count])
                alias = self.variables.get(f"{name}.{root}")
                keys += [alias + dot + rest] if alias else []
                keys.append(f"{name}.{path}")
            return keys
        alias = self.variables.get(root)
        if not alias:
            return [path]
        return [*self._renamed(alias + dot + rest), alias + dot + rest, path]

    def _renamed(self, key: str) -> list[str]:
        """Return what an attribute stands for that was given a model: `self.net = net`."""
        parts = key.split(".")
        for count in range(len(parts), 1, -1):
            alias = self.variables.get(".".join(parts[:count]))
            if alias:
                return [".".join([alias, *parts[count:]])]
        return []


def longest(keys: list[str], known: Container[str]) -> str | None:
    """Return the longest beginning of one of `keys` that is `known`: `encoder` of `encoder.a.b`."""
    for key in keys:
        while key:
            if key in known:
                return key
            key = key.rpartition(".")[0]
    return None


class ModelNames(NamedTransformer):
    """A transformer that knows the keys of models."""

    def __init__(self, names: Mapping[str, str], aliases: Aliases) -> None:
        super().__init__(names)
        self.aliases = aliases
        self._classes: list[str] = []

    def visit_ClassDef(self, node: cst.ClassDef) -> None:
        self._classes.append(node.name.value)

    def leave_ClassDef(
        self, _original_node: cst.ClassDef, updated_node: cst.ClassDef
    ) -> cst.BaseStatement | cst.FlattenSentinel[cst.BaseStatement] | cst.RemovalSentinel:
        self._classes.pop()
        return updated_node

    def keys(self, path: str) -> list[str]:
        """Return the keys that a dotted name may have here."""
        root = path.partition(".")[0]
        owner = self._classes[-1] if self._classes else None
        return self.aliases.resolve(path, tuple(self._functions), owner, self.is_local(root))

    def own_key(self, path: str) -> str:
        """Return the key of a model that is made here and held by a dotted name."""
        root, _, rest = path.partition(".")
        if root in ("self", "cls") and self._classes:
            return f"{self._classes[-1]}.{rest}"
        return ".".join([*self._functions, path]) if self.is_local(root) else path

    def model_of(self, path: str | None, known: Container[str]) -> str | None:
        """Return the model that a dotted name is, or is a part of, if it is one of `known`."""
        return longest(self.keys(path), known) if path else None
