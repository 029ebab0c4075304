"""Small readers of device expressions."""

from __future__ import annotations

import re
from collections.abc import Mapping

import libcst as cst

from edge_glass.tools.patch.syntax.names import code_of, literal_string

_DEVICE = re.compile(r"cuda(:\d+)?|cpu")
# Methods that return the model itself, so that a chain of them is still the model.
CHAINED = frozenset({"bfloat16", "cuda", "eval", "float", "half", "requires_grad_", "to", "train"})


def device_in(node: cst.BaseExpression | None, qualified: str | None = None) -> str | None:
    """Return the device that an expression names: "cuda", "cuda:1", "cpu", else None.

    Understands `"cuda"`, `torch.device("cuda")` (`qualified` is what is called) and a choice
    between an accelerator and the CPU, which counts as the accelerator.
    """
    text = literal_string(node)
    if text is not None:
        return text if _DEVICE.fullmatch(text) else None
    if isinstance(node, cst.IfExp):
        sides = (device_in(node.body), device_in(node.orelse))
        if None in sides:
            return None  # "mps" or something computed
        return next((side for side in sides if side != "cpu"), "cpu")
    if isinstance(node, cst.Call) and node.args and qualified == "torch.device":
        number = node.args[1].value if len(node.args) == 2 else None
        found = device_in(node.args[0].value)
        if isinstance(number, cst.Integer) and found == "cuda":
            return f"cuda:{number.value}"
        return found if number is None else None
    return None


def held(node: cst.CSTNode | None) -> str | None:
    """Return `a.b.c` for a name, and for attributes and constant keys of it: `a["b"].c`."""
    if isinstance(node, cst.Name):
        return node.value
    if isinstance(node, cst.Attribute):
        root = held(node.value)
        return f"{root}.{node.attr.value}" if root else None
    if isinstance(node, cst.Subscript) and len(node.slice) == 1:
        inner = node.slice[0].slice
        key = literal_string(inner.value) if isinstance(inner, cst.Index) else None
        root = held(node.value)
        return f"{root}.{key}" if root and key and key.isidentifier() else None
    return None


def unchained(node: cst.BaseExpression) -> tuple[cst.BaseExpression, tuple[cst.Call, ...]]:
    """Split `Model(…).eval().to(x)` into the creation and the calls chained to it."""
    chain: list[cst.Call] = []
    while (
        isinstance(node, cst.Call)
        and isinstance(node.func, cst.Attribute)
        and node.func.attr.value in CHAINED
    ):
        chain.append(node)
        node = node.func.value
    return node, tuple(chain)


def styled(text: str, original: cst.CSTNode) -> str:
    """Return code with the quotes of the code that it replaces."""
    code = code_of(original, 10**6)
    return text.replace('"', "'") if "'" in code and '"' not in code else text


def starred(call: cst.Call) -> cst.Arg | None:
    """Return the argument `**config` of a call, if it has one alone."""
    found = [each for each in call.args if each.star == "**"]
    return found[0] if len(found) == 1 else None


def with_items(args: list[cst.Arg], wanted: Mapping[str, str]) -> list[cst.Arg]:
    """Return arguments with `**config` as `**{**config, "device_map": …}`."""
    for number, each in enumerate(args):
        if each.star != "**":
            continue
        kept = [f"**{code_of(each.value, 10**6)}"]
        if isinstance(each.value, cst.Dict):
            kept = [code_of(item.with_changes(comma=cst.MaybeSentinel.DEFAULT), 10**6)
                    for item in each.value.elements if not _sets(item, wanted)]  # fmt: skip
        items = [*kept, *(f'"{name}": {text}' for name, text in wanted.items())]
        value = cst.parse_expression(styled(f"{{{', '.join(items)}}}", each))
        return [*args[:number], each.with_changes(value=value), *args[number + 1 :]]
    return args


def _sets(item: cst.BaseDictElement, names: Mapping[str, str]) -> bool:
    return isinstance(item, cst.DictElement) and literal_string(item.key) in names
