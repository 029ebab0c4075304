"""What a name in a cell stands for: `t.device` is `torch.device` after `import torch as t`.

Imports are followed through the notebook in cell order, and function by function. A name that is
bound to anything else (a parameter, a loop variable, an assignment) stands for nothing we know.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence

import libcst as cst

from edge_glass.tools.code.cells import PythonCell

_ASSIGNED = re.compile(r"^([^\W\d]\w*)[ \t]*(?::[^=\n]+)?=(?!=)", re.MULTILINE)


def dotted(node: cst.BaseExpression | cst.BaseAssignTargetExpression | None) -> str | None:
    """Return `a.b.c` for a name or a chain of attributes of a name, else None."""
    if isinstance(node, cst.Name):
        return node.value
    if isinstance(node, cst.Attribute):
        root = dotted(node.value)
        return f"{root}.{node.attr.value}" if root else None
    return None


def root_of(node: cst.BaseExpression | None) -> str | None:
    """Return the variable that an expression starts from: `x` of `x["a"].b.to(c)`, else None."""
    while isinstance(node, (cst.Attribute, cst.Subscript, cst.Call)):
        node = node.func if isinstance(node, cst.Call) else node.value
    return node.value if isinstance(node, cst.Name) else None


def imported(statement: cst.Import | cst.ImportFrom) -> dict[str, str]:
    """Return the names that an import binds and what each stands for."""
    found: dict[str, str] = {}
    if isinstance(statement.names, cst.ImportStar):
        return found
    module = ""
    if isinstance(statement, cst.ImportFrom):
        module = "." * len(statement.relative) + (dotted(statement.module) or "") + "."
    for alias in statement.names:
        name = dotted(alias.name) or ""
        if alias.asname is not None:
            found[dotted(_expression(alias.asname.name)) or ""] = module + name
        elif module:
            found[name] = module + name
        else:
            found[name.split(".")[0]] = name.split(".")[0]
    return found


def _expression(node: cst.CSTNode) -> cst.BaseExpression:
    assert isinstance(node, cst.BaseExpression)  # an import's alias is a name
    return node


class _Bindings(cst.CSTVisitor):
    """Collects the names that a body binds, without entering nested functions and classes."""

    def __init__(self) -> None:
        self.names: dict[str, str | None] = {}
        self._global: set[str] = set()

    def bound(self) -> dict[str, str | None]:
        return {name: to for name, to in self.names.items() if name not in self._global}

    def _bind(self, target: cst.CSTNode) -> None:
        if isinstance(target, cst.Name):
            self.names.setdefault(target.value, None)
        elif isinstance(target, (cst.Tuple, cst.List)):
            for element in target.elements:
                self._bind(element.value)

    def visit_Import(self, node: cst.Import) -> None:
        self.names.update(imported(node))

    def visit_ImportFrom(self, node: cst.ImportFrom) -> None:
        self.names.update(imported(node))

    def visit_Param(self, node: cst.Param) -> None:
        self._bind(node.name)

    def visit_AssignTarget(self, node: cst.AssignTarget) -> None:
        self._bind(node.target)

    def visit_AnnAssign(self, node: cst.AnnAssign) -> None:
        self._bind(node.target)

    def visit_NamedExpr(self, node: cst.NamedExpr) -> None:
        self._bind(node.target)

    def visit_For(self, node: cst.For) -> None:
        self._bind(node.target)

    def visit_CompFor(self, node: cst.CompFor) -> None:
        self._bind(node.target)

    def visit_AsName(self, node: cst.AsName) -> None:
        self._bind(node.name)

    def visit_Global(self, node: cst.Global) -> None:
        self._global.update(item.name.value for item in node.names)

    def visit_FunctionDef(self, node: cst.FunctionDef) -> bool:
        self._bind(node.name)
        return False

    def visit_ClassDef(self, node: cst.ClassDef) -> bool:
        self._bind(node.name)
        return False

    def visit_Lambda(self, _node: cst.Lambda) -> bool:
        return False


def _imports_of(cell: PythonCell) -> dict[str, str]:
    """Return the names that a cell's own imports bind, and what each stands for."""
    if not cell.syntax.body:  # only a newer Python parses it, libcst does
        visitor = _Bindings()
        cell.visit(visitor)
        return {name: to for name, to in visitor.names.items() if to}
    found: dict[str, str] = {}
    for name, node in cell.bindings:
        if isinstance(node, ast.Import):
            alias = next(each for each in node.names
                         if (each.asname or each.name.partition(".")[0]) == name)  # fmt: skip
            found[name] = alias.name if alias.asname else name
        elif isinstance(node, ast.ImportFrom):
            alias = next(each for each in node.names if (each.asname or each.name) == name)
            found[name] = "." * node.level + f"{node.module or ''}.{alias.name}"
    return found


