"""Which name in a collate function holds the rows that its returned values are made from."""

from __future__ import annotations

import ast

from edge_glass.tools.code.bindings import COMPREHENSIONS, targets
from edge_glass.tools.code.expressions import dotted, text_of
from edge_glass.tools.code.keys import Function

_CHANGES = frozenset(
    {"append", "clear", "extend", "insert", "pop", "remove", "reverse", "shuffle", "sort"}
)


class RowsError(Exception):
    """No name surely holds the rows that the other values are made from. The message is why."""


def rows_name(function: Function, rows: str) -> str:
    """Return the name to make a further value from: it iterates what the other values iterate.

    Args:
        function: a collate function.
        rows: its parameter that gets the batch; "" if loaders give it different ones.

    Raises:
        RowsError: Rows are dropped on the way, or the name is bound to something else.
    """
    if not rows:
        raise RowsError("which of its parameters gets the rows differs or does not show")
    reader = _Reader(function, rows)
    used = {name for name, _ in reader.iterated}
    if reader.drops:
        raise RowsError("it drops or repeats rows while it makes the values")
    if reader.unknown:
        raise RowsError(f"its values are made from `{reader.unknown}`, not from the rows")
    if len(used) > 1:
        raise RowsError(f"its values are made from {' and '.join(map(repr, sorted(used)))}")
    name = used.pop() if used else rows
    first_read = min((line for _, line in reader.iterated), default=1 << 30)
    if name in reader.lost:
        raise RowsError(f"`{name}` is bound again in it, and no longer holds the rows")
    if any(line >= first_read for line in reader.bound.get(name, ())):
        raise RowsError(f"`{name}` changes while it makes the values")
    if not reader.iterated:
        raise RowsError("which rows its values are made from does not show")
    return name


