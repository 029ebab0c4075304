"""Which expressions of a notebook are tensors, and on which device each is."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import replace

from edge_glass.tools.code.bindings import FunctionNode, parameters
from edge_glass.tools.code.expressions import held, text_of
from edge_glass.tools.patch.devices.layout import Layout
from edge_glass.tools.patch.devices.model_calls import names_cpu
from edge_glass.tools.patch.devices.models import longest
from edge_glass.tools.patch.devices.tensor import Frame, Tensor, is_none
from edge_glass.tools.patch.devices.tensor_names import (
    COMBINES,
    CPU,
    CREATES,
    IMAGE_KEY,
    NO_FEED,
    NOT_A_TENSOR,
    TENSOR_NAME,
    TEXT_TOOLS,
)

_ORDERS = (ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE)


class Values:
    """Reads expressions, and leaves to a subclass what is done with the tensors of a call."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._models = {name: layout.placements[name] for name in layout.placed}
        self._functions: dict[str, FunctionNode | ast.Lambda] = {}
        self._returned: dict[str, Tensor | None] = {}
        self._given: dict[str, list[Tensor | None]] = {}  # what functions are handed, by parameter
        self._maybe_none: set[str] = set()  # attributes, and `function.parameter`, that were None
        self._on_cpu: set[str] = set()  # models that the code has moved there
        self._frames: list[Frame] = []
        self._classes: list[str] = []

    def _feed(self, node: ast.Call, model: str) -> None:
        """Bring the tensors of a call to the device of the model that is called."""
        raise NotImplementedError

    def _combined(self, nodes: Sequence[ast.expr]) -> Tensor | None:
        """Return the value of an operation on several tensors, brought to one device."""
        raise NotImplementedError

    def _function(self, node: FunctionNode | ast.Lambda, name: str = "") -> None:
        """Read a function."""
        raise NotImplementedError

    def _bound(self, name: str) -> None:
        """Note that the notebook binds a variable here."""
        raise NotImplementedError

    def _bind(self, target: ast.expr, value: Tensor | None, source: ast.expr | None) -> None:
        if isinstance(target, (ast.Tuple, ast.List)):
            parts = source.elts if isinstance(source, (ast.Tuple, ast.List)) else []
            for number, each in enumerate(target.elts):
                part = parts[number] if number < len(parts) else None
                self._bind(each, self._value(part) if part is not None else value, part)
            return
        name = held(target)
        if name is not None:
            self._frames[-1].names[name] = value
            self._bound(name)
        if isinstance(target, ast.Attribute) and is_none(source):
            self._maybe_none.add(target.attr)

    def _forget(self, target: ast.expr) -> None:
        """Let the variables of a loop be judged by their names."""
        for node in ast.walk(target):
            if isinstance(node, ast.Name):
                self._frames[-1].names.pop(node.id, None)

    def _value(self, node: ast.expr) -> Tensor | None:
        if isinstance(node, ast.Call):
            return self._call(node)
        if isinstance(node, (ast.Name, ast.Attribute)):
            return self._named(node)
        if isinstance(node, ast.Subscript):
            path = held(node)
            for frame in reversed(self._frames) if path is not None else ():
                if path in frame.names:
                    return frame.names[path]
            if self._model(path) is not None:
                return None
            value = self._value(node.value)
            key = text_of(node.slice)
            if value is not None:
                return replace(value, movable=True)
            is_tensor = key and (TENSOR_NAME.fullmatch(key) or IMAGE_KEY.fullmatch(key))
            return Tensor(None) if is_tensor else None
        if isinstance(node, ast.BinOp):
            return self._combined([node.left, node.right])
        if isinstance(node, ast.IfExp):
            return self._choice(node)
        if isinstance(node, ast.Compare):
            if all(isinstance(each, _ORDERS) for each in node.ops):
                return self._combined([node.left, *node.comparators])
            for each in (node.left, *node.comparators):
                self._value(each)
            return None
        if isinstance(node, (ast.Await, ast.Starred, ast.UnaryOp)):
            return self._value(node.operand if isinstance(node, ast.UnaryOp) else node.value)
        if isinstance(node, ast.NamedExpr):
            value = self._value(node.value)
            self._bind(node.target, value, node.value)
            return value
        if isinstance(node, ast.Lambda):
            self._function(node)
            return None
        if isinstance(node, ast.JoinedStr):
            return None
        if isinstance(node, ast.DictComp):  # `{k: v.to(device) for k, v in batch.items()}`
            self._value(node.generators[0].iter)
            value = self._value(node.value)
            return replace(value, movable=False) if value is not None else None
        for part in reversed(list(ast.iter_child_nodes(node))):
            if isinstance(part, ast.expr):
                self._value(part)
            elif isinstance(part, ast.comprehension):
                self._value(part.iter)
                self._forget(part.target)
                for condition in part.ifs:
                    self._value(condition)
        return None

    def _choice(self, node: ast.IfExp) -> Tensor | None:
        self._value(node.test)
        body, other = self._value(node.body), self._value(node.orelse)
        if _is_guard(node):  # `x if x is None else x.to(device)`
            return replace(other, optional=True) if other is not None else body
        found = body or other
        if found is not None and (is_none(node.body) or is_none(node.orelse)):
            return replace(found, optional=True)
        return found

    def _named(self, node: ast.Name | ast.Attribute) -> Tensor | None:
        name = held(node)
        if name is not None:
            for frame in reversed(self._frames):
                if name in frame.names:
                    return frame.names[name]
                if name.partition(".")[0] in frame.local:
                    break
            if self._model(name) is not None:
                return None
        if isinstance(node, ast.Attribute):
            if node.attr in NOT_A_TENSOR:
                return None
            value = self._value(node.value)
            if value is not None:
                return Tensor(value.device)
            none = node.attr in self._maybe_none
            return Tensor(None, optional=none) if TENSOR_NAME.fullmatch(node.attr) else None
        return Tensor(None) if TENSOR_NAME.fullmatch(node.id) else None

    def _model(self, path: str | None) -> str | None:
        return longest(self._keys(path), self._models) if path is not None else None

    def _keys(self, path: str) -> list[str]:
        root = path.partition(".")[0]
        functions = tuple(f.function.rpartition(".")[2] for f in self._frames if f.function)
        owner = self._classes[-1] if self._classes else None
        local = any(root in frame.local for frame in self._frames)
        return self._layout.aliases.resolve(path, functions, owner, local)

    def _call(self, node: ast.Call) -> Tensor | None:
        path = _path(node.func)
        method = node.func.attr if isinstance(node.func, ast.Attribute) else (path or "")
        if method in ("to", "cuda", "cpu") and isinstance(node.func, ast.Attribute):
            return self._moved(node, node.func)
        model = self._model(path)
        if model is not None and method not in NO_FEED and not TEXT_TOOLS.search(path or ""):
            self._feed(node, model)
            device = CPU if model in self._on_cpu else self._layout.of(model)
            return Tensor(device, movable=True)
        values = [self._value(each) for each in node.args]
        values += [self._value(each.value) for each in node.keywords]
        if isinstance(node.func, ast.Attribute):
            owner = self._value(node.func.value) if model is None else None
            if owner is not None and method not in NOT_A_TENSOR:
                return replace(owner, optional=owner.optional or method == "get")
        if path in self._functions:
            self._hand_over(path or "", node)
            return self._returned.get(path or "")
        root = (path or "").partition(".")[0]
        if method in COMBINES and (root in ("torch", "F") or method in CREATES):
            parts = node.args[0].elts if node.args and isinstance(
                node.args[0], (ast.List, ast.Tuple)) else node.args  # fmt: skip
            return self._combined(list(parts)) or Tensor(CPU)
        if (root == "torch" and method in CREATES) or method in CREATES - {"full", "empty"}:
            for keyword in node.keywords:
                if keyword.arg == "device":
                    return Tensor(self._device(keyword.value))
            known = [value for value in values if value is not None]
            return known[0] if known and method.endswith("_like") else Tensor(CPU)
        if any(keyword.arg == "return_tensors" for keyword in node.keywords):
            return Tensor(CPU)
        return None

    def _device(self, node: ast.expr) -> str | None:
        name = held(node)
        if name is not None and name.endswith(".device"):
            model = self._model(name.rpartition(".")[0])
            return self._layout.of(model) if model else None
        if names_cpu(node):
            return CPU
        return self._layout.meaning.get(name or "")

    def _moved(self, node: ast.Call, method: ast.Attribute) -> Tensor | None:
        value = self._value(method.value)
        path = held(method.value)
        model = self._model(path)
        if model is not None and path is not None:
            if model in self._keys(path):
                to_cpu = method.attr == "cpu" or any(names_cpu(each) for each in node.args)
                (self._on_cpu.add if to_cpu else self._on_cpu.discard)(model)
            return None
        if method.attr == "cpu":
            return Tensor(CPU)
        given = node.args[0] if node.args else None
        for keyword in node.keywords:
            given = keyword.value if keyword.arg == "device" else given
        if given is None or (held(given) or "").startswith("torch."):
            return value if value is not None else Tensor(None)
        return Tensor(self._device(given))

    def _hand_over(self, path: str, node: ast.Call) -> None:
        names = [each.arg for each in parameters(self._functions[path].args)]
        pairs = list(zip(names, node.args, strict=False))
        pairs += [(each.arg, each.value) for each in node.keywords if each.arg is not None]
        self._maybe_none |= {f"{path}.{name}" for name, value in pairs if is_none(value)}
        for name, value in pairs:
            self._given.setdefault(f"{path}.{name}", []).append(self._value(value))


def _is_guard(node: ast.IfExp) -> bool:
    """Whether an expression is `x if x is None else …`."""
    test = node.test
    if not (isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.Is)):
        return False
    return is_none(test.comparators[0]) and ast.dump(test.left) == ast.dump(node.body)


def _path(node: ast.expr) -> str | None:
    """Return the dotted name that a chain of calls starts with: `a.b` of `a.b().c`."""
    path = held(node)
    while path is None and isinstance(node, (ast.Attribute, ast.Call, ast.Subscript)):
        node = node.func if isinstance(node, ast.Call) else node.value
        path = held(node)
    return path
