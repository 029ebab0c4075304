"""Patch `keywords`: calls whose keywords do not fit the signature.

The signature is read from the source of the module, without importing it. A keyword is renamed if
`--map OLD=NEW` names it and the callee takes NEW and not OLD; every other misfit is reported.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_glass.tools.code.calls import CallProblem, call_problems
from edge_glass.tools.code.cells import PythonCell
from edge_glass.tools.code.edits import Edit, apply
from edge_glass.tools.code.expressions import dotted, shown
from edge_glass.tools.code.findings import Finding, distinct
from edge_glass.tools.code.program import Call, program_of
from edge_glass.tools.patch.syntax.rewrite import Note, Rewrite


@dataclass(frozen=True, kw_only=True)
class KeywordsPatch:
    """Renames keywords.

    Attributes:
        mapping: pairs of an old and a new keyword. `function.old` renames it in the calls of that
            function alone, even if the signature cannot be read.
        option: the command and its option that rename a keyword, for the report.
    """

    mapping: tuple[tuple[str, str], ...] = ()
    option: str = "patch keywords --map"
    name: str = "keywords"

    def rewrite(self, cells: Sequence[PythonCell], path: Path, /) -> Rewrite:
        program = program_of(tuple(cells), path)
        problems = list(call_problems(program))
        edits: dict[int, list[Edit]] = {}
        notes: list[Note] = []
        renamed: set[int] = set()
        for problem in problems:
            new = self._new_name(problem)
            edit = rename(problem.call.cell, problem.keyword, new) if new else None
            if edit is not None and problem.keyword is not None:
                renamed.add(id(problem.keyword))
                edits.setdefault(problem.call.cell.index, []).append(edit)
                notes.append(renaming(problem, new or ""))
        for call, keyword, new in self._forced(program.calls):
            edit = rename(call.cell, keyword, new) if id(keyword) not in renamed else None
            if edit is not None:
                edits.setdefault(call.cell.index, []).append(edit)
                renamed.add(id(keyword))
                message = f"`{shown(call.node)}`: `{keyword.arg}` is now `{new}`"
                notes.append(Note(call.cell.index, "changed", message))
        left = [
            Finding(problem.call.cell.index, described(problem, self.option),
                    problem.call.node.lineno)
            for problem in problems
            if problem.keyword is None or id(problem.keyword) not in renamed
        ]  # fmt: skip
        notes += [Note(each.cell, "person", each.message) for each in distinct(left)]
        return Rewrite(texts=edited(cells, edits), notes=notes)

    def _new_name(self, problem: CallProblem) -> str | None:
        if problem.keyword is None:
            return None
        for old, new in self.mapping:
            if old == problem.keyword.arg and new in problem.signature.keywords:
                return new
        return None

    def _forced(self, calls: Iterable[Call]) -> Iterable[tuple[Call, ast.keyword, str]]:
        for old, new in self.mapping:
            function, dot, keyword = old.rpartition(".")
            if not dot:
                continue
            for call in calls:
                called = dotted(call.node.func) or ""
                if called == function or called.endswith(f".{function}"):
                    for each in call.node.keywords:
                        if each.arg == keyword:
                            yield call, each, new


def rename(cell: PythonCell, keyword: ast.keyword | None, new: str) -> Edit | None:
    """Return the edit that renames a keyword, or None if its place is not certain."""
    if keyword is None or not keyword.arg or not new.isidentifier():
        return None
    start = cell.span(keyword)[0]
    end = start + len(keyword.arg)
    if cell.text[start : start + 1] in ("'", '"'):  # a key of `**{"old": 1}`
        start, end = start + 1, end + 1
    # In an f-string, Python before 3.12 gives no reliable places.
    return Edit(start, end, new) if cell.text[start:end] == keyword.arg else None


def renaming(problem: CallProblem, new: str) -> Note:
    """Return the note on a renamed keyword."""
    keyword = problem.keyword.arg if problem.keyword is not None else ""
    message = (
        f"`{shown(problem.call.node)}`: `{keyword}` is now `{new}`, the parameter that "
        f"{problem.signature.name} has ({problem.signature.source})"
    )
    return Note(problem.call.cell.index, "changed", message)


def described(problem: CallProblem, option: str) -> str:
    """Return a problem with its call and the module of the signature, for a person."""
    remedy = ""
    if problem.keyword is not None:
        new = problem.proposal or "NEW"
        remedy = f"; `{option} {problem.keyword.arg}={new}` renames it"
    return f"`{shown(problem.call.node)}`: {problem.message} ({problem.signature.source}){remedy}"


def edited(cells: Sequence[PythonCell], edits: Mapping[int, list[Edit]]) -> dict[int, str]:
    """Return the new texts of the cells that have edits."""
    return {cell.index: apply(cell.text, edits[cell.index]) for cell in cells
            if cell.index in edits}  # fmt: skip
