"""Which values of a notebook are tensors, and on which device each is.

Values are followed through the cells in order, and through the notebook's own functions.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import replace

from edge_glass.tools.code.bindings import FunctionNode, local_names, parameters
from edge_glass.tools.code.expressions import held
from edge_glass.tools.patch.devices.tensor import Frame, Tensor, optional_parameters
from edge_glass.tools.patch.devices.tensor_names import IMAGE_KEY, TENSOR_NAME
from edge_glass.tools.patch.devices.values import Values


class Tensors(Values):
    """Walks statements."""

    def _augmented(self, node: ast.AugAssign) -> None:
        """Follow `x += y`."""
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
            self._augmented(node)
        elif isinstance(node, ast.If):
            self._branches(node)
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

    def _branches(self, node: ast.If) -> None:
        """What may be None before may be None behind, whatever a branch makes of it."""
        self._value(node.test)
        names = self._frames[-1].names
        optional = [name for name, value in names.items() if value is not None and value.optional]
        self._block([*node.body, *node.orelse])
        for name in optional:
            value = names.get(name)
            if value is not None:
                names[name] = replace(value, optional=True)

    def _function(self, node: FunctionNode | ast.Lambda, name: str = "") -> None:
        name = name or ".".join([*self._classes[-1:], getattr(node, "name", "<lambda>")])
        self._functions[name] = node
        frame = Frame(local=frozenset(local_names(node)), function=name)
        optional = optional_parameters(node.args)
        for each in parameters(node.args):
            annotation = ast.unparse(each.annotation) if each.annotation is not None else ""
            given = self._given.get(f"{name}.{each.arg}", [])
            handed = bool(given) and all(value is not None for value in given)
            is_tensor = "Tensor" in annotation or (
                not annotation
                and (handed or TENSOR_NAME.fullmatch(each.arg) or IMAGE_KEY.fullmatch(each.arg))
            )
            held_in = re.search(r"\b(list|dict|tuple|Sequence|Mapping)\b", annotation, re.I)
            if is_tensor and held_in is None:
                none = each.arg in optional or f"{name}.{each.arg}" in self._maybe_none
                frame.names[each.arg] = Tensor(None, optional=none)
        on_cpu = set(self._on_cpu)
        self._frames.append(frame)
        if isinstance(node, ast.Lambda):
            self._returned[name] = self._value(node.body)
        else:
            self._block(node.body)
        self._on_cpu = on_cpu  # when it is called is open
        self._frames.pop()
