"""What a function or class can be called with, read from its definition."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from edge_glass.tools.code.bindings import FunctionNode
from edge_glass.tools.code.expressions import dotted
from edge_glass.tools.code.forwarding import Signature as Signature
from edge_glass.tools.code.forwarding import forwarded, forwarding_call
from edge_glass.tools.code.modules import Module, Modules

# Decorators after which a function is called as it is written.
_TRANSPARENT = frozenset(
    {"abstractmethod", "cache", "classmethod", "contextmanager", "final", "inference_mode"}
    | {"lru_cache", "no_grad", "override", "staticmethod", "script", "asynccontextmanager"}
)
_FIELD_BASES = frozenset({"NamedTuple", "typing.NamedTuple"})
_MAX_DEPTH = 8  # base classes that are followed
_MAX_STEPS = 12  # modules that are opened for one name; large packages re-export in long chains

Definition = FunctionNode | ast.ClassDef


@dataclass(frozen=True)
class Resolved:
    """A definition, and the module that holds it; None if that is the notebook."""

    node: Definition
    module: Module | None
    bound: bool = False  # a method that is called on an instance


class Definitions:
    """Finds definitions in modules, through re-exports."""

    def __init__(self, modules: Modules) -> None:
        self.modules = modules
        self._found: dict[str, Resolved | None] = {}
        self._steps = 0  # modules opened for the lookup in hand

    def find(self, qualified: str) -> Resolved | None:
        """Return the definition of `package.module.name` or `….Class.method`, if it is found."""
        if qualified not in self._found:
            self._steps = 0
            self._found[qualified] = self._find(qualified)
        return self._found[qualified]

    def _find(self, qualified: str) -> Resolved | None:
        self._steps += 1
        if self._steps > _MAX_STEPS:
            return None
        parts = qualified.split(".")
        for cut in range(len(parts) - 1, 0, -1):
            module = self.modules.find(".".join(parts[:cut]))
            if module is not None:
                return self._member(module, parts[cut:])
        return None

    def _member(self, module: Module, names: list[str]) -> Resolved | None:
        own = module.index.get(names[0], [])
        if len(own) == 1 and isinstance(own[0], (ast.Import, ast.ImportFrom)):
            return self._reexport(module, own[0], names)
        if len(own) == 1 and isinstance(own[0], Definition):
            return method(Resolved(own[0], module), names[1:])
        if own:
            return None  # defined in several ways, or computed
        for star in module.index.get("*", []):
            if isinstance(star, ast.ImportFrom):
                target = self.modules.relative(module, star)
                resolved = self._find(".".join([target, *names]))
                if resolved is not None:
                    return resolved
        return None

    def _reexport(
        self, module: Module, node: ast.Import | ast.ImportFrom, names: list[str]
    ) -> Resolved | None:
        for alias in node.names:
            if (alias.asname or alias.name.split(".")[0]) != names[0]:
                continue
            if isinstance(node, ast.Import):
                name = alias.name if alias.asname else names[0]
            else:
                name = f"{self.modules.relative(module, node)}.{alias.name}"
            return self._find(".".join([name, *names[1:]]))
        return None

    def signature(
        self, found: Resolved, local: dict[str, Resolved], depth: int = 0
    ) -> Signature | None:
        """Return the signature of a definition, or None if it cannot be known.

        Args:
            found: the function or class.
            local: the notebook's own definitions by name, for base classes and inner calls.
            depth: how many functions that forward their keywords led here.
        """
        where = f"module {found.module.name}" if found.module is not None else "this notebook"
        if isinstance(found.node, ast.ClassDef):
            return self._of_class(found, local, where, 0)
        node = found.node
        own = _of_function(node, node.name, where, bound=_is_bound(node) or found.bound)
        inner = forwarding_call(node) if own is not None and own.takes_kwargs else None
        if own is None or inner is None or depth > _MAX_DEPTH:
            return own
        target = self._base(inner.func.id, found.module, local)  # type: ignore[attr-defined]
        if target is None or target.node is node:
            return own
        taker = self.signature(target, local, depth + 1)
        return forwarded(own, inner, taker) if taker is not None else own

    def _of_class(
        self, found: Resolved, local: dict[str, Resolved], where: str, depth: int
    ) -> Signature | None:
        node = found.node
        if not isinstance(node, ast.ClassDef) or depth > _MAX_DEPTH:
            return None
        kinds = [(dotted(_called(each)) or "?").rpartition(".")[2] for each in node.decorator_list]
        if node.keywords or any(kind != "dataclass" for kind in kinds):
            return None  # a metaclass or a decorator may do anything
        bases = [dotted(base) or "?" for base in node.bases]
        if kinds or _FIELD_BASES & set(bases):
            return _of_fields(node, where) if not (kinds and bases) else None
        for name in ("__init__", "__new__"):
            for each in node.body:
                if isinstance(each, FunctionNode) and each.name == name:
                    return _of_function(each, node.name, where, bound=True, doc=node)
        if not bases or bases == ["object"]:
            empty: frozenset[str] = frozenset()
            return Signature(
                name=node.name, positional=(), keywords=empty, required=empty, source=where
            )
        base = self._base(bases[0], found.module, local) if len(bases) == 1 else None
        return self._of_class(base, local, where, depth + 1) if base is not None else None

    def _base(
        self, name: str, module: Module | None, local: dict[str, Resolved]
    ) -> Resolved | None:
        if module is not None:
            self._steps = 0
            return self._member(module, name.split("."))
        return local.get(name)


def method(found: Resolved, names: list[str]) -> Resolved | None:
    """Return the class or static method that `names` lead to; `found` itself without names."""
    for name in names:
        if not isinstance(found.node, ast.ClassDef):
            return None
        for each in found.node.body:
            if isinstance(each, FunctionNode) and each.name == name and _is_free(each):
                found = Resolved(each, found.module)
                break
        else:
            return None
    return found


def instance_method(found: Resolved, name: str) -> Resolved | None:
    """Return the method of a class that its instances have under `name`, if that is certain."""
    if not isinstance(found.node, ast.ClassDef) or (found.module and not found.module.local):
        return None
    body = [each for each in found.node.body if isinstance(each, FunctionNode)]
    own = [each for each in body if each.name == name]
    names = {each.name for each in body}
    set_elsewhere = any(
        isinstance(each, ast.Attribute) and each.attr == name and isinstance(each.ctx, ast.Store)
        for each in ast.walk(found.node)
    )
    changed = {"__new__", "__getattribute__"} & names or found.node.keywords or set_elsewhere
    if len(own) != 1 or changed or any(
        (dotted(_called(each)) or "?").rpartition(".")[2] != "dataclass"
        for each in found.node.decorator_list
    ):  # fmt: skip
        return None
    is_static = any(dotted(each) == "staticmethod" for each in own[0].decorator_list)
    return Resolved(own[0], found.module, bound=not is_static)


def _of_function(
    node: FunctionNode, name: str, where: str, *, bound: bool, doc: Definition | None = None
) -> Signature | None:
    kinds = [(dotted(_called(each)) or "?").rpartition(".")[2] for each in node.decorator_list]
    if not set(kinds) <= _TRANSPARENT:
        return None
    arguments = node.args
    positional = [each.arg for each in [*arguments.posonlyargs, *arguments.args]]
    only = {each.arg for each in arguments.posonlyargs}
    optional = set(positional[len(positional) - len(arguments.defaults) :])
    if not arguments.defaults:
        optional = set()
    if bound:
        if not positional and arguments.vararg is None:
            return None
        positional = positional[1:]
    named = [each.arg for each in arguments.kwonlyargs]
    required = {each for each in positional if each not in optional}
    required |= {each for each, value in zip(named, arguments.kw_defaults, strict=True)
                 if value is None}  # fmt: skip
    return Signature(
        name=name,
        positional=tuple(positional),
        keywords=frozenset({*positional, *named} - only),
        required=frozenset(required),
        takes_args=arguments.vararg is not None,
        takes_kwargs=arguments.kwarg is not None,
        source=where,
        summary=_summary(node) or (_summary(doc) if doc is not None else ""),
        switches=frozenset(_switches(arguments)),
    )


def _of_fields(node: ast.ClassDef, where: str) -> Signature | None:
    """Return the signature of a dataclass or named tuple without bases."""
    fields: list[tuple[str, bool]] = []
    keyword_only = False
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call):
            for keyword in decorator.keywords:
                value = getattr(keyword.value, "value", None)
                if keyword.arg == "init" and value is False:
                    return None
                keyword_only = keyword_only or (keyword.arg == "kw_only" and value is True)
    for each in node.body:
        if isinstance(each, FunctionNode) and each.name == "__init__":
            return _of_function(each, node.name, where, bound=True, doc=node)
        if not isinstance(each, ast.AnnAssign) or not isinstance(each.target, ast.Name):
            continue
        kind = ast.unparse(each.annotation)
        if "KW_ONLY" in kind or "InitVar" in kind or (
            isinstance(each.value, ast.Call) and any(k.arg in ("init", "kw_only")
                                                     for k in each.value.keywords)
        ):  # fmt: skip
            return None
        if "ClassVar" not in kind:
            fields.append((each.target.id, each.value is None))
    names = [name for name, _ in fields]
    return Signature(
        name=node.name,
        positional=() if keyword_only else tuple(names),
        keywords=frozenset(names),
        required=frozenset(name for name, needed in fields if needed),
        source=where,
        summary=_summary(node),
    )


def _is_free(node: FunctionNode) -> bool:
    """Whether a method can be called on its class."""
    kinds = {dotted(each) for each in node.decorator_list}
    return bool(kinds & {"classmethod", "staticmethod"})


def _is_bound(node: FunctionNode) -> bool:
    return any(dotted(each) == "classmethod" for each in node.decorator_list)


def _called(node: ast.expr) -> ast.expr:
    return node.func if isinstance(node, ast.Call) else node


def _summary(node: Definition) -> str:
    return (ast.get_docstring(node) or "").partition("\n")[0]


def _switches(arguments: ast.arguments) -> set[str]:
    positional = [*arguments.posonlyargs, *arguments.args]
    shift = len(positional) - len(arguments.defaults)
    values = dict(zip([each.arg for each in positional[shift:]], arguments.defaults, strict=True))
    values |= {each.arg: value for each, value
               in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
               if value is not None}  # fmt: skip
    found = {name for name, value in values.items()
             if isinstance(value, ast.Constant) and isinstance(value.value, bool)}  # fmt: skip
    every = [*positional, *arguments.kwonlyargs]
    return found | {each.arg for each in every if dotted(each.annotation) == "bool"}