class _Reader:
    """Follows the rows through a function: names that hold them, and loops over these."""

    def __init__(self, function: Function, rows: str) -> None:
        self.lost: set[str] = set()  # bound to something else than rows
        self.bound: dict[str, list[int]] = {}  # lines that bind or change a name to fewer rows
        self.iterated: list[tuple[str, int]] = []  # names whose rows' keys are read, and the line
        self.drops = False
        self.unknown = ""
        self._holders = {rows}
        body = [function.body] if isinstance(function, ast.Lambda) else function.body
        nodes = [node for statement in body for node in ast.walk(statement)]
        nodes.sort(key=lambda node: (getattr(node, "lineno", 0), getattr(node, "col_offset", 0)))
        inner = {id(each) for node in nodes if isinstance(node, COMPREHENSIONS)
                 for part in node.generators for each in ast.walk(part.target)}  # fmt: skip
        self._narrowing: set[int] = set()
        for node in nodes:
            if isinstance(node, ast.Assign):
                self._assign(node)
        done = {id(each) for node in nodes if isinstance(node, ast.Assign)
                for each in node.targets if isinstance(each, ast.Name)}  # fmt: skip
        for node in nodes:
            if id(node) not in inner | done and not isinstance(node, ast.Name | ast.expr_context):
                self._other(node)
            elif isinstance(node, ast.Name) and id(node) not in inner | done:
                self.lost |= set(targets(node)) & self._holders

    def _assign(self, node: ast.Assign) -> None:
        source = self._kept(node.value)
        for target in node.targets:
            if not isinstance(target, ast.Name):
                continue
            if source is not None:
                self._holders.add(target.id)
                self.bound.setdefault(target.id, []).append(node.lineno)
                self._narrowing |= {id(each) for each in ast.walk(node.value)}
            elif target.id in self._holders:
                self.lost.add(target.id)

    def _kept(self, node: ast.expr) -> str | None:
        """Return the name whose rows an expression gives: all, some or in a different order."""
        if isinstance(node, ast.Name):
            return node.id if node.id in self._holders else None
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice):
            return self._kept(node.value)
        if isinstance(node, ast.ListComp) and len(node.generators) == 1:
            part = node.generators[0]
            same = dotted(node.elt) is not None and dotted(node.elt) == dotted(part.target)
            return self._kept(part.iter) if same else None
        if isinstance(node, ast.Call) and node.args:
            called = dotted(node.func)
            if called in ("list", "sorted", "tuple"):
                inner = node.args[0]
                if isinstance(inner, ast.Call) and dotted(inner.func) in ("filter", "reversed"):
                    return self._kept(inner.args[-1]) if inner.args else None
                if isinstance(inner, ast.GeneratorExp):
                    inner = ast.ListComp(elt=inner.elt, generators=inner.generators)
                return self._kept(inner)
        return None

    def _other(self, node: ast.AST) -> None:
        if id(node) in self._narrowing:
            return
        if isinstance(node, (ast.For, ast.AsyncFor)):
            self._loop(node.target, node.iter, node.body, node.lineno)
            if self._mentioned(node.iter) and any(_drops(each) for each in node.body):
                self.drops = True
        elif isinstance(node, COMPREHENSIONS):
            parts = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
            if len(node.generators) > 1 and any(
                self._mentioned(part.iter) for part in node.generators
            ):
                self.drops = True
            for part in node.generators:
                self._loop(part.target, part.iter, [*parts, *part.ifs], node.lineno)
                if part.ifs and self._mentioned(part.iter):
                    self.drops = True
        elif isinstance(node, ast.While):
            self.drops = self.drops or self._mentioned(node)
        elif isinstance(node, ast.Call):
            called = dotted(node.func) or ""
            over = [each.id for each in node.args[1:] if isinstance(each, ast.Name)]
            if called == "map":
                self.iterated += [(each, node.lineno) for each in over if each in self._holders]
            owner, _, method = called.rpartition(".")
            if method in _CHANGES:
                for name in {owner, *(dotted(each) or "" for each in node.args[:1])}:
                    if name in self._holders and (owner == name or method == "shuffle"):
                        self.bound.setdefault(name, []).append(node.lineno)
            if called in ("filter", "islice", "takewhile", "compress") and any(
                self._mentioned(each) for each in node.args
            ):
                self.drops = True
        elif isinstance(node, ast.Subscript):
            name = dotted(node.value) or ""
            if name in self._holders and not isinstance(node.ctx, ast.Load):
                self.lost.add(name)
            owner_of = node.value.value if isinstance(node.value, ast.Subscript) else None
            if text_of(node.slice) and dotted(owner_of) in self._holders:
                self.iterated.append((dotted(owner_of) or "", node.lineno))

    def _loop(
        self, target: ast.expr, source: ast.expr, body: list[ast.stmt] | list[ast.expr], line: int
    ) -> None:
        names = {name for each in ast.walk(target) for name in targets(each)}
        reads = any(_reads_key(node, names) for part in body for node in ast.walk(part))
        holder = self._over(source)
        if holder is not None:
            self.iterated.append((holder, line))
        elif reads or any(self._by_index(node, names, source) for part in body
                          for node in ast.walk(part)):  # fmt: skip
            self.unknown = ast.unparse(source)

    def _by_index(self, node: ast.AST, names: set[str], source: ast.expr) -> bool:
        """Whether rows are read by an index that may leave some out or change their order."""
        if not isinstance(node, ast.Subscript) or dotted(node.slice) not in names:
            return False
        name = dotted(node.value)
        return name in self._holders and ast.unparse(source) != f"range(len({name}))"

    def _mentioned(self, source: ast.AST) -> bool:
        names = [each.id for each in ast.walk(source) if isinstance(each, ast.Name)]
        return bool(self._holders & set(names))

    def _over(self, source: ast.expr) -> str | None:
        """Return the name whose rows a loop takes: `rows`, `enumerate(rows)`."""
        if isinstance(source, ast.Call) and dotted(source.func) == "enumerate" and source.args:
            source = source.args[0]
        return source.id if isinstance(source, ast.Name) and source.id in self._holders else None


def _reads_key(node: ast.AST, names: set[str]) -> bool:
    if isinstance(node, ast.Subscript):
        return text_of(node.slice) is not None and dotted(node.value) in names
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return node.func.attr == "get" and dotted(node.func.value) in names
    return False


def _drops(node: ast.AST) -> bool:
    """Whether a loop may leave rows out: `continue`, `break`, or a value added on a condition."""
    for each in ast.walk(node):
        if isinstance(each, (ast.Continue, ast.Break, ast.Try)):
            return True
        partly = isinstance(each, (ast.For, ast.While)) or (
            isinstance(each, ast.If) and not each.orelse
        )
        if partly and _adds(each):
            return True
        if isinstance(each, ast.Attribute) and each.attr == "extend":
            return True
    return False


def _adds(node: ast.AST) -> bool:
    attributes = [each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute)]
    return bool({"append", "extend"} & set(attributes))
