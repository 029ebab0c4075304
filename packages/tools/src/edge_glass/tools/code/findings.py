"""What is wrong with a notebook's code, in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edge_glass.tools.code.attributes import attribute_problems
from edge_glass.tools.code.batches import Batches
from edge_glass.tools.code.calls import call_problems
from edge_glass.tools.code.expressions import shown
from edge_glass.tools.code.imports import import_problems
from edge_glass.tools.code.loading import loading_problems
from edge_glass.tools.code.names import name_problems
from edge_glass.tools.code.program import Program


@dataclass(frozen=True)
class Finding:
    """One finding: the index of the cell, and a sentence."""

    cell: int
    message: str


def code_findings(program: Program) -> list[Finding]:
    """Return all findings, in cell order."""
    found = [Finding(cell.index, message) for cell, message in import_problems(program)]
    found += [Finding(cell.index, message) for cell, message in attribute_problems(program)]
    found += [
        Finding(problem.call.cell.index,
                f"`{shown(problem.call.node)}`: {problem.message} ({problem.signature.source})")
        for problem in call_problems(program)
    ]  # fmt: skip
    found += [*key_findings(program), *name_findings(program), *loading_findings(program)]
    return sorted(found, key=lambda finding: finding.cell)


def key_findings(program: Program) -> Iterator[Finding]:
    """Yield reads of keys that a batch or a row does not have."""
    for read in Batches(program).missing:
        names = ", ".join(f"`{name}`" for name in sorted(read.item.keys.names))
        yield Finding(read.cell.index, (
            f"reads the key `{read.key}` of a {read.item.what}; {read.item.owner} gives {names}"
        ))  # fmt: skip


def name_findings(program: Program) -> Iterator[Finding]:
    """Yield reads of names that no cell defines, or that a later cell defines."""
    for problem in name_problems(program):
        name = f"`{problem.read.name}`"
        if problem.later is not None:
            where = "further down" if problem.later == problem.cell.index else (
                f"only in cell {problem.later + 1}")  # fmt: skip
            message = f"reads {name}, which is defined {where}"
        else:
            message = f"reads {name}, which no cell defines; did a deleted cell define it?"
        yield Finding(problem.cell.index, message)


def loading_findings(program: Program) -> Iterator[Finding]:
    """Yield unsafe ways of loading weights."""
    for call, message in loading_problems(program):
        yield Finding(call.cell.index, message)
