"""Finds modules and reads their sources. Nothing is imported."""

from __future__ import annotations

import ast
import sys
import sysconfig
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path

from edge_glass.tools.code.bindings import body_nodes, targets
from edge_glass.tools.code.cells import parse
from edge_glass.tools.code.search_path import SearchPath

_COMPILED = (".so", ".pyd", ".pyc")
# A module file larger than this is not read: it is generated code.
_MAX_BYTES = 2_000_000


@dataclass(frozen=True)
class Module:
    """A module that exists. `file` is its source; None if it is compiled or only a folder."""

    name: str
    file: Path | None
    folder: Path | None = None  # where submodules are, if it is a package
    local: bool = True  # beside the notebook or on its `sys.path`; not installed

    @property
    def tree(self) -> ast.Module | None:
        """The syntax of the source, or None if there is none or it does not parse."""
        parsed = _read(self.file) if self.file is not None else None
        return parsed.tree if parsed is not None else None

    @property
    def index(self) -> Mapping[str, list[ast.AST]]:
        """What binds each name of the top level; the star imports are under `*`."""
        parsed = _read(self.file) if self.file is not None else None
        return parsed.index if parsed is not None else {}


class Modules:
    """The modules that a notebook can import."""

    def __init__(self, search: SearchPath, written: frozenset[str] = frozenset()) -> None:
        self._search = search
        self._written = written  # by `%%writefile` cells
        self._found: dict[str, Module | None] = {}

    def find(self, name: str) -> Module | None:
        """Return the module `name`, or None if there is no such module."""
        if name not in self._found:
            self._found[name] = self._find(name)
        return self._found[name]

    def exists(self, name: str) -> bool:
        """Whether `name` can be imported, as far as that shows without importing it.

        Below the top level, packages other than the notebook's own may make up modules when they
        are imported, so that only the top level of those is looked up.
        """
        top = name.partition(".")[0]
        if top in self._search.installed or top in self._written or top in sys.builtin_module_names:
            return True
        found = self.find(top)
        if found is None or not found.local or top == name:
            return found is not None
        return self.find(name) is not None

    def relative(self, module: Module, statement: ast.ImportFrom) -> str:
        """Return the absolute name of the module that an import in `module` names."""
        if not statement.level:
            return statement.module or ""
        parts = module.name.split(".")
        is_package = module.file is None or module.file.name == "__init__.py"
        kept = parts[: len(parts) - statement.level + is_package]
        return ".".join([*kept, *([statement.module] if statement.module else [])])

    def _find(self, name: str) -> Module | None:
        parts = name.split(".")
        if not all(part.isidentifier() for part in parts):
            return None
        if len(parts) > 1 and self.find(parts[0]) is None:
            return None
        for folder in self._search.folders:
            module = _in_folder(folder, parts)
            if module is not None:
                return module
        return _installed(name)


def bound_names(module: Module) -> set[str] | None:
    """Return the names that a module's top level binds; None if that cannot be known."""
    names = set(module.index)
    if module.tree is None or {"*", "__getattr__"} & names:
        return None
    return names


def _in_folder(folder: Path, parts: list[str]) -> Module | None:
    base = folder.joinpath(*parts)
    name = ".".join(parts)
    try:
        if (base / "__init__.py").is_file():
            return Module(name, base / "__init__.py", base)
        source = base.with_name(f"{base.name}.py")
        if source.is_file():
            return Module(name, source)
        if any(each.suffix in _COMPILED for each in base.parent.glob(f"{base.name}.*")):
            return Module(name, None)
        if base.is_dir() and any(base.glob("**/*.py")):
            return Module(name, None, base)
    except (OSError, ValueError):
        return None
    return None


@lru_cache(maxsize=4096)
def _installed(name: str) -> Module | None:
    parts = name.split(".")
    try:
        spec = find_spec(parts[0])
    except (ValueError, ImportError, AttributeError):  # __main__ and the like
        return None
    for number in range(1, len(parts)):
        if spec is None or spec.submodule_search_locations is None:
            return None
        places = list(spec.submodule_search_locations)
        spec = PathFinder.find_spec(".".join(parts[: number + 1]), places)
    if spec is None:
        return None
    file = Path(spec.origin) if spec.origin and spec.origin.endswith(".py") else None
    if spec.origin == "frozen":  # `os` and others are part of the interpreter; the source is there
        folder = Path(sysconfig.get_path("stdlib"))
        module = _in_folder(folder, parts)
        file = module.file if module is not None else None
    folders = list(spec.submodule_search_locations or [])
    return Module(name, file, Path(folders[0]) if folders else None, local=False)


class _Parsed:
    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree

    @cached_property
    def index(self) -> dict[str, list[ast.AST]]:
        found: dict[str, list[ast.AST]] = {}
        for node in body_nodes(self.tree.body):
            for name in targets(node):
                found.setdefault(name, []).append(node)
            if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
                found.setdefault("*", []).append(node)
        return found


def _read(file: Path) -> _Parsed | None:
    try:
        status = file.stat()
    except (OSError, ValueError):
        return None
    if status.st_size > _MAX_BYTES:
        return None
    return _parsed(str(file), status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=512)
def _parsed(file: str, _changed: int, _size: int) -> _Parsed | None:
    try:
        with tokenize.open(file) as stream:  # it honours a coding line
            tree = parse(stream.read())
    except (OSError, SyntaxError, UnicodeError, LookupError):
        return None
    return _Parsed(tree) if tree is not None else None
