"""A visitor that knows by which keys models are known where it is."""

from __future__ import annotations

import ast

from edge_glass.tools.code.bindings import FunctionNode, local_names, parameters
from edge_glass.tools.patch.devices.models import Aliases


class KeyedVisitor(ast.NodeVisitor):
    """Follows functions and classes."""

    def __init__(self) -> None:
        self.aliases = Aliases()
        self.functions: dict[str, list[str]] = {}  # parameters of the notebook's own functions
        self._frames: list[frozenset[str]] = []  # the local names of the functions around
        self._around: list[str] = []  # the names of these functions
        self._classes: list[str] = []
        self.plain_classes: dict[str, bool] = {}  # whether a class inherits no weights
        self._constructors: dict[str, list[str]] = {}  # parameters of the notebook's own classes

    def visit_FunctionDef(self, node: FunctionNode) -> None:
        names = [each.arg for each in parameters(node.args)]
        self.functions[node.name] = names
        if node.name == "__init__" and self._classes:
            self._constructors[self._classes[-1]] = names[1:]
        self._inside(node, node.name)

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._inside(node, "<lambda>")

    def _inside(self, node: FunctionNode | ast.Lambda, name: str) -> None:
        self._frames.append(frozenset(local_names(node)))
        self._around.append(name)
        self.generic_visit(node)
        self._around.pop()
        self._frames.pop()

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        bases = {ast.unparse(each).rpartition(".")[2] for each in node.bases}
        keeps = any(isinstance(each, ast.Attribute) and each.attr.startswith("register_")
                    for each in ast.walk(node))  # fmt: skip
        self.plain_classes[node.name] = bases <= {"Module", "object"} and not keeps
        self._classes.append(node.name)
        self.generic_visit(node)
        self._classes.pop()

    def _is_local(self, name: str) -> bool:
        return any(name in frame for frame in self._frames)

    def _scoped(self, name: str) -> str:
        return ".".join([*self._around, name]) if self._is_local(name) else name

    def _keys(self, path: str) -> list[str]:
        owner = self._classes[-1] if self._classes else None
        local = self._is_local(path.partition(".")[0])
        return self.aliases.resolve(path, tuple(self._around), owner, local)

    def _own_key(self, path: str) -> str:
        """Return the key of a model that is made here and held by a dotted name."""
        root, _, rest = path.partition(".")
        if root in ("self", "cls") and self._classes:
            return f"{self._classes[-1]}.{rest}"
        return ".".join([*self._around, path]) if self._is_local(root) else path
