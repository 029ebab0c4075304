"""Which paths a notebook writes itself, so that they need not exist before it runs."""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Sequence
from fnmatch import translate

from edge_glass.tools.code.cells import PythonCell
from edge_glass.tools.code.expressions import dotted, text_of

_WRITERS = re.compile(
    r"save|write|dump|mkdir|makedirs|export|download|copy|remove|rename|replace|move|touch"
    r"|symlink|extract|unpack|urlretrieve|^to_"
)
_OUTPUT = re.compile(
    r"(?:out|output|save|log|logging|cache)_(?:dir|path|file|folder|name|root)|local_dir|dirpath"
)
_PATHS = frozenset({"Path", "PurePath", "join", "joinpath", "str", "abspath", "resolve", "fspath"})
_OPENS = frozenset({"open", "ZipFile", "memmap", "File"})
# In a shell line: commands that make the files that they name, and options for a file to write.
_MAKERS = re.compile(r"(?:mkdir|touch|cp|mv|ln|tee|tar|unzip|gdown|git clone|wget|curl)\b[^|;&>]*")
_OPTION = re.compile(
    r"(?:(?<=\s)-[OoPd][ =]?|>{1,2}|--(?:out|save|log|local-dir)[\w-]*[ =])\s*([^\s|;&<>]+)"
)


class Written:
    """The paths that the cells of a notebook write, as patterns: `runs/epoch_*.pt`."""

    def __init__(self, cells: Sequence[PythonCell]) -> None:
        self._values: dict[str, set[str]] = {}  # variable -> the paths that it may hold
        self._patterns: set[str] = set()
        nodes = [node for cell in cells for node in cell.nodes]
        for node in nodes:
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    self._values.setdefault(dotted(target) or "", set()).update(
                        self._paths(node.value)
                    )
        for node in nodes:
            if isinstance(node, ast.Call):
                self._call(node)
            elif isinstance(node, ast.Dict):
                for key, value in zip(node.keys, node.values, strict=True):
                    if _OUTPUT.fullmatch(text_of(key) or ""):
                        self._add(value)
        for cell in cells:
            for line in cell.hidden:
                self._patterns |= _made_by_shell(line)
        named = {each for each in self._patterns if re.search(r"\w", each)}
        self._plain = {each for each in named if not re.search(r"[*?\[]", each)}
        open_ends = [each.removeprefix("*/") for each in named - self._plain]
        self._open = re.compile(
            "|".join(map(translate, [*named - self._plain, *open_ends])) or "$a"
        )

    def holds(self, path: str) -> bool:
        """Whether the notebook writes a path, or a folder that it lies in."""
        parts = posixpath.normpath(path).split("/")
        inside = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
        return any(each in self._plain or self._open.match(each) for each in inside)

    def _call(self, node: ast.Call) -> None:
        function = node.func
        name = function.attr if isinstance(function, ast.Attribute) else dotted(function) or ""
        for keyword in node.keywords:
            if _OUTPUT.fullmatch(keyword.arg or ""):
                self._add(keyword.value)
        if not (_WRITERS.search(name) or (name in _OPENS and _opens_to_write(node))):
            return
        for value in [*node.args, *(each.value for each in node.keywords)]:
            self._add(value)
        if isinstance(function, ast.Attribute):
            self._add(function.value)  # `Path("a").write_text(…)`

    def _add(self, node: ast.expr) -> None:
        self._patterns |= {posixpath.normpath(each) for each in self._paths(node)}

    def _paths(self, node: ast.expr) -> set[str]:
        """Return the paths that an expression may be; `*` stands for what is not known."""
        text = text_of(node)
        if text is not None:
            return {text} if text and "\n" not in text else set()
        name = dotted(node)
        if name is not None:
            return self._values.get(name, set())
        if isinstance(node, ast.JoinedStr):
            return {"".join(text_of(part) or "*" for part in node.values)}
        if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Div, ast.Add)):
            between = "/" if isinstance(node.op, ast.Div) else ""
            left, right = (self._paths(each) or {"*"} for each in (node.left, node.right))
            return {a + between + b for a in left for b in right if (a, b) != ("*", "*")}
        if isinstance(node, ast.Call):
            function = node.func
            method = function.attr if isinstance(function, ast.Attribute) else dotted(function)
            if method not in _PATHS:
                return set()
            parts = [self._paths(each) for each in node.args]
            if isinstance(function, ast.Attribute) and method in ("joinpath", "resolve"):
                parts = [self._paths(function.value), *parts]
            whole = [next(iter(sorted(each)), "*") for each in parts]
            return {"/".join(whole)} if any(each != "*" for each in whole) else set()
        return set()


def _made_by_shell(line: str) -> set[str]:
    words = set(_OPTION.findall(line))
    for command in _MAKERS.findall(line):
        for word in command.split()[1:]:
            words.add(word.rpartition("/")[2] if "://" in word else word)
    return {posixpath.normpath(word.strip("'\"")) for word in words}


def _opens_to_write(node: ast.Call) -> bool:
    """Whether a mode that is given writes: `open(path, "wb")`, `path.open("a")`."""
    given = [*node.args, *(each.value for each in node.keywords if each.arg == "mode")]
    return any(re.fullmatch(r"[wax][bt]?\+?|r[bt]?\+", text_of(each) or "") for each in given)
