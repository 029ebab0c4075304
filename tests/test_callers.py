"""Every public name of the packages has a caller outside tests and benchmarks.

Names are compared as words, so that a name which two modules share counts as called if one of them
is: the check finds what nobody calls, not every such case.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = sorted(ROOT.glob("packages/*/src/**/*.py"))
SCRIPTS = sorted([*ROOT.glob("docs/*.py"), *ROOT.glob("examples/*/**/*.py")])
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("packages/*/README.md")])
# Called by a library, by the name alone.
CALLBACKS = {
    r"forward": "torch.nn.Module",
    r"(visit|leave)_\w+": "libcst",
}
# Without a caller, for this reason.
ALLOWED = {
    "matryoshka_loss": "the definition to read; tests compare the loss that trains with it",
}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def definitions(tree: ast.Module) -> Iterator[tuple[str, ast.stmt]]:
    """Yields public functions, classes, constants and methods, but no fields of a class."""
    for node in tree.body:
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            yield node.name, node
        if isinstance(node, ast.ClassDef):
            yield from ((each.name, each) for each in node.body if isinstance(each, FUNCTIONS))
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign):
            targets = [node.target]
        yield from ((each.id, node) for each in targets if isinstance(each, ast.Name))


def docstrings(tree: ast.AST) -> set[ast.AST]:
    """Returns the strings that are statements of their own: nothing runs them."""
    return {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}


def words(tree: ast.AST) -> Counter[str]:
    """Counts the names that code uses, also in strings: cells of notebooks, lazy imports."""
    found: Counter[str] = Counter()
    idle = docstrings(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            found[node.id] += 1
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            found[node.attr] += 1
        elif isinstance(node, ast.keyword) and node.arg:
            found[node.arg] += 1
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in idle:
            found.update(re.findall(r"\w+", node.value))
    return found


def used_elsewhere() -> Counter[str]:
    """Counts the names used by the sources, by scripts, by examples in pages and entry points."""
    found: Counter[str] = Counter()
    for path in [*SOURCES, *SCRIPTS]:
        if "tests" not in path.parts:
            found += words(ast.parse(path.read_text()))
    for page in PAGES:
        for block in re.findall(
            r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL
        ):
            found.update(re.findall(r"\w+", block))
    for path in ROOT.glob("packages/*/pyproject.toml"):
        project = tomllib.loads(path.read_text())["project"]
        points = [project.get("scripts", {}), *project.get("entry-points", {}).values()]
        found.update(value.rpartition(":")[2] for group in points for value in group.values())
    return found


def uncalled() -> list[str]:
    """Returns `module.py: name` for every public name without a caller."""
    used = used_elsewhere()
    found = []
    for path in SOURCES:
        for name, node in definitions(ast.parse(path.read_text())):
            if name.startswith("_") or name in ALLOWED:
                continue
            if any(re.fullmatch(each, name) for each in CALLBACKS):
                continue
            # what a definition uses itself, such as a recursion, is no caller
            if used[name] <= words(node)[name]:
                found.append(f"{path.relative_to(ROOT)}: {name}")
    return found


def test_every_public_name_has_a_caller() -> None:
    assert uncalled() == [], "remove these names, or use them"


def test_the_check_finds_a_name_without_a_caller() -> None:
    tree = ast.parse('"""used"""\ndef used(): return used()\nNAME = 1\nclass A:\n    x: int = 0\n')
    assert [name for name, _ in definitions(tree)] == ["used", "NAME", "A"]
    assert words(tree)["used"] == words(tree.body[1])["used"] == 1
