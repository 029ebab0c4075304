"""Which calls of a cell make or move which model of the plan."""

from __future__ import annotations

from collections.abc import Mapping

import libcst as cst

from edge_glass.tools.patch.devices.expressions import held, unchained
from edge_glass.tools.patch.devices.layout import Layout
from edge_glass.tools.patch.devices.models import ModelNames


class CreatedModels(ModelNames):
    """Notes the calls while a cell is walked."""

    def __init__(self, names: Mapping[str, str], layout: Layout) -> None:
        super().__init__(names, layout.aliases)
        self._layout = layout
        self._created: dict[cst.Call, str] = {}  # calls that make or move a new model -> its key
        self._containing: dict[cst.Call, str] = {}  # calls that move a new container -> its key

    def visit_AnnAssign(self, node: cst.AnnAssign) -> None:
        if node.value is not None:
            self._created_by(node.target, node.value)

    def _created_by(
        self, target: cst.BaseAssignTargetExpression | cst.BaseExpression, value: cst.BaseExpression
    ) -> None:
        if isinstance(target, (cst.Tuple, cst.List)):
            if isinstance(value, (cst.Tuple, cst.List)):
                for part, each in zip(target.elements, value.elements, strict=False):
                    self._created_by(part.value, each.value)
            elif target.elements:
                self._created_by(target.elements[0].value, value)
            return
        name = held(target)
        self._note_created(self.own_key(name) if name else "", value)

    def visit_Return(self, node: cst.Return) -> None:
        if not self._functions or node.value is None:
            return
        values = [node.value]
        if isinstance(node.value, cst.Tuple):
            values = [each.value for each in node.value.elements]
        for number, value in enumerate(values):
            self._note_created(f"{'.'.join(self._functions)}.return{number or ''}", value)

    def _note_created(self, key: str, value: cst.BaseExpression) -> None:
        made, chain = unchained(value)
        if key in self._layout.containers and isinstance(made, cst.Call):
            self._containing.update((call, key) for call in chain)
            return
        if key not in self._layout.placements:
            key = self.model_of(held(made), self._layout.placements) or ""
        elif isinstance(made, cst.Call):
            kind = self._layout.components[key].kind
            if kind not in (held(made.func) or "").split("."):
                return  # a wrapper around the model, such as get_peft_model
        for call in (made, *chain) if key else ():
            if isinstance(call, cst.Call):
                self._created[call] = key
