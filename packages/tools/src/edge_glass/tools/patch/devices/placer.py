"""Rewrites the device expressions of one cell to a layout."""

from __future__ import annotations

from collections.abc import Mapping

import libcst as cst

from edge_glass.tools.patch.devices.device_names import DeviceNames
from edge_glass.tools.patch.devices.expressions import (
    held,
    starred,
    styled,
    unchained,
    with_items,
)
from edge_glass.tools.patch.devices.layout import Layout, choice, definition
from edge_glass.tools.patch.syntax.insertion import with_keyword
from edge_glass.tools.patch.syntax.names import (
    code_of,
    keyword,
    literal_string,
    root_of,
)

_SPREAD_MAPS = ("auto", "balanced", "balanced_low_0", "sequential")
_LEFT_ALONE = {
    "torch.cuda.set_device": "sets the current device of the whole process",
    "torch.nn.DataParallel": "copies the model to several devices; use one process a device",
    "torch.set_default_device": "sets the default device of the whole process",
}


class Placer(DeviceNames):
    """Rewrites one cell. `torch` is the name of torch in it; None if it is not imported yet."""

    def __init__(
        self, names: Mapping[str, str], layout: Layout, index: int, torch: str | None
    ) -> None:
        super().__init__(names, layout, index, torch)
        self._targets: list[str] = []  # the variables that are being assigned
        self._calls: list[cst.Call] = []  # the calls around the place

    # Assignments: device variables, and models being made.

    def visit_Assign(self, node: cst.Assign) -> bool:
        name = held(node.targets[0].target) or ""
        self._targets.append(name)
        if name in self._layout.kept and not self.in_function and self._keep(name, node):
            return False
        if self._defines(node) is not None:
            return False
        for target in node.targets:
            self._created_by(target.target, node.value)
        return True

    def leave_Assign(
        self, original_node: cst.Assign, updated_node: cst.Assign
    ) -> cst.Assign | cst.RemovalSentinel:
        name = self._targets.pop()
        device = self._defines(original_node)
        if device is None:
            unmoved = isinstance(original_node.value, cst.Call) and isinstance(
                updated_node.value, cst.Name
            )
            return cst.RemoveFromParent() if unmoved else updated_node
        self._layout.define(name, device, self._index)
        # A variable that held a string stays one: it may be printed or compared.
        whole = isinstance(original_node.value, cst.Call)
        text = styled((definition if whole else choice)(device, self._torch_name()), original_node)
        new = updated_node.with_changes(value=cst.parse_expression(text))
        return self._changed(original_node, updated_node, new)

    def _defines(self, node: cst.Assign) -> str | None:
        """Return the device of the plan that a top-level assignment names or should name."""
        target = node.targets[0].target
        if self.in_function or not isinstance(target, cst.Name):
            return None
        if target.value in self._layout.kept:
            return None
        device = self._named(node.value)
        if device is None or isinstance(node.value, cst.Name):
            return None
        if device == "cpu":  # `torch.device("cpu")` says it already; a mere "cpu" may be anything
            return "cpu" if isinstance(node.value, cst.Call) else None
        return device if device in self._layout.devices else self._layout.devices[0]

    def _keep(self, name: str, node: cst.Assign) -> bool:
        """Note which device a variable names whose text stays as it is, if it names one."""
        device = self._named(node.value)
        if device is None:
            return False
        known = device in self._layout.devices or device == "cpu"
        self._layout.meaning[name] = device if known else self._layout.devices[0]
        self._note("left", node, "is compared, or names a kind of device")
        return True

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> cst.SimpleStatementLine | cst.RemovalSentinel:
        if len(original_node.body) == 1 and len(updated_node.body) == 1:
            old, new = original_node.body[0], updated_node.body[0]
            was_call = isinstance(old, cst.Expr) and isinstance(old.value, cst.Call)
            if was_call and isinstance(new, cst.Expr) and isinstance(new.value, cst.Name):
                # `model.cuda()` without its move is a line that does nothing
                return cst.RemoveFromParent()
        return updated_node

    def visit_Call(self, node: cst.Call) -> None:
        self._calls.append(node)

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.BaseExpression:
        self._calls.pop()
        name = self.qualified(original_node.func)
        if name in _LEFT_ALONE:
            self._note("left", original_node, _LEFT_ALONE[name])
            return updated_node
        method = original_node.func
        if isinstance(method, cst.Attribute) and method.attr.value in ("cuda", "to"):
            return self._move(original_node, updated_node, method)
        if self._is_loader(original_node):
            return self._loader(original_node, updated_node)
        for argument in ("device", "map_location"):
            given = keyword(original_node, argument)
            if given is not None and name != "torch.device":
                updated_node = self._argument(original_node, updated_node, given)
        return updated_node

    def _move(
        self, original: cst.Call, updated: cst.Call, method: cst.Attribute
    ) -> cst.BaseExpression:
        receiver, _ = unchained(method.value)
        is_cuda = method.attr.value == "cuda"
        places = [a for a in original.args if not is_cuda and self._named(a.value) is not None]
        named = self._named(places[0].value) if places else ("cuda" if is_cuda else None)
        if named in (None, "cpu") or (self.qualified(method.value) or "").startswith("torch."):
            return updated
        root = root_of(receiver)
        model = self._created.get(original)
        name = held(receiver)
        container = self._containing.get(original)
        if container is None and name is not None:
            container = next((k for k in self.keys(name) if k in self._layout.containers), None)
        if container is not None:
            return self._move_container(container, original, updated)
        if model is None and name is not None:
            model = next((key for key in self.keys(name) if key in self._layout.placements), None)
        updated_method = updated.func
        assert isinstance(updated_method, cst.Attribute)
        parked = self._is_parked(model, original)
        if parked and self._layout.placements[model or ""].spread:
            self._note("left", original, "was spread, and moved to the CPU: it stays there")
            return updated
        if model is not None and self._is_mapped(model) and not parked:
            kept = [
                a for a, old in zip(updated.args, original.args, strict=True) if old not in places
            ]
            self._note("changed", original, "move dropped: `device_map` has placed the model")
            if kept and not is_cuda:
                return updated.with_changes(args=kept)
            return updated_method.value
        device = self._layout.of(model) or self._of_tensor(root, named)
        variable = self._variable(device, original)
        if variable is None:
            return updated
        if is_cuda:
            kept = [a for a in updated.args if a.keyword and a.keyword.value != "device"]
            space = cst.Comma(whitespace_after=cst.SimpleWhitespace(" ")) if kept else None
            first = cst.Arg(cst.Name(variable), comma=space or cst.MaybeSentinel.DEFAULT)
            to = updated_method.with_changes(attr=cst.Name("to"))
            moved = updated.with_changes(func=to, args=[first, *kept])
            return self._changed(original, updated, moved, f".to({variable})")
        return self._exchange(original, updated, places[0], cst.Name(variable))

    def _is_parked(self, model: str | None, move: cst.Call) -> bool:
        """Whether a move brings a model back that the notebook has moved to the CPU."""
        if model is None or not self._layout.components[model].parked:
            return False
        return not isinstance(unchained(move)[0], cst.Call)  # else the model is made here

    def _argument(self, original: cst.Call, updated: cst.Call, given: cst.Arg) -> cst.Call:
        named = self._named(given.value)
        if named in (None, "cpu"):
            return updated
        model = self._created.get(original)
        own = (self.qualified(original.func) or "").startswith("torch.")
        kept = isinstance(given.value, cst.Name) and given.value.value in self._layout.kept
        if kept and model is None and not own:
            return updated
        handed = [
            self._layout.of(self.model_of(held(argument.value), self._layout.placements))
            for argument in original.args
        ]
        device = self._layout.of(model) or next((found for found in handed if found), None)
        variable = self._variable(device or self._of_tensor(None, named), original)
        if variable is None:
            return updated
        return self._exchange(original, updated, given, cst.Name(variable))

    def _is_loader(self, call: cst.Call) -> bool:
        given = keyword(call, "device_map")
        if given is not None:
            return held(call.func) != "dict" and held(given.value) != "None"
        model = self._created.get(call)
        in_dict = model is not None and self._layout.components[model].in_dict
        return self._quantised_or_spread(call) or (in_dict and starred(call) is not None)

    def _loader(self, original: cst.Call, updated: cst.Call) -> cst.Call:
        """Rewrite `device_map` and `max_memory` of a `from_pretrained` call."""
        model = self._created.get(original)
        given = keyword(original, "device_map")
        if model is None or (given is not None and not self._is_plain_map(given.value)):
            if model is not None:
                self._layout.by_hand.add(model)
            self._note("left", original, "its device_map is made by hand, or it makes no model")
            return updated
        self._layout.handled.add(model)
        placed = self._layout.placements[model]
        wanted: dict[str, str] = {}
        if placed.spread:
            there = f"{self._torch_name()}.cuda.device_count() > {placed.max_memory[-1][0]}"
            limits = ", ".join(f'{index}: "{limit}"' for index, limit in placed.max_memory)
            wanted["device_map"] = f'"balanced" if {there} else {{"": "cpu"}}'
            if self._layout.components[model].takes_max_memory:
                wanted["max_memory"] = f"{{{limits}}} if {there} else None"
        else:
            variable = self._variable(placed.device, original)
            if variable is None:
                return updated
            wanted["device_map"] = f'{{"": {variable}}}'
        args = [
            argument
            for argument in updated.args
            if not (argument.keyword and argument.keyword.value == "max_memory") or placed.spread
        ]
        wanted = {name: styled(text, original) for name, text in wanted.items()}
        if self._layout.components[model].in_dict:
            args = with_items(args, wanted)
        else:
            for name, text in wanted.items():
                args = with_keyword(args, name, cst.parse_expression(text))
        shown = ", ".join(f"{name}={text}" for name, text in wanted.items())
        return self._changed(given or original, updated, updated.with_changes(args=args), shown)

    def _of_tensor(self, root: str | None, named: str | None) -> str:
        for call in reversed(self._calls):  # handed to a model right here
            path = held(call.func)
            model = self.model_of(path, self._layout.placements)
            if model is not None:
                return self._layout.of(model) or self._layout.devices[0]
            if path in self._layout.functions:
                break
        names = [*reversed(self._targets), *([root] if root else [])]
        return self._layout.of_tensor([self.scoped(name) for name in names], named)

    def _is_mapped(self, model: str) -> bool:
        return self._layout.components[model].device_mapped or self._layout.placements[model].spread

    def _quantised_or_spread(self, call: cst.Call) -> bool:
        model = self._created.get(call)
        if model is None or not self._layout.components[model].spreadable:
            return False
        return self._is_mapped(model) and unchained(call)[0] is call

    def _is_plain_map(self, node: cst.BaseExpression) -> bool:
        """Whether the plan may replace a `device_map`. It leaves `{"": 0}`, for example."""
        if isinstance(node, cst.IfExp):
            return self._is_plain_map(node.body) and (
                code_of(node.orelse).replace("'", '"') == '{"": "cpu"}'
                or self._is_plain_map(node.orelse)
            )
        if isinstance(node, cst.Dict):
            items = [item for item in node.elements if isinstance(item, cst.DictElement)]
            if len(items) != 1 or len(node.elements) != 1 or literal_string(items[0].key) != "":
                return False
            return isinstance(items[0].value, cst.Name) and self._named(items[0].value) is not None
        return literal_string(node) in _SPREAD_MAPS or self._named(node) is not None

    def _exchange(
        self, original: cst.Call, updated: cst.Call, old: cst.Arg, value: cst.BaseExpression
    ) -> cst.Call:
        given = old.value.value if isinstance(old.value, cst.Name) else ""
        if given not in self._layout.kept and isinstance(value, cst.Name):
            meaning = self._layout.meaning
            if meaning.get(given, "") == meaning.get(value.value):
                return updated  # a different variable for the same device
        place = next(number for number, a in enumerate(original.args) if a is old)
        args = list(updated.args)
        args[place] = args[place].with_changes(value=value)
        return self._changed(old.value, updated, updated.with_changes(args=args), code_of(value))
