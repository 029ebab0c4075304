"""Putting imports, statements and keyword arguments into code, in the style that is there."""

from __future__ import annotations

import re
from collections.abc import Iterable

import libcst as cst

from edge_glass.tools.patch.syntax.names import dotted, literal_string

_VISIBLE = "CUDA_VISIBLE_DEVICES"


def free_name(name: str, text: str) -> str:
    """Return `name`, or a different one if `text` (a whole notebook) uses it itself."""
    return name if re.search(rf"\b{name}\b", text) is None else f"edge_glass_{name}"


def import_line(module: str, name: str, alias: str) -> str:
    """Return the statement that imports `name` as `alias`."""
    return f"from {module} import {name}" + ("" if alias == name else f" as {alias}")


def leading(module: cst.Module, placeholder: str = "__eg_magic_") -> list[cst.SimpleStatementLine]:
    """Return the lines that a cell opens with: docstring, imports and masked magics.

    What sets `CUDA_VISIBLE_DEVICES`, and all above it, belongs to them.
    """
    body = module.body[: _heading(module, placeholder)]
    return [each for each in body if isinstance(each, cst.SimpleStatementLine)]


def _heading(module: cst.Module, placeholder: str = "__eg_magic_") -> int:
    """Return how many statements a cell opens with."""
    least = 0
    if _VISIBLE in module.code:
        set_by = [_VISIBLE in module.code_for_node(each) for each in module.body]
        least = max((number + 1 for number, sets in enumerate(set_by) if sets), default=0)
    for number, statement in enumerate(module.body):
        if number >= least and not _heads(statement, placeholder, first=number == 0):
            return number
    return len(module.body)


def _heads(
    statement: cst.SimpleStatementLine | cst.BaseCompoundStatement, placeholder: str, *, first: bool
) -> bool:
    if not isinstance(statement, cst.SimpleStatementLine):
        return False
    small = statement.body[0]
    if isinstance(small, cst.Expr) and len(statement.body) == 1:
        magic = (dotted(small.value) or "").startswith(placeholder)
        return magic or (first and literal_string(small.value) is not None)
    return isinstance(small, (cst.Import, cst.ImportFrom))


def insert_statements(module: cst.Module, lines: Iterable[str]) -> cst.Module:
    """Return `module` with statements added below its leading lines."""
    place = _heading(module)
    added = [cst.parse_statement(line, module.config_for_parsing) for line in lines]
    return module.with_changes(body=[*module.body[:place], *added, *module.body[place:]])


def with_keyword(args: list[cst.Arg], name: str, value: cst.BaseExpression) -> list[cst.Arg]:
    """Return call arguments with `name=value` set, in place or behind the last in its style."""
    for number, argument in enumerate(args):
        if argument.keyword is not None and argument.keyword.value == name:
            return [*args[:number], argument.with_changes(value=value), *args[number + 1 :]]
    last = args[-1]
    comma = (
        args[-2].comma
        if len(args) > 1
        else cst.Comma(cst.SimpleWhitespace(""), cst.SimpleWhitespace(" "))
    )
    added = cst.Arg(
        value,
        keyword=cst.Name(name),
        equal=cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace("")),
        comma=last.comma,
        whitespace_after_arg=last.whitespace_after_arg,
    )
    empty = cst.SimpleWhitespace("")
    return [*args[:-1], last.with_changes(comma=comma, whitespace_after_arg=empty), added]