class NotebookNames:
    """The imports of a notebook, as each cell sees them."""

    def __init__(self, cells: Sequence[PythonCell]) -> None:
        rebound = {match for cell in cells for match in _ASSIGNED.findall(cell.text)}
        imports: list[tuple[int, dict[str, str]]] = []
        for cell in cells:
            if "import" in cell.text:
                here = {k: v for k, v in _imports_of(cell).items() if k not in rebound}
                imports.append((cell.index, here))
        self._imports = imports

    def at(self, index: int) -> dict[str, str]:
        """Return what the names in cell `index` stand for.

        A name that is only imported further down counts too: a function may use it by then.
        """
        names: dict[str, str] = {}
        for _, later in reversed([entry for entry in self._imports if entry[0] > index]):
            names.update(later)
        for _, earlier in [entry for entry in self._imports if entry[0] <= index]:
            names.update(earlier)
        return names

    def bound_by(self, index: int, qualified: str) -> str | None:
        """Return a name that cell `index` or an earlier one binds to `qualified`, if any."""
        return self.bound_before(index + 1, qualified)

    def bound_before(self, index: int, qualified: str) -> str | None:
        """Return a name that an earlier cell binds to `qualified`, if there is one."""
        names: dict[str, str] = {}
        for at, bound in self._imports:
            if at < index:
                names.update(bound)
        return next((name for name, to in names.items() if to == qualified), None)


class NamedTransformer(cst.CSTTransformer):
    """A transformer that knows what names stand for, and which are local to a function."""

    def __init__(self, names: Mapping[str, str]) -> None:
        super().__init__()
        self._names = names
        self._frames: list[Mapping[str, str | None]] = []
        self._functions: list[str] = []

    def qualified(self, node: cst.BaseExpression | None) -> str | None:
        """Return what a name or a chain of attributes stands for, e.g. `torch.device`."""
        path = dotted(node)
        if path is None:
            return None
        root, dot, rest = path.partition(".")
        to = self._lookup(root)
        return to + dot + rest if to else None

    def is_local(self, name: str) -> bool:
        """Whether an enclosing function binds `name` itself."""
        return any(name in frame for frame in self._frames)

    def scoped(self, name: str) -> str:
        """Return `name`, marked with its function if it is local to one."""
        return ".".join([*self._functions, name]) if self.is_local(name) else name

    @property
    def in_function(self) -> bool:
        return bool(self._frames)

    def _lookup(self, name: str) -> str | None:
        for frame in reversed(self._frames):
            if name in frame:
                return frame[name]
        return self._names.get(name)

    def _enter(self, *parts: cst.CSTNode) -> None:
        visitor = _Bindings()
        for part in parts:
            part.visit(visitor)
        self._frames.append(visitor.bound())

    def visit_FunctionDef(self, node: cst.FunctionDef) -> bool | None:
        self._enter(node.params, node.body)
        self._functions.append(node.name.value)
        return None

    def leave_FunctionDef(
        self, _original_node: cst.FunctionDef, updated_node: cst.FunctionDef
    ) -> cst.BaseStatement | cst.FlattenSentinel[cst.BaseStatement] | cst.RemovalSentinel:
        self._frames.pop()
        self._functions.pop()
        return updated_node

    def visit_Lambda(self, node: cst.Lambda) -> bool | None:
        self._enter(node.params)
        return None

    def leave_Lambda(
        self, _original_node: cst.Lambda, updated_node: cst.Lambda
    ) -> cst.BaseExpression:
        self._frames.pop()
        return updated_node


def literal_string(node: cst.BaseExpression | None) -> str | None:
    """Return the value of a plain string literal, else None."""
    if isinstance(node, cst.SimpleString):
        value = node.evaluated_value
        return value if isinstance(value, str) else None
    return None


def keyword(call: cst.Call, name: str) -> cst.Arg | None:
    """Return the argument given to `call` as `name=…`, if any."""
    for argument in call.args:
        if argument.keyword is not None and argument.keyword.value == name:
            return argument
    return None


def code_of(node: cst.CSTNode, limit: int = 72) -> str:
    """Return a node's code as one line, cut to `limit` characters, for messages."""
    text = " ".join(cst.Module(body=[]).code_for_node(node).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"
