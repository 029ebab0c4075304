"""A hand-written collate function becomes a call of the library's.

The function keeps its name, parameters and decorators, so every call site keeps working; only its
body changes. Which of the library's functions it becomes is read from the fields it handles. One
that does more than put rows together, or returns something else than a dict, is left.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import libcst as cst

from edge_glass.tools.code.cells import PythonCell
from edge_glass.tools.patch.collate.body import CollateBody
from edge_glass.tools.patch.syntax.insertion import insert_statements
from edge_glass.tools.patch.syntax.names import (
    NamedTransformer,
    NotebookNames,
    code_of,
    literal_string,
)
from edge_glass.tools.patch.syntax.rewrite import Kind, Note

ALL_MAP = "all its keys map to"
MODULE = "edge_glass.training.stream.dict_rows"
_QUESTIONS = frozenset({"answer", "answers", "input_ids", "labels", "question", "questions"})
_CAPTIONS = frozenset({"caption", "captions", "text", "texts"})


def call_the_library(
    cells: Sequence[PythonCell], rows: Mapping[str, str]
) -> tuple[Mapping[int, str], list[Note]]:
    """Return new texts in which collate functions call the library's, and the notes.

    Args:
        cells: the notebook's cells.
        rows: the parameter that gets the batch, by the name of the function.
    """
    relevant = [cell for cell in cells if "collate" in cell.text]
    texts: dict[int, str] = {}
    notes: list[Note] = []
    if not relevant:
        return texts, notes
    names = NotebookNames(cells)
    text = "\n".join(cell.text for cell in cells)
    used = set(re.findall(r"\bcollate_fn\s*=\s*(?:\w+\.)*(\w+)", text))
    used |= set(re.findall(r"\bcollate_fn\s*=\s*(?:functools\.)?partial\(\s*(\w+)", text))
    tokenizers = re.findall(r"^(\w+)\s*=\s*\w*Tokenizer\w*\.from_pretrained", text, re.MULTILINE)
    added: dict[str, str] = {}
    for cell in relevant:
        bound = names.at(cell.index) | added
        transformer = _Collates(bound, used, tokenizers, cell.index, rows)
        module = cell.visit(transformer)
        notes += transformer.notes
        missing = [
            function
            for function in sorted(transformer.needed - added.keys())
            if names.bound_by(cell.index, f"{MODULE}.{function}") is None
        ]
        lines = [f"from {MODULE} import {', '.join(missing)}"] if missing else []
        added |= {function: f"{MODULE}.{function}" for function in missing}
        if module.code != cell.text:
            texts[cell.index] = insert_statements(module, lines).code
    return texts, notes


class _Collates(NamedTransformer):
    def __init__(
        self,
        names: Mapping[str, str],
        used: set[str],
        tokenizers: Sequence[str],
        index: int,
        rows: Mapping[str, str],
    ) -> None:
        super().__init__(names)
        self._used = used
        self._tokenizers = tokenizers
        self._index = index
        self._rows = rows
        self.needed: set[str] = set()
        self.notes: list[Note] = []

    def leave_FunctionDef(
        self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef
    ) -> cst.BaseStatement | cst.FlattenSentinel[cst.BaseStatement] | cst.RemovalSentinel:
        super().leave_FunctionDef(original_node, updated_node)
        name = original_node.name.value
        if name not in self._used and not re.fullmatch(r"\w*collate(_fn|_batch)?", name):
            return updated_node
        if name in ("collate_captions", "collate_questions"):
            self._note(
                "left", f"def {name}", "has the library's name; rename it to have it patched"
            )
            return updated_node
        parameters = [
            parameter.name.value
            for parameter in (*original_node.params.posonly_params, *original_node.params.params)
        ]
        samples = next((each for each in parameters if each not in ("self", "cls")), None)
        call = self._call(f"def {name}", original_node.body, samples)
        if call is None:
            return updated_node
        statement = cst.parse_statement(f"return {call}")
        assert isinstance(statement, cst.SimpleStatementLine)
        body: cst.BaseSuite = updated_node.body
        block = body if isinstance(body, cst.IndentedBlock) else cst.IndentedBlock(body=[])
        kept = [line for line in block.body[:1] if _is_docstring(line)]
        return updated_node.with_changes(
            body=block.with_changes(body=[*kept, statement], footer=[]), returns=None
        )

    def leave_Arg(self, original_node: cst.Arg, updated_node: cst.Arg) -> cst.Arg:
        if original_node.keyword is None or original_node.keyword.value != "collate_fn":
            return updated_node
        value = original_node.value
        if isinstance(value, cst.Lambda):
            parameter = value.params.params[0].name.value if value.params.params else None
            call = self._call("collate_fn=lambda", value.body, parameter, quiet=True)
            if call is None or not isinstance(updated_node.value, cst.Lambda):
                return updated_node
            body = cst.parse_expression(call)
            return updated_node.with_changes(value=updated_node.value.with_changes(body=body))
        target = value.func if isinstance(value, cst.Call) else value
        library = self.qualified(target) or ""
        if library and not library.startswith(("edge_glass.", "functools.")):
            self._note("left", f"collate_fn={code_of(value)}", f"is another library's: {library}")
        return updated_node

    def _call(
        self,
        what: str,
        body: cst.CSTNode,
        samples: str | None,
        quiet: bool = False,
    ) -> str | None:
        """Return the library call that stands for a body, or None, with a note on why not."""
        fields = CollateBody()
        body.visit(fields)
        if any((self._names.get(call) or "").startswith(MODULE) for call in fields.calls):
            return None  # done before
        if fields.words & _QUESTIONS:
            function = "collate_questions"
        elif fields.words & _CAPTIONS:
            function = "collate_captions"
        else:
            if not quiet:  # a lambda without fields hands on to a function, which has its own note
                self._note("left", what, "neither questions nor captions in it")
            return None
        if samples is None or fields.yields:
            self._note("left", what, "takes no batch, or yields: not a collate function")
            return None
        if isinstance(body, cst.BaseExpression):  # a lambda's
            fields.returned.append(body)
            if isinstance(body, cst.Call) and not fields.read:
                return None  # it hands on to a function, which has its own note
        more = fields.more_than_batching()
        if more:
            self._note("left", what, more)
            return None
        if fields.renamed:
            names = ", ".join(f"`{a}` is `{b}`" for a, b in sorted(fields.renamed.items()))
            self._note(
                "left",
                what,
                f"{ALL_MAP} {MODULE}.{function}, which keeps the names of the rows: {names}; "
                "rename them here and where batches are read, then `patch collate --library` "
                "makes it a call of that",
            )
            return None
        if self._rows.get(what.removeprefix("def "), samples) != samples:
            self._note("left", what, "the rows are not its first parameter")
            return None
        arguments = samples
        if function == "collate_questions":
            tokenizers = [*fields.tokenizers, *self._tokenizers]
            padding = [*fields.padding, *(f"{name}.pad_token_id" for name in tokenizers)]
            if not padding:
                self._note("left", what, "no tokenizer in sight whose pad_token_id to pad with")
                return None
            arguments += f", pad_token_id={padding[0]}"
        self.needed.add(function)
        alias = next((k for k, v in self._names.items() if v == f"{MODULE}.{function}"), function)
        self._note("changed", what, f"now calls {MODULE}.{function}")
        return f"{alias}({arguments})"

    def _note(self, kind: Kind, what: str, message: str) -> None:
        self.notes.append(Note(self._index, kind, f"`{what}`: {message}"))


def _is_docstring(line: cst.BaseStatement | cst.BaseSmallStatement) -> bool:
    if not isinstance(line, cst.SimpleStatementLine) or not isinstance(line.body[0], cst.Expr):
        return False
    return literal_string(line.body[0].value) is not None
