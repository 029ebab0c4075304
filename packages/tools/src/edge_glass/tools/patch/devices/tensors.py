"""Which values of a notebook are tensors, and on which device each is.

Values are followed through the cells in order, and through the notebook's own functions.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence

from edge_glass.tools.code.bindings import FunctionNode, local_names, parameters
from edge_glass.tools.code.expressions import held, text_of
from edge_glass.tools.patch.devices.layout import Layout
from edge_glass.tools.patch.devices.models import longest
from edge_glass.tools.patch.devices.tensor import Frame, Tensor
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


class Tensors:
    """Walks code, and leaves to a subclass what is done with the tensors of a call."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._models = {name: layout.placements[name] for name in layout.placed}
        self._functions: dict[str, FunctionNode | ast.Lambda] = {}
        self._returned: dict[str, Tensor | None] = {}
        self._given: dict[str, list[Tensor | None]] = {}  # what functions are handed, by parameter
        self._frames: list[Frame] = []
        self._classes: list[str] = []

    def _feed(self, node: ast.Call, model: str) -> None:
        """Bring the tensors of a call to the device of the model that is called."""
        raise NotImplementedError

    def _combined(self, nodes: Sequence[ast.expr]) -> Tensor | None:
        """Return the value of an operation on several tensors, brought to one device."""
        raise NotImplementedError

    def _block(self, body: Sequence[ast.stmt]) -> None:
        for statement in body:
            self._statement(statement)

    def _statement(self, node: ast.stmt) -> None:
        if isinstance(node, FunctionNode):
            self._function(node)
        elif isinstance(node, ast.ClassDef):
            self._classes.append(node.name)
            self._block([each for each in node.body if isinstance(each, FunctionNode)])
            self._classes.pop()
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda):
            self._function(node.value, held(node.targets[0]) or "")
        elif isinstance(node, ast.Assign):
            value = self._value(node.value)
            for target in node.targets:
                self._bind(target, value, node.value)
        elif isinstance(node, ast.AnnAssign):
            if node.value is not None:
                self._bind(node.target, self._value(node.value), node.value)
        elif isinstance(node, ast.AugAssign):
            self._value(node.value)
        elif isinstance(node, (ast.For, ast.AsyncFor)):
            self._value(node.iter)
            self._bind(node.target, None, None)
            self._forget(node.target)
            self._block([*node.body, *node.orelse])
        elif isinstance(node, ast.Return):
            if node.value is not None and self._frames[-1].function:
                self._returned[self._frames[-1].function] = self._value(node.value)
        else:
            for part in ast.iter_child_nodes(node):
                if isinstance(part, ast.stmt):
                    self._statement(part)
                elif isinstance(part, ast.expr):
                    self._value(part)
                elif isinstance(part, (ast.ExceptHandler, ast.match_case)):
                    self._block(part.body)
                elif isinstance(part, ast.withitem):
                    self._value(part.context_expr)

    def _function(self, node: FunctionNode | ast.Lambda, name: str = "") -> None:
        name = name or ".".join([*self._classes[-1:], getattr(node, "name", "<lambda>")])
        self._functions[name] = node
        frame = Frame(local=frozenset(local_names(node)), function=name)
        for each in parameters(node.args):
            annotation = ast.unparse(each.annotation) if each.annotation is not None else ""
            given = self._given.get(f"{name}.{each.arg}", [])
            handed = bool(given) and all(value is not None for value in given)
            is_tensor = "Tensor" in annotation or (
                not annotation
                and (handed or TENSOR_NAME.fullmatch(each.arg) or IMAGE_KEY.fullmatch(each.arg))
            )
            if is_tensor and not re.match(
                r"(list|dict|tuple|Sequence|Mapping)\b", annotation, re.I
            ):
                frame.names[each.arg] = Tensor(None)
        self._frames.append(frame)
        if isinstance(node, ast.Lambda):
            self._returned[name] = self._value(node.body)
        else:
            self._block(node.body)
        self._frames.pop()

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
                return value
            is_tensor = key and (TENSOR_NAME.fullmatch(key) or IMAGE_KEY.fullmatch(key))
            return Tensor(None) if is_tensor else None
        if isinstance(node, ast.BinOp):
            return self._combined([node.left, node.right])
        if isinstance(node, ast.IfExp):
            return self._value(node.body) or self._value(node.orelse)
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
        for part in reversed(list(ast.iter_child_nodes(node))):
            if isinstance(part, ast.expr):
                self._value(part)
            elif isinstance(part, ast.comprehension):
                self._value(part.iter)
                self._forget(part.target)
                for condition in part.ifs:
                    self._value(condition)
        return None

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
            return Tensor(None) if TENSOR_NAME.fullmatch(node.attr) else None
        return Tensor(None) if TENSOR_NAME.fullmatch(node.id) else None

    def _model(self, path: str | None) -> str | None:
        if path is None:
            return None
        root = path.partition(".")[0]
        functions = tuple(f.function.rpartition(".")[2] for f in self._frames if f.function)
        owner = self._classes[-1] if self._classes else None
        local = any(root in frame.local for frame in self._frames)
        keys = self._layout.aliases.resolve(path, functions, owner, local)
        return longest(keys, self._models)

    def _call(self, node: ast.Call) -> Tensor | None:
        path = _path(node.func)
        method = node.func.attr if isinstance(node.func, ast.Attribute) else (path or "")
        if method in ("to", "cuda", "cpu") and isinstance(node.func, ast.Attribute):
            return self._moved(node, node.func)
        model = self._model(path)
        if model is not None and method not in NO_FEED and not TEXT_TOOLS.search(path or ""):
            self._feed(node, model)
            return Tensor(self._layout.of(model), movable=True)
        values = [self._value(each) for each in node.args]
        values += [self._value(each.value) for each in node.keywords]
        if isinstance(node.func, ast.Attribute):
            owner = self._value(node.func.value) if model is None else None
            if owner is not None and method not in NOT_A_TENSOR:
                return owner
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
        text = text_of(node)
        if text is not None:
            return CPU if text == CPU else None
        return self._layout.meaning.get(name or "")

    def _moved(self, node: ast.Call, method: ast.Attribute) -> Tensor | None:
        value = self._value(method.value)
        if self._model(held(method.value)) is not None:
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
        for name, value in pairs:
            self._given.setdefault(f"{path}.{name}", []).append(self._value(value))


def _path(node: ast.expr) -> str | None:
    """Return the dotted name that a chain of calls starts with: `a.b` of `a.b().c`."""
    path = held(node)
    while path is None and isinstance(node, (ast.Attribute, ast.Call, ast.Subscript)):
        node = node.func if isinstance(node, ast.Call) else node.value
        path = held(node)
    return path
