"""Image pipelines: keywords follow their signatures, and lost transforms are defined again."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edge_glass.tools.code.calls import call_problems
from edge_glass.tools.code.edits import Edit
from edge_glass.tools.code.expressions import dotted
from edge_glass.tools.code.names import NameProblem, name_problems
from edge_glass.tools.code.program import Call, Program
from edge_glass.tools.code.signatures import Signature
from edge_glass.tools.patch.keywords import edited, rename, renaming
from edge_glass.tools.patch.rewrite import Note

_PIPELINE = re.compile(r"transform|pipeline|preproc|augment|tfm|image_|_image|vision_|imgs?_",
                       re.IGNORECASE)  # fmt: skip
_DESCRIBED = re.compile(r"\b(transform|preprocess|augment|image)", re.IGNORECASE)
_TRANSFORM = re.compile(r"transform|tfm|preproc|augment|pipeline", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d]\w*")
_TRAIN = frozenset({"train", "training"})
_EVAL = frozenset(
    {"dev", "eval", "evaluation", "heldout", "holdout", "infer", "inference", "test", "val"}
    | {"valid", "validation"}
)
_SWITCH = re.compile(r"train|augment|is_training|eval|test|mode|split|phase|random", re.IGNORECASE)


def repair_keywords(program: Program) -> tuple[dict[int, str], list[Note]]:
    """Rename the keywords of image pipelines that can only mean one parameter."""
    edits: dict[int, list[Edit]] = {}
    notes: list[Note] = []
    for problem in call_problems(program):
        if problem.proposal is None or not is_pipeline(problem.signature):
            continue
        cell = problem.call.cell
        edit = rename(cell, problem.keyword, problem.proposal)
        if edit is not None:
            edits.setdefault(cell.index, []).append(edit)
            notes.append(renaming(problem, problem.proposal))
    return edited(program.cells, edits), notes


def is_pipeline(signature: Signature) -> bool:
    """Whether a function or class makes image transforms, by its name or its docstring."""
    return bool(_PIPELINE.search(signature.name) or _DESCRIBED.search(signature.summary))


def define_lost_names(program: Program) -> tuple[dict[int, str], list[Note]]:
    """Define transforms that no cell defines, if an existing call shows what they are."""
    edits: dict[int, list[Edit]] = {}
    notes: list[Note] = []
    defined: set[str] = set()
    candidates: list[_Candidate] | None = None
    words = {word for cell in program.cells for word in _WORD.findall(cell.text)}
    if all(word in program.bindings for word in words if _TRANSFORM.search(word)):
        return {}, []
    for problem in name_problems(program):
        name = problem.read.name
        if problem.later is not None or name in defined or not _TRANSFORM.search(name):
            continue
        if candidates is None:
            candidates = list(_candidates(program))
        found = _definition(name, problem, candidates)
        if found is None:
            continue
        code, source = found
        cell, statement = problem.cell, problem.read.statement
        place = cell.line_start(statement)
        end = "\r\n" if "\r\n" in cell.text else "\n"
        edits.setdefault(cell.index, []).append(Edit(place, place, f"{name} = {code}{end}"))
        defined.add(name)
        message = (
            f"`{name}` is read and no cell defines it; now `{name} = {code}`, "
            f"as cell {source + 1} calls it"
        )
        notes.append(Note(cell.index, "changed", message))
    return edited(program.cells, edits), notes


@dataclass(frozen=True)
class _Candidate:
    """A call that makes a transform: its code, its cell, and whether it is the one for training."""

    code: str
    cell: int
    trains: bool | None


def _candidates(program: Program) -> Iterator[_Candidate]:
    problems = {id(each.call.node) for each in call_problems(program)}
    for call in program.calls:
        name = dotted(call.node.func)
        if name is None or call.functions or id(call.node) in problems:
            continue
        signature = program.signature(call)
        if signature is None:
            known = (program.meaning(name, call.cell.index) or "").endswith(".image_transform")
            if not known:
                continue
        elif not (is_pipeline(signature) and _makes_transform(program, call, signature)):
            continue
        free = {node.id for node in ast.walk(call.node) if isinstance(node, ast.Name)}
        if not free & call.hidden:
            code = call.cell.code(call.node)
            code = ast.unparse(call.node) if "\n" in code else code
            yield _Candidate(code, call.cell.index, _trains(call))


def _makes_transform(program: Program, call: Call, signature: Signature) -> bool:
    """Whether a call returns a transform and not, say, a data set of images."""
    if _TRANSFORM.search(signature.name) or re.search(r"transform|augment", signature.summary):
        return True
    for other in program.calls:
        for argument in [*other.node.args, *(each.value for each in other.node.keywords)]:
            if argument is call.node:
                return True
    return False


def _trains(call: Call) -> bool | None:
    """Return whether a call makes the transform for training; None if it does not show."""
    for keyword in call.node.keywords:
        value = getattr(keyword.value, "value", None)
        if keyword.arg is None or not _SWITCH.search(keyword.arg):
            continue
        if isinstance(value, bool):
            inverted = re.search(r"eval|test", keyword.arg) is not None
            return value != inverted
        if isinstance(value, str):
            return _role(value)
    for name in _targets_of(call):
        role = _role(name)
        if role is not None:
            return role
    return None


def _targets_of(call: Call) -> list[str]:
    for statement in call.cell.syntax.body:
        if isinstance(statement, ast.Assign) and statement.value is call.node:
            return [dotted(target) or "" for target in statement.targets]
    return []


def _role(name: str) -> bool | None:
    words = set(re.split(r"[_\W]+", name.lower()))
    if words & _TRAIN:
        return True
    return False if words & _EVAL or {"held", "out"} <= words else None


def _definition(
    name: str, problem: NameProblem, candidates: Sequence[_Candidate]
) -> tuple[str, int] | None:
    """Return the code that defines `name` and the cell it follows from, if exactly one does."""
    role = _role(name)
    before = [each for each in candidates if each.cell <= problem.cell.index]
    fitting = [each for each in before if each.trains is role] if role is not None else before
    if not fitting and role is not None:  # one pipeline for all
        fitting = [each for each in before if each.trains is None]
        if len(fitting) != len(before):
            return None
    codes = {" ".join(each.code.split()) for each in fitting}
    return (fitting[0].code, fitting[0].cell) if len(codes) == 1 else None
