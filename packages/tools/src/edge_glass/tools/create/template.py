"""Cells and their assembly: a notebook's bytes are a function of its cells' text."""

from __future__ import annotations

import ast
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

NOTE = "nothing_to_do.tsv"  # that a stage of the training package writes
PARAMETERS = "parameters"  # the tag by which papermill finds the cell


@dataclass(frozen=True, kw_only=True)
class TemplateCell:
    """A cell of a template; `kind` is "markdown" or "code"."""

    kind: str
    source: str
    tags: tuple[str, ...] = ()


def parameters(
    defaults: Mapping[str, tuple[object, str]], chosen: Mapping[str, object]
) -> TemplateCell:
    """Returns the tagged cell that holds a notebook's parameters.

    Args:
        defaults: name to value and a remark.
        chosen: values that replace defaults.

    Raises:
        ValueError: A name or a type in `chosen` is not one of the defaults'.
    """
    for name, value in chosen.items():
        if name not in defaults:
            raise ValueError(f"parameter {name!r} is unknown; there are {', '.join(defaults)}")
        default = defaults[name][0]
        if default is not None and type(value) is not type(default):
            found, expected = type(value).__name__, type(default).__name__
            raise ValueError(f"parameter {name} is {value!r} ({found}), expected {expected}")
    lines = []
    for name, (default, remark) in defaults.items():
        lines.append(f"{name} = {_literal(chosen.get(name, default))}  # {remark}")
    return TemplateCell(kind="code", source="\n".join(lines), tags=(PARAMETERS,))


def render(
    text: str, defaults: Mapping[str, tuple[object, str]], chosen: Mapping[str, object]
) -> str:
    """Returns the notebook of a template in percent format.

    A cell starts with a line `# %%` (code), `# %% [markdown]`, or `# %% parameters`, which the
    parameters cell replaces.

    Raises:
        ValueError: As `parameters`.
    """
    cells = []
    for marker, source in re.findall(r"^# %%(.*)\n((?:(?!# %%).*\n)*)", text, re.MULTILINE):
        if marker.strip() == "parameters":
            cells.append(parameters(defaults, chosen))
        else:
            kind = "markdown" if marker.strip() == "[markdown]" else "code"
            cells.append(TemplateCell(kind=kind, source=source.strip()))
    return assemble(cells)


def nothing_to_show(
    defaults: Mapping[str, tuple[object, str]], chosen: Mapping[str, object], folder: Path
) -> str | None:
    """Returns why the notebook's model was not trained, if its stage had nothing to do.

    A data set with captions alone has no questions to learn from, for example. The stage then
    leaves a note in the folder of the model.

    Args:
        defaults: the template's parameters, `project` and `model_folder` among them.
        chosen: values that replace defaults.
        folder: that the notebook lies in.
    """
    names = ("project", "model_folder")
    values = [str(chosen.get(name, defaults[name][0])) for name in names]
    try:
        # the notebook's folder may not be there yet, and `resolve` goes up from it all the same
        path = folder.resolve().joinpath(*values, NOTE).resolve()
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None


def without_content(text: str, reason: str) -> str:
    """Returns a notebook with the title of a different one, and why it has no content."""
    title = "".join(json.loads(text)["cells"][0]["source"]).partition("\n")[0]
    cells = [title, f"There is nothing to show: {reason}."]
    return assemble([TemplateCell(kind="markdown", source=source) for source in cells])


def parse_parameters(texts: Sequence[str]) -> dict[str, object]:
    """Parses `name=value` texts; a value is a Python literal, otherwise a string.

    Raises:
        ValueError: A text has no name or no value.
    """
    chosen: dict[str, object] = {}
    for text in texts:
        name, equal, value = text.partition("=")
        if not (name.isidentifier() and equal):
            raise ValueError(f"parameter {text!r}: expected name=value")
        try:
            chosen[name] = ast.literal_eval(value)
        except (MemoryError, RecursionError, SyntaxError, ValueError):
            chosen[name] = value
    return chosen


def assemble(cells: Sequence[TemplateCell]) -> str:
    """Returns the notebook of these cells as text (nbformat 4.5).

    A cell's id is a hash of its kind and text, so an edited template keeps the ids of the cells
    that it does not touch, and a diff shows only what changed.
    """
    entries = []
    seen: dict[str, int] = {}
    for cell in cells:
        key = f"{cell.kind}\n{cell.source}"
        seen[key] = seen.get(key, 0) + 1
        identity = hashlib.sha256(f"{seen[key]}\n{key}".encode()).hexdigest()[:12]
        entry: dict[str, object] = {"cell_type": cell.kind}
        if cell.kind == "code":
            entry |= {"execution_count": None}
        entry |= {"id": identity, "metadata": {"tags": list(cell.tags)} if cell.tags else {}}
        if cell.kind == "code":
            entry |= {"outputs": []}
        entries.append(entry | {"source": cell.source.splitlines(keepends=True)})
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook = {
        "cells": entries,
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _literal(value: object) -> str:
    """Returns a value as the formatter writes it: strings in double quotes."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return repr(value)
