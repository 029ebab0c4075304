"""What is wrong with a notebook's code, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

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
    line: int = 0  # of the cell, from 1


def code_findings(program: Program) -> list[Finding]:
    """Return all findings, in cell order."""
    found = [Finding(cell.index, message) for cell, message in import_problems(program)]
    found += [Finding(cell.index, message) for cell, message in attribute_problems(program)]
    found += [
        Finding(problem.call.cell.index,
                f"`{shown(problem.call.node)}`: {problem.message} ({problem.signature.source})",
                problem.call.node.lineno)
        for problem in call_problems(program)
    ]  # fmt: skip
    found += [*key_findings(program), *name_findings(program), *loading_findings(program)]
    return distinct(sorted(found, key=lambda finding: finding.cell))


def distinct(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings, those that read the same in one cell with their lines."""
    found = list(findings)
    counts = Counter((each.cell, each.message) for each in found)
    return [
        replace(each, message=f"line {each.line}: {each.message}")
        if each.line and counts[each.cell, each.message] > 1
        else each
        for each in found
    ]


def key_findings(program: Program) -> Iterator[Finding]:
    """Yield reads of keys that a batch or a row does not have."""
    for read in Batches(program).missing:
        names = ", ".join(f"`{name}`" for name in sorted(read.item.keys.names))
        message = (
            f"reads the key `{read.key}` of a {read.item.what}; {read.item.owner} gives {names}"
        )
        yield Finding(read.cell.index, message, read.node.lineno)


def name_findings(program: Program) -> Iterator[Finding]:
    """Yield reads of names that no cell defines, or that a later cell defines."""
    for problem in name_problems(program):
        name = f"`{problem.read.name}`"
        if problem.deleted:
            message = f"reads {name}, which a `del` before it removes"
        elif problem.later is not None:
            where = "further down" if problem.later == problem.cell.index else (
                f"only in cell {problem.later + 1}")  # fmt: skip
            through = f" through `{problem.through}()`" if problem.through else ""
            message = f"reads {name}{through}, which is defined {where}"
        else:
            message = f"reads {name}, which no cell defines; did a deleted cell define it?"
        yield Finding(problem.cell.index, message, problem.read.node.lineno)


def loading_findings(program: Program) -> Iterator[Finding]:
    """Yield unsafe ways of loading weights."""
    for call, message in loading_problems(program):
        yield Finding(call.cell.index, message, call.node.lineno)
