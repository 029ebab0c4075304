"""Every public name of the packages has a caller outside tests and benchmarks.

A name of a module counts as called if its own module uses it, or if a different file imports it
from there. A method has no import: any use of its name as an attribute counts, so two methods of
one name hide each other. The programs of pages are no callers.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = sorted(ROOT.glob("packages/*/src/**/*.py"))
SCRIPTS = sorted([*ROOT.glob("docs/*.py"), *ROOT.glob("examples/*/**/*.py")])
# Called by a library, by the name alone.
CALLBACKS = {
    r"forward": "torch.nn.Module",
    r"(visit|leave)_\w+": "libcst",
}
# Without a caller that this check finds, for this reason.
ALLOWED = {
    r"edge_glass\.training\.align\.contrastive\.matryoshka_loss": "the definition to read; tests "
    "compare the loss that trains with it",
    r"edge_glass\.training\.params\.load_params": "for programs such as those of "
    "docs/training-step.md; the command reads the file in two steps",
    r"edge_glass\.training\.stages\.\w+\.run": "runtime/run_stage.py finds it by the stage's name",
    r"edge_glass\.training\.stream\.parquet_dataset\.loader": "for programs such as that of "
    "docs/loading.md; no stage reads Parquet while it trains",
    r"edge_glass\.fusion\.evaluators\..*": "lmms-eval and CLIP_benchmark call them",
    r"edge_glass\..*\.push_to_hub": "for programs; `edge-glass push` uploads a saved folder",
    r"edge_glass\.tools\.create\.\w+\.NAME": "the file name of the notebook",
}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass
class Uses:
    """What one file uses.

    Attributes:
        names: how often each name is read.
        attributes: names after a dot or before `=` in a call.
        imports: (module, name) of each `from module import name`.
        words: words of the strings: cells of notebooks, lazy imports. Docstrings are left out.
    """

    names: Counter[str] = field(default_factory=Counter)
    attributes: Counter[str] = field(default_factory=Counter)
    imports: set[tuple[str, str]] = field(default_factory=set)
    words: Counter[str] = field(default_factory=Counter)


def uses(tree: ast.AST) -> Uses:
    found = Uses()
    idle = docstrings(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            found.names[node.id] += 1
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            found.attributes[node.attr] += 1
        elif isinstance(node, ast.keyword) and node.arg:
            found.attributes[node.arg] += 1
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.imports |= {(node.module, each.name) for each in node.names}
        elif isinstance(node, ast.Import):
            found.imports |= {(each.name, "") for each in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in idle:
            found.words.update(re.findall(r"\w+", node.value))
    return found


def docstrings(tree: ast.AST) -> set[ast.AST]:
    """Returns the strings that are statements of their own: nothing runs them."""
    return {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}


def definitions(tree: ast.Module) -> Iterator[tuple[str, ast.stmt, bool]]:
    """Yields name, node and whether it is a method, for all but fields of a class."""
    for node in tree.body:
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            yield node.name, node, False
        if isinstance(node, ast.ClassDef):
            yield from (
                (each.name, each, True) for each in node.body if isinstance(each, FUNCTIONS)
            )
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign):
            targets = [node.target]
        yield from ((each.id, node, False) for each in targets if isinstance(each, ast.Name))


def module_of(path: Path) -> str:
    """Returns the dotted name of a source file."""
    parts = path.with_suffix("").parts
    return ".".join(parts[parts.index("src") + 1 :]).removesuffix(".__init__")


def imports(user: Uses, module: str, name: str) -> bool:
    """Returns whether a file imports a name of a module, also by the module or in a string."""
    if (module, name) in user.imports:
        return True
    parent, _, last = module.rpartition(".")
    if {(parent, last), (module, "")} & user.imports and user.attributes[name]:
        return True
    return bool(user.words[name] and all(user.words[part] for part in module.split(".")))


def is_called(
    name: str, node: ast.stmt, *, method: bool, module: str, own: Uses, others: Iterable[Uses]
) -> bool:
    """Returns whether a file uses a definition; its own lines, such as a recursion, don't count."""
    inside = uses(node)
    if method:
        outside = own.attributes + own.words
        if outside[name] > (inside.attributes + inside.words)[name]:
            return True
        return any(each.attributes[name] or each.words[name] for each in others)
    if own.names[name] > inside.names[name] or own.words[name] > inside.words[name]:
        return True
    return any(imports(each, module, name) for each in others)


def entry_points() -> Uses:
    """Returns the names that the packages register for others: commands and components."""
    found = Uses()
    for path in ROOT.glob("packages/*/pyproject.toml"):
        project = tomllib.loads(path.read_text())["project"]
        points = [project.get("scripts", {}), *project.get("entry-points", {}).values()]
        for value in (value for group in points for value in group.values()):
            module, _, name = value.partition(":")
            found.imports.add((module, name))
    return found


def is_command(node: ast.stmt) -> bool:
    """Returns whether a decorator gives the function to typer, which calls it."""
    decorators = node.decorator_list if isinstance(node, FUNCTIONS) else []
    return any(re.search(r"\.(command|callback)\(", ast.unparse(each)) for each in decorators)


def uncalled() -> list[str]:
    """Returns `module.py: name` for every public name without a caller."""
    trees = {path: ast.parse(path.read_text()) for path in SOURCES}
    used = {path: uses(tree) for path, tree in trees.items()}
    scripts = [uses(ast.parse(path.read_text())) for path in SCRIPTS if "tests" not in path.parts]
    scripts.append(entry_points())
    found = []
    for path, tree in trees.items():
        others = [*(each for other, each in used.items() if other != path), *scripts]
        for name, node, method in definitions(tree):
            module = module_of(path)
            if name.startswith("_") or is_command(node):
                continue
            if any(re.fullmatch(each, name) for each in CALLBACKS):
                continue
            if any(re.fullmatch(each, f"{module}.{name}") for each in ALLOWED):
                continue
            if not is_called(
                name, node, method=method, module=module, own=used[path], others=others
            ):
                found.append(f"{path.relative_to(ROOT)}: {name}")
    return found


def test_every_public_name_has_a_caller() -> None:
    assert uncalled() == [], "remove these names, or use them"


def test_the_check_finds_a_name_without_a_caller() -> None:
    tree = ast.parse('"""used"""\ndef used(): return used()\nNAME = 1\nclass A:\n    x: int = 0\n')
    assert [name for name, _, _ in definitions(tree)] == ["used", "NAME", "A"]
    (_, node, _), *_ = definitions(tree)

    def called_by(text: str) -> bool:
        return is_called(
            "used", node, method=False, module="a.b", own=uses(tree), others=[uses(ast.parse(text))]
        )

    assert not called_by("used = 1\nprint(used)")
    assert not called_by("from a.c import used")
    assert called_by("from a.b import used")
    assert called_by("from a import b\nb.used()")
    assert called_by("CELL = 'from a.b import used'")
