"""Which modules of this repository a module imports, read from the source."""

from __future__ import annotations

import ast
import importlib
import re
from functools import cache
from pathlib import Path

from edge_glass.encoders.components import KINDS

ROOT = Path(__file__).parents[1]
SOURCES = {
    ".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__"): path
    for source in sorted(ROOT.glob("packages/*/src"))
    for path in sorted(source.rglob("*.py"))
}
COMPONENTS = "edge_glass.encoders.components"


def is_package(module: str) -> bool:
    return SOURCES[module].name == "__init__.py"


def code_of(module: str) -> str:
    """A module's source and, for the template of a notebook, the cells as well."""
    source = SOURCES[module].read_text()
    template = getattr(importlib.import_module(module), "CELLS", "") if "CELLS" in source else ""
    cells = re.findall(r"^# %%\n((?:(?!# %%).*\n)*)", template, re.MULTILINE)
    return "\n".join([source, *cells])


class _Imports(ast.NodeVisitor):
    """Collects the names of modules; what only a type checker sees does not count."""

    def __init__(self) -> None:
        self.imported: set[str] = set()
        self.strings: set[str] = set()  # a name in a string is for a dynamic import

    def visit_If(self, node: ast.If) -> None:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            for each in node.orelse:
                self.visit(each)
        else:
            self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        self.imported |= {alias.name for alias in node.names}

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        assert node.level == 0, "relative imports are not used here"
        if node.module:
            self.imported |= {node.module, *(f"{node.module}.{each.name}" for each in node.names)}

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str):
            self.strings.add(node.value)


@cache
def imports(module: str) -> frozenset[str]:
    """The modules that a module imports anywhere in its code, without those of KINDS."""
    visitor = _Imports()
    visitor.visit(ast.parse(code_of(module)))
    found = visitor.imported
    if module != COMPONENTS:
        found |= visitor.strings
    return frozenset(name for name in found if name in SOURCES and not is_package(name))


def closure(starts: set[str], kinds: set[str], stop: set[str]) -> set[str]:
    """All modules that `starts` import, directly or not.

    Args:
        starts: names of modules.
        kinds: of components that may be looked up by name, keys of KINDS.
        stop: modules that are left out, with what only they import.
    """
    found: set[str] = set()
    waiting = set(starts)
    while waiting:
        name = waiting.pop()
        if name in found or name in stop:
            continue
        found.add(name)
        waiting |= imports(name)
        if name == COMPONENTS:
            waiting |= {KINDS[kind][0] for kind in kinds}
    return found


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The groups of nodes that reach each other (Tarjan 1972)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        order[node] = low[node] = len(order)
        stack.append(node)
        for each in sorted(graph[node]):
            if each not in order:
                visit(each)
                low[node] = min(low[node], low[each])
            elif each in stack:
                low[node] = min(low[node], order[each])
        if low[node] == order[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(sorted(group))

    for node in sorted(graph):
        if node not in order:
            visit(node)
    return found
