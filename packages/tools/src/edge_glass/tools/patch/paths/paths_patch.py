"""Patch `paths`: paths of one person's machine become relative to the notebook.

Jupyter runs a notebook in its own folder, so that is what a written path is relative to. A path is
only exchanged if the project shows what it means: it lies in the project, or its last parts name
something there, or a `--map` names it. Everything else is reported and left.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import libcst as cst

from edge_glass.tools.code.cells import PythonCell
from edge_glass.tools.patch.paths.project import MACHINE, Files, Project
from edge_glass.tools.patch.paths.written import Written
from edge_glass.tools.patch.syntax.names import (
    NamedTransformer,
    NotebookNames,
    code_of,
    dotted,
    literal_string,
)
from edge_glass.tools.patch.syntax.rewrite import Kind, Note, Rewrite
from edge_glass.tools.project_root import find_root

_FILE = re.compile(
    r"[\w./ -]*[\w-]\.(?:bin|ckpt|csv|gin|ini|json|jsonl|npy|npz|onnx|parquet|pkl|pt|pth"
    r"|safetensors|toml|tsv|txt|ya?ml)"
)
_RELEVANT = re.compile(rf"""["'][^"'\n]*[/\\]|["']\.\.["']|\bchdir\b|["']{_FILE.pattern}["']""")
# Calls that read a file they are given, and calls that write one.
_READS = re.compile(r"(?:^|\.)_*(?:load\w*|\w*_load|read\w*|open|from_\w+|get_config|parse_\w+)$")
_WRITES = re.compile(
    r"save|write|dump|mkdir|makedirs|savefig|export|(?:^|\.)to_|download|copy|remove"
)
_INPUT_NAME = re.compile(r"config|cfg|checkpoint|ckpt|weights|_path$|_file$", re.IGNORECASE)
_RELATIVE = re.compile(r"(?:\.{1,2}/)*[\w.-]+(?:/[\w.-]+)+/?|(?:\.{1,2}/)+[\w.-]*|\.\.")
_CHDIR = re.compile(r"\bchdir\s*\(")
_SHELL_CD = re.compile(r"%(?:cd|pushd|popd)\b|!\s*cd\b")
# What a path seldom holds: a text with it is taken for a path only if that exists.
_PROSE = re.compile(r"[\s,;|<>]|.{2}:")


@dataclass(frozen=True, kw_only=True)
class PathsPatch:
    """Rewrites paths.

    Attributes:
        root: the project's folder; found by itself if None.
        mapping: pairs of a folder as the notebook writes it and what it is in the project.
    """

    root: Path | None = None
    mapping: tuple[tuple[str, str], ...] = ()
    name: str = "paths"
    _files: Files = field(default_factory=Files, init=False, repr=False, compare=False)

    def rewrite(self, cells: Sequence[PythonCell], path: Path, /) -> Rewrite:
        relevant = [cell for cell in cells if _RELEVANT.search(cell.text)]
        root = (self.root or find_root(path)).resolve()
        project = Project(root, path.resolve().parent, self.mapping, self._files)
        names = NotebookNames(relevant)
        notes: list[Note] = []
        texts: dict[int, str] = {}
        moves = next((cell.index for cell in cells if _changes_folder(cell)), None)
        if moves is not None and relevant:
            message = "changes the folder (os.chdir, %cd): what a relative path means is open, so "
            return Rewrite(notes=[Note(moves, "warning", message + "paths are left; remove it")])
        written = Written(cells) if relevant else None
        for cell in relevant:
            assert written is not None
            transformer = _Paths(names.at(cell.index), project, cell.index, written)
            module = cell.visit(transformer)
            notes += transformer.notes
            if module.code != cell.text:
                texts[cell.index] = module.code
        return Rewrite(texts=texts, notes=notes)


def _changes_folder(cell: PythonCell) -> bool:
    lines = any(_SHELL_CD.match(line.lstrip()) for line in cell.hidden)
    return lines or _CHDIR.search(cell.text) is not None


class _Paths(NamedTransformer):
    def __init__(
        self, names: dict[str, str], project: Project, index: int, written: Written
    ) -> None:
        super().__init__(names)
        self._written = written
        self._project = project
        self._index = index
        self._calls: list[cst.Call] = []
        self._targets: list[str] = []
        self._joined: set[cst.BaseExpression] = set()  # to a folder in front of them
        self.notes: list[Note] = []

    def visit_Call(self, node: cst.Call) -> None:
        self._calls.append(node)

    def leave_Call(self, _original_node: cst.Call, updated_node: cst.Call) -> cst.BaseExpression:
        self._calls.pop()
        return updated_node

    def visit_Assign(self, node: cst.Assign) -> None:
        self._targets.append(dotted(node.targets[0].target) or "")

    def leave_Assign(self, _original_node: cst.Assign, updated_node: cst.Assign) -> cst.Assign:
        self._targets.pop()
        return updated_node

    def visit_BinaryOperation(self, node: cst.BinaryOperation) -> None:
        if isinstance(node.operator, cst.Divide):
            self._joined.add(node.right)  # `root / "a/b"` is not relative to the notebook

    def _is_no_path(self, node: cst.BaseExpression) -> bool:
        """Whether a string is a part of a path, or a key: `root / "a/b"`, `files.get("a/b")`."""
        if node in self._joined:
            return True
        call = self._calls[-1] if self._calls else None
        if call is None or not any(node is argument.value for argument in call.args):
            return False
        method = _method(call)
        return method == "get" or (
            method in ("join", "joinpath") and node is not call.args[0].value
        )

    def _is_read(self) -> bool:
        """Whether the string at hand is a file that the code reads."""
        names = [dotted(call.func) or _method(call) for call in self._calls]
        if any(_WRITES.search(name) for name in names):
            return False
        for name, call in zip(names, self._calls, strict=True):
            if name.endswith("open") and any(set("wax") & set(literal_string(each.value) or "")
                                             for each in call.args[1:2]):  # fmt: skip
                return False
        if any(_READS.search(name) for name in names):
            return True
        return bool(self._targets) and _INPUT_NAME.search(self._targets[-1]) is not None

    def _found(self, value: str, node: cst.BaseExpression) -> str | None:
        """Return the one file of the project that a path means which names nothing."""
        if not (_FILE.fullmatch(value) and self._project.missing(value) and self._is_read()):
            return None
        if self._written.holds(value):
            return None
        candidates = self._project.candidates(value)
        if len(candidates) == 1:
            self._note("changed", node, f'there is no such file; now "{candidates[0]}"')
            return candidates[0]
        if candidates:
            listed = ", ".join(candidates)
            self._note("person", node, f"there is no such file; the project has {listed}")
        elif _INPUT_NAME.search(" ".join(self._targets)) is None:
            self._note("person", node, "there is no such file, and none of its name in the project")
        return None

    def visit_Expr(self, node: cst.Expr) -> bool:
        # A string that stands alone is a docstring or a remark.
        return not isinstance(node.value, (cst.SimpleString, cst.ConcatenatedString))

    def visit_ConcatenatedString(self, node: cst.ConcatenatedString) -> bool:
        if MACHINE.match(str(node.evaluated_value or "")):
            self._note("left", node, "is written in pieces")
        return False

    def leave_SimpleString(
        self, original_node: cst.SimpleString, updated_node: cst.SimpleString
    ) -> cst.BaseExpression:
        value = original_node.evaluated_value
        if not isinstance(value, str) or "\n" in value or len(original_node.quote) > 1:
            return updated_node
        new = self._exchanged(value, original_node)
        if new is None or new == value:
            return updated_node
        quote = original_node.quote
        if quote in new or "\\" in new:
            return updated_node
        return updated_node.with_changes(value=f"{quote}{new}{quote}")

    def visit_FormattedString(self, _node: cst.FormattedString) -> bool:
        return False

    def leave_FormattedString(
        self, original_node: cst.FormattedString, updated_node: cst.FormattedString
    ) -> cst.BaseExpression:
        """The folder in front of the first `{…}` is a path; the rest is not known."""
        first = original_node.parts[0] if original_node.parts else None
        if not isinstance(first, cst.FormattedStringText):
            return updated_node
        folder, slash, rest = first.value.rpartition("/")
        if not slash or not MACHINE.match(folder + "/"):
            return updated_node
        text = "".join(
            part.value for part in original_node.parts if isinstance(part, cst.FormattedStringText)
        )
        if re.search(r"\s", text[len(folder) :]):
            return updated_node  # a sentence
        new = self._exchanged(folder, original_node)
        if new is None:
            return updated_node
        parts = [first.with_changes(value=f"{new}/{rest}"), *updated_node.parts[1:]]
        return updated_node.with_changes(parts=parts)

    def _exchanged(self, value: str, node: cst.BaseExpression) -> str | None:
        machine = MACHINE.match(value) is not None
        known = machine or Path(value).is_absolute()
        plain = value.replace("\\", "/") if machine else value
        if not known and self._is_no_path(node):
            return None
        if not known and not _RELATIVE.fullmatch(value):
            return self._found(value, node)
        if not known and self._written.holds(value):
            return None
        new = self._project.relative(plain)
        prose = known and _PROSE.search(self._project.behind_map(plain)) is not None
        if prose and (new is None or self._project.missing(new)):
            return None
        if new is None or (new == value and not known):
            found = self._found(plain, node)
            if found is None and new is None and machine:
                message = "nothing in the project shows what it means; use --map"
                self._note("left", node, message)
            return found
        if new != value:
            self._note("changed", node, f'now "{new}"')
        return new

    def _note(self, kind: Kind, node: cst.CSTNode, message: str) -> None:
        self.notes.append(Note(self._index, kind, f"{code_of(node)}: {message}"))


def _method(call: cst.Call) -> str:
    return call.func.attr.value if isinstance(call.func, cst.Attribute) else ""
