"""Putting imports, statements and keyword arguments into code, in the style that is there."""

from __future__ import annotations

import re
from collections.abc import Iterable

import libcst as cst

from edge_glass.tools.patch.syntax.names import dotted, literal_string


def free_name(name: str, text: str) -> str:
    """Return `name`, or a different one if `text` (a whole notebook) uses it itself."""
    return name if re.search(rf"\b{name}\b", text) is None else f"edge_glass_{name}"


def import_line(module: str, name: str, alias: str) -> str:
    """Return the statement that imports `name` as `alias`."""
    return f"from {module} import {name}" + ("" if alias == name else f" as {alias}")


def leading(module: cst.Module, placeholder: str = "__eg_magic_") -> list[cst.SimpleStatementLine]:
    """Return the lines that a cell opens with: docstring, imports and masked magics."""
    lines: list[cst.SimpleStatementLine] = []
    for number, statement in enumerate(module.body):
        if not isinstance(statement, cst.SimpleStatementLine):
            break
        first = statement.body[0]
        heads = isinstance(first, (cst.Import, cst.ImportFrom))
        if isinstance(first, cst.Expr) and len(statement.body) == 1:
            heads = (dotted(first.value) or "").startswith(placeholder)
            heads = heads or (number == 0 and literal_string(first.value) is not None)
        if not heads:
            break
        lines.append(statement)
    return lines


def insert_statements(module: cst.Module, lines: Iterable[str]) -> cst.Module:
    """Return `module` with statements added below its leading lines."""
    place = len(leading(module))
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
