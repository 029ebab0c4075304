"""Which module-level names the code of a cell binds and reads, in the order of evaluation.

A read is *late* if it happens when a function is called: such a name may be bound by any cell.
All other reads happen when the cell runs: such a name must be bound before.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field

from edge_glass.tools.code.bindings import (
    FunctionNode,
    body_nodes,
    local_names,
    targets,
    type_parameters,
)


@dataclass(frozen=True)
class Read:
    """A read of a module-level name."""

    name: str
    node: ast.Name
    late: bool
    statement: ast.stmt  # the top-level statement that contains it
    guarded: bool = False  # the code expects that the name may be missing
    deleted: bool = False  # a `del` before it in the cell removed the name


@dataclass(frozen=True)
class FunctionCall:
    """A call of a function by its name, which happens when the cell runs."""

    read: Read  # of the function's name
    bound: frozenset[str]  # what the cell has bound before the call


@dataclass(frozen=True, kw_only=True)
class CellNames:
    """The names that a cell binds and reads."""

    bound: frozenset[str]
    reads: tuple[Read, ...]  # of names that the cell has not bound before the read
    stars: tuple[ast.ImportFrom, ...]  # `from x import *`
    deleted: frozenset[str]  # by `del`, and not bound again
    calls: tuple[FunctionCall, ...]
    functions: dict[str, tuple[Read, ...]]  # what each top-level function reads when it is called


def cell_names(tree: ast.Module) -> CellNames:
    """Return what the module-level code and the functions of a cell bind and read."""
    reader = _Reader()
    for statement in tree.body:
        reader.statement = statement
        reader.visit(statement)
    return CellNames(
        bound=frozenset(reader.bound),
        reads=tuple(reader.reads),
        stars=tuple(reader.stars),
        deleted=frozenset(reader.deleted),
        calls=tuple(reader.calls),
        functions={name: tuple(reads) for name, reads in reader.functions.items()},
    )


@dataclass
class _Scope:
    names: set[str]
    late: bool
    is_class: bool = False
    globals: set[str] = field(default_factory=set)


class _Reader(ast.NodeVisitor):
    def __init__(self) -> None:
        self.bound: set[str] = set()
        self.reads: list[Read] = []
        self.stars: list[ast.ImportFrom] = []
        self.deleted: set[str] = set()
        self.calls: list[FunctionCall] = []
        self.functions: dict[str, list[Read]] = {}
        self.statement: ast.stmt = ast.Pass()
        self._scopes: list[_Scope] = []
        self._guards = 0
        self._conditions = 0

    def _bind(self, name: str) -> None:
        scope = self._scopes[-1] if self._scopes else None
        if scope is None or name in scope.globals:
            self.bound.add(name)
            self.deleted.discard(name)
        else:
            scope.names.add(name)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Del) and isinstance(self.statement, ast.Delete):
            self.bound.discard(node.id)
            self.deleted.add(node.id)
            return
        if not isinstance(node.ctx, ast.Load):
            self._bind(node.id)
            return
        for scope in reversed(self._scopes):
            if node.id in scope.names and (not scope.is_class or scope is self._scopes[-1]):
                return
        late = any(scope.late for scope in self._scopes)
        read = Read(node.id, node, late, self.statement, bool(self._guards),
                    deleted=not late and node.id in self.deleted)  # fmt: skip
        # Surely read by a call: not in an inner function, and under no condition.
        direct = len(self._scopes) == 1 and not self._conditions
        if late and direct and isinstance(self.statement, ast.FunctionDef):
            self.functions.setdefault(self.statement.name, []).append(read)
        if node.id not in self.bound:
            self.reads.append(read)

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and not self._scopes and not self._guards:
            read = Read(node.func.id, node.func, False, self.statement)
            self.calls.append(FunctionCall(read, frozenset(self.bound)))

    # Statements whose parts are evaluated in a different order than their fields have.

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        for target in node.targets:
            self.visit(target)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)
        if node.value is not None or not isinstance(node.target, ast.Name):
            self.visit(node.target)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self.visit_Name(ast.copy_location(ast.Name(node.target.id, ast.Load()), node.target))
        self.visit(node.value)
        self.visit(node.target)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        self.visit(node.target)

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self.visit(node.iter)
        self.visit(node.target)
        for statement in [*node.body, *node.orelse]:
            self.visit(statement)

    visit_AsyncFor = visit_For  # noqa: N815

    def visit_If(self, node: ast.If | ast.While | ast.IfExp | ast.BoolOp) -> None:
        self._conditions += 1
        self.generic_visit(node)
        self._conditions -= 1

    visit_While = visit_IfExp = visit_BoolOp = visit_If  # noqa: N815

    def visit_Try(self, node: ast.Try | ast.TryStar) -> None:
        caught = [each for handler in node.handlers for each in _exceptions(handler)]
        guard = any(name in ("NameError", "Exception", "BaseException", "") for name in caught)
        self._guards += guard
        self._conditions += 1
        for statement in node.body:
            self.visit(statement)
        self._guards -= guard
        for handler in node.handlers:
            self.visit(handler)
        for statement in [*node.orelse, *node.finalbody]:
            self.visit(statement)
        self._conditions -= 1

    visit_TryStar = visit_Try  # noqa: N815

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.type is not None:
            self.visit(node.type)
        if node.name:
            self._bind(node.name)
        for statement in node.body:
            self.visit(statement)

    def visit_MatchAs(self, node: ast.MatchAs) -> None:
        self.generic_visit(node)
        if node.name:
            self._bind(node.name)

    def visit_MatchStar(self, node: ast.MatchStar) -> None:
        if node.name:
            self._bind(node.name)

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        self.generic_visit(node)
        if node.rest:
            self._bind(node.rest)

    def visit_Import(self, node: ast.Import) -> None:
        for name in targets(node):
            self._bind(name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for name in targets(node):
            self._bind(name)
        if any(alias.name == "*" for alias in node.names):
            self.stars.append(node)

    def visit_Global(self, node: ast.Global) -> None:
        if self._scopes:
            self._scopes[-1].globals.update(node.names)
            self.bound.update(node.names)  # by a call, whenever that is
            self.deleted.difference_update(node.names)

    # Scopes.

    def visit_FunctionDef(self, node: FunctionNode) -> None:
        for part in [*node.decorator_list, *_defaults(node.args)]:
            self.visit(part)
        self._bind(node.name)
        conditions, self._conditions = self._conditions, int(not _runs_when_called(node))
        if node is self.statement:
            self.functions[node.name] = []
        self._function(node, node.body)
        self._conditions = conditions

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def visit_Lambda(self, node: ast.Lambda) -> None:
        for part in _defaults(node.args):
            self.visit(part)
        self._function(node, [node.body])

    def _function(self, node: FunctionNode | ast.Lambda, body: Iterable[ast.AST]) -> None:
        self._scopes.append(_Scope(local_names(node), late=True))
        for part in body:
            self.visit(part)
        self._scopes.pop()

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for part in [*node.decorator_list, *node.bases, *node.keywords]:
            self.visit(part)
        self._scopes.append(_class_scope(node))
        for statement in node.body:
            self.visit(statement)
        self._scopes.pop()
        self._bind(node.name)

    def _comprehension(
        self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
    ) -> None:
        first, *others = node.generators
        self.visit(first.iter)
        names = {name for each in node.generators for n in ast.walk(each.target)
                 for name in targets(n)}  # fmt: skip
        self._scopes.append(_Scope(names, late=False))
        for part in [*first.ifs, *(p for each in others for p in (each.iter, *each.ifs))]:
            self.visit(part)
        for part in (node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,):
            self.visit(part)
        self._scopes.pop()
        for walrus in (each for each in ast.walk(node) if isinstance(each, ast.NamedExpr)):
            self._bind(walrus.target.id)

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension  # noqa: N815


def _runs_when_called(node: FunctionNode) -> bool:
    """Whether a call runs the body: no decorator, and no generator."""
    yields = any(isinstance(each, (ast.Yield, ast.YieldFrom)) for each in body_nodes(node.body))
    return not yields and not node.decorator_list


def _defaults(arguments: ast.arguments) -> list[ast.expr]:
    return [*arguments.defaults, *(each for each in arguments.kw_defaults if each is not None)]


def _class_scope(node: ast.ClassDef) -> _Scope:
    names = {"__module__", "__qualname__"} | type_parameters(node)
    return _Scope(names, late=False, is_class=True)


def _exceptions(handler: ast.ExceptHandler) -> list[str]:
    if handler.type is None:
        return [""]
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return [kind.id if isinstance(kind, ast.Name) else getattr(kind, "attr", "?") for kind in kinds]
