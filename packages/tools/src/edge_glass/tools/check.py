"""What is wrong with a notebook: format, secrets, machine paths, order, code, kernel, size.

Nothing is imported or run unless `execute` is given: modules are looked up and their sources read,
so that drift between a notebook and a module shows without a model being loaded.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edge_glass.tools.atomic_file import FileRefusedError
from edge_glass.tools.code.cells import read_code
from edge_glass.tools.code.findings import code_findings
from edge_glass.tools.code.program import Program
from edge_glass.tools.notebook import Notebook, NotebookError, read_notebook

_SECRETS = {
    "an AWS key": re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    "a Hugging Face token": re.compile(r"\bhf_[A-Za-z0-9]{30,}\b"),
    "an API key": re.compile(r"\bsk-[A-Za-z0-9_-]{20,}"),
    "a GitHub token": re.compile(r"\b(?:ghp|gho|ghs|ghu|github_pat)_[A-Za-z0-9_]{20,}"),
    "a private key": re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"),
    "a password": re.compile(r"(?i)\b(?:password|passwd|secret_key)\s*[=:]\s*['\"][^'\"\s]{6,}"),
    "a bearer token": re.compile(r"\bBearer [A-Za-z0-9._~+/-]{20,}"),
}
_MACHINE_PATH = re.compile(
    r"(?<![\w./])(?:/(?:home|Users|root|mnt|content|kaggle|tmp|opt|usr|srv|work|workspaces?|scratch)"
    r"/[\w.-]+|[A-Za-z]:\\+Users\\+\w+)"
)


def check_file(path: Path, *, max_bytes: int, execute: bool = False) -> list[str]:
    """Return what is wrong with the notebook `path`, in words; nothing if all is well.

    Args:
        path: the notebook.
        max_bytes: largest size of the file.
        execute: also run it, in memory; the file stays as it is.
    """
    try:
        notebook = read_notebook(path)
    except (NotebookError, FileRefusedError) as error:
        return [str(error).removeprefix(f"{path}: ")]
    if notebook.nbformat != 4:
        return [
            f"nbformat {notebook.nbformat} is old; `jupyter nbconvert --to notebook` converts it"
        ]
    content = json.loads(notebook.text.removeprefix("\ufeff"))
    findings = [*_format(content), *_size(path, max_bytes)]
    if findings:  # the rest relies on the format
        return findings
    findings = [*_kernel(content), *_order(content), *_outputs(content), *_sources(notebook)]
    if execute and not findings:
        from edge_glass.tools.execute import ExecutionError, execute_text

        try:
            execute_text(path)
        except ExecutionError as error:
            findings.append(str(error).removeprefix(f"{path}: "))
    return findings


def _format(content: Any) -> Iterator[str]:
    import nbformat

    with warnings.catch_warnings(record=True) as caught:  # nbformat warns of what it would repair
        warnings.simplefilter("always")
        try:
            nbformat.validate(content)
        except nbformat.ValidationError as error:
            yield f"is not valid nbformat 4.{content.get('nbformat_minor')}: {error.message}"
    for warning in caught:
        yield f"is not clean: {str(warning.message).splitlines()[0]}"


def _size(path: Path, max_bytes: int) -> Iterator[str]:
    size = path.stat().st_size
    if size > max_bytes:
        yield f"is {size / 2**20:.1f} MiB, more than {max_bytes / 2**20:.1f}; clear large outputs"


def _kernel(content: Any) -> Iterator[str]:
    kernel = content["metadata"].get("kernelspec", {})
    missing = [key for key in ("name", "display_name") if not kernel.get(key)]
    if missing:
        yield f"has no kernel spec: metadata.kernelspec lacks {' and '.join(missing)}"


def _order(content: Any) -> Iterator[str]:
    """The counts of executed cells must be 1, 2, 3, …: run once, from top to bottom."""
    expected = 1
    for number, cell in enumerate(content["cells"], start=1):
        count = cell.get("execution_count")
        if cell["cell_type"] != "code" or count is None:
            continue
        if count != expected:
            yield f"cell {number} ran as number {count}, expected {expected}: restart and run all"
            return
        expected += 1


def _outputs(content: Any) -> Iterator[str]:
    for number, cell in enumerate(content["cells"], start=1):
        for output in cell.get("outputs", []):
            if output["output_type"] == "error":
                yield f"cell {number} failed: {output['ename']}: {output['evalue']}"
            text = "\n".join(_strings(output))
            for what, pattern in _SECRETS.items():
                if pattern.search(text):
                    yield f"cell {number} shows {what} in its output; revoke it, clear the output"
            found = _MACHINE_PATH.search(text)
            if found:
                yield f"cell {number} shows a machine's path in its output: {found[0]}"


def _sources(notebook: Notebook) -> Iterator[str]:
    labels = {cell.index: cell.label for cell in notebook.cells}
    for cell in notebook.cells:
        for what, pattern in _SECRETS.items():
            if pattern.search(cell.source):
                yield f"{cell.label} holds {what}; revoke it and read it from the environment"
    if notebook.language not in ("python", "ipython"):
        return
    code = read_code(notebook)
    for index, reason in code.broken.items():
        yield f"{labels[index]} does not parse: {reason}"
    for finding in code_findings(Program(code.cells, notebook.path, code.foreign)):
        yield f"{labels[finding.cell]}: {finding.message}"


def _strings(value: Any) -> Iterator[str]:
    """Yield the texts in an output; an image in base64 is no text."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list) and all(isinstance(item, str) for item in value):
        yield "".join(value)  # one text, stored by lines
    elif isinstance(value, dict):
        for key, item in value.items():
            if not str(key).startswith("image/") or key == "image/svg+xml":
                yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
