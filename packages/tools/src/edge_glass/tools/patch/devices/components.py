"""What a notebook does with devices: its models, its device variables, who is given a tensor."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from functools import cached_property

from edge_glass.tools.code.cells import PythonCell
from edge_glass.tools.code.expressions import held, text_of
from edge_glass.tools.code.program import Program
from edge_glass.tools.patch.devices.component import Component, Found
from edge_glass.tools.patch.devices.making import Making
from edge_glass.tools.patch.devices.model_calls import (
    MODEL_METHODS,
    PART,
    has_lora,
    is_move,
    moves_to_cpu,
    root_of,
    root_path,
    unchained,
)
from edge_glass.tools.patch.devices.sizes import size_of


class Survey(Making):
    """Reads the cells, in order."""

    def __init__(
        self, cells: Sequence[PythonCell], program: Program, sizes: Mapping[str, str]
    ) -> None:
        super().__init__(program)
        self.consumers: dict[str, set[str]] = {}  # variable -> the models it is handed to
        self._sizes = sizes
        self._adapted: set[str] = set()  # by LoRA
        self._parked: set[str] = set()  # names of what is moved to the CPU
        self._called: set[str] = set()  # attributes that are called
        self._used: set[str] = set()  # called, or used as only a model is
        self._handed: dict[str, set[str]] = {}  # `function.parameter` -> the models given
        for _ in range(2):  # a function may be called below the cell that defines it, or above
            for cell in cells:
                self._cell = cell.index
                self.visit(cell.syntax)
            for parameter, given in self._handed.items():
                if len(given) == 1:
                    self.aliases.variables[parameter] = next(iter(given))
                else:
                    self.aliases.variables.pop(parameter, None)

    # What was found.

    @property
    def components(self) -> dict[str, Component]:
        """The models: loaded by name, made with `device_map`, or moved and used as a model."""
        found = {}
        left = {part for parts in self.left_whole.values() for part in parts}
        for key, each in self._found.items():
            if key in left or key in self.containers or each.by_hand:
                continue
            is_instance = each.kind[:1].isupper()
            known = each.loader or each.wrapper
            if not known and not (key in self._moved and (is_instance or key in self._used)):
                continue
            size = size_of(
                each.identifier, each.kind, dtype=each.bits or each.dtype,
                lora=key in self._adapted or has_lora(each.made), wrapper=each.wrapper,
                given=self._given(key, each),
            )  # fmt: skip
            found[key] = Component(
                name=key,
                kind=each.kind,
                size=size,
                device_mapped=each.mapped or (each.bits is not None and each.spreadable),
                spreadable=each.spreadable,
                takes_max_memory=each.takes_max_memory,
                wrapper=each.wrapper,
                moved=key in self._moved,
                parked=key in self._parked,
                in_dict=each.in_dict,
            )
        return found

    @cached_property
    def containers(self) -> dict[str, set[str]]:
        """Objects that are moved as a whole, and the models in each: `Vlm(encoder, decoder)`."""
        found = {}
        for key in self._moved & self._found.keys():
            kind = self._found[key].kind
            own = {each for each in self._found if kind and each.startswith(f"{kind}.")}
            parts = {each for each in self._found[key].parts | own if each != key}
            if parts and (own or self._found[key].parts):
                found[key] = parts
        return found

    @cached_property
    def left_whole(self) -> dict[str, set[str]]:
        """The containers that may have weights of their own, and all models in each.

        A class of the notebook whose models are all placed one by one need not be moved.
        """
        found = {}
        for key, parts in self.containers.items():
            kind = self._found[key].kind
            seen = kind in self._constructors and self.plain_classes.get(kind, False)
            placed = all(
                each in self._moved or self._found[each].mapped or self._found[each].bits
                for each in parts
            )
            if not (seen and placed):
                found[key] = parts
        while True:  # what shares a model with one of them, or is in one, is left too
            inside = {each for parts in found.values() for each in parts}
            more = {
                key: parts
                for key, parts in self.containers.items()
                if key not in found and (key in inside or parts & inside)
            }
            if not more:
                return found
            found |= more

    def _given(self, key: str, found: Found) -> str | None:
        """Return the size that `--size` gives for a model by its variable, class or id."""
        for name in (key, key.rpartition(".")[2], found.kind, found.identifier or ""):
            if name in self._sizes:
                return self._sizes[name]
        return None

    # Making.

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            self._assigned(target, node.value)
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self._assigned(node.target, node.value)
        self.generic_visit(node)

    def visit_Return(self, node: ast.Return) -> None:
        self.generic_visit(node)
        if not self._around or node.value is None:
            return
        name = ".".join(self._around)
        values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
        keys: list[str | None] = []
        for number, value in enumerate(values):
            path = held(value)
            if path is not None:
                keys.append(self._model_of(path))
                continue
            key = f"{name}.return{number or ''}"
            self._make(key, value)
            keys.append(key if key in self._found else None)
        if any(keys):
            self.aliases.returns[name] = keys

    def _assigned(self, target: ast.expr, value: ast.expr) -> None:
        called = held(value.func) if isinstance(value, ast.Call) else None
        returned = self.aliases.returns.get(called or "", [])
        if isinstance(target, (ast.Tuple, ast.List)):
            self._several(target.elts, value, returned)
            return
        path = held(target)
        if path is None:
            return
        if not self._frames:
            self._dicts.assign(path, value)
        text = text_of(value)
        if text is not None and not self._frames:
            self._strings[path] = text
        if returned and returned[0] is not None and isinstance(target, ast.Name):
            self.aliases.variables[self._scoped(path)] = returned[0]
            return
        own = called in self._own_classes() or called in self._constructors
        if called and own and isinstance(target, ast.Name):
            self.aliases.variables.setdefault(self._scoped(path), called)
        existing = self._model_of(path)
        same = isinstance(value, ast.Call) and self._model_of(root_path(value))
        if existing is not None and same == existing and existing in self._keys(path):
            self._chain(existing, value)  # `model = model.half().to(device)`
            return
        if not self._wraps(path, value, existing):
            self._make(self._own_key(path), value)

    def _several(
        self, parts: Sequence[ast.expr], value: ast.expr, returned: Sequence[str | None]
    ) -> None:
        if isinstance(value, (ast.Tuple, ast.List)) and len(value.elts) == len(parts):
            for part, each in zip(parts, value.elts, strict=True):
                self._assigned(part, each)
            return
        for part, key in zip(parts, returned, strict=False):
            if key is not None and isinstance(part, ast.Name):
                self.aliases.variables[self._scoped(part.id)] = key
        if not returned and parts and isinstance(parts[0], ast.Name):
            self._make(self._own_key(parts[0].id), value)  # `model, _, transform = create(…)`

    def _wraps(self, path: str, value: ast.expr, existing: str | None) -> bool:
        """Whether a variable gets a model that exists: by another name, or in a wrapper.

        `net = aligned.vision`, `model = get_peft_model(model, config)`.
        """
        inner = held(value)
        made = unchained(value)[0]
        if inner is None and isinstance(made, ast.Call) and made.args:
            last = (held(made.func) or "").rpartition(".")[2]
            inner = held(made.args[0]) if not last[:1].isupper() or "Peft" in path else None
        model = self._model_of(inner)
        if model is None or inner is None or model not in self._keys(inner):
            return False
        if existing is None:
            self.aliases.variables[self._own_key(path)] = model
        if isinstance(value, ast.Call) and "peft" in ast.unparse(value.func).lower():
            self._adapted.add(model)
        self._chain(model, value)
        return True

    def _own_classes(self) -> set[str]:
        return {key.partition(".")[0] for key in self._found if key.partition(".")[0][:1].isupper()}

    # Using.

    def visit_Call(self, node: ast.Call) -> None:
        path = held(node.func) or ""
        owner, _, method = path.rpartition(".")
        self._dicts.call(path)
        if is_move(node):
            self._moves(node)
        if moves_to_cpu(node) and isinstance(node.func, ast.Attribute):
            self._parked.update(self._keys(root_path(node.func.value) or ""))
        if method in MODEL_METHODS:
            self._used.add(self._model_of(owner) or "")
        if path:
            self._used |= set(self._keys(path)) & self._found.keys()
            self._called |= {key for key in self._keys(path) if "." in key}
        target = self._model_of(path) or path.partition(".")[0]
        if target and not self._is_local(target):
            for value in [*node.args, *(each.value for each in node.keywords)]:
                name = root_of(value)
                if name:
                    self.consumers.setdefault(self._scoped(name), set()).add(target)
        self._hand_over(path, node)
        self.generic_visit(node)

    def _moves(self, node: ast.Call) -> None:
        """Note that a model is moved; an attribute of a model may be a model of its own."""
        path = root_path(node)
        if path is None:
            return
        keys = self._keys(path)
        key = next((each for each in keys if each in self._found), None)
        owner = self._found.get(self._model_of(path) or "")
        part = PART.search(path.rpartition(".")[2])
        known = part and owner is not None and (owner.loader or owner.is_class)
        called = "." in path and bool(self._called.intersection(keys))
        if key is None and (known or called):
            key = keys[0]
            self._found[key] = Found(node, "Module")
        if key is not None:
            self._moved.add(key)
            self._chain(key, node)

    def _hand_over(self, path: str, node: ast.Call) -> None:
        owner = "__init__" if path in self._constructors else path
        names = self._constructors.get(path) or self.functions.get(path)
        if names is None:
            return
        given = [*zip(names, node.args, strict=False),
                 *((each.arg or "", each.value) for each in node.keywords)]  # fmt: skip
        for name, value in given:
            inner = held(value)
            model = self._model_of(inner)
            if model is not None and inner is not None and model in self._keys(inner):
                self._handed.setdefault(f"{owner}.{name}", set()).add(model)
