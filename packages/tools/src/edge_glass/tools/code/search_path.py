"""Where imports are looked up: beside the notebook, on `sys.path`, in what it installs.

Expressions such as `str(Path.cwd().parent / "src")` are computed here, by a reader that knows the
path functions and nothing else.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Sequence
from pathlib import Path

from edge_glass.tools.code.cells import PythonCell
from edge_glass.tools.code.expressions import dotted

_CD = re.compile(r"%?cd\s+(?:-q\s+)?(.+)")
_INSTALL = re.compile(r"[%!]\s*(?:python3?\s+-m\s+|\{sys\.executable\}\s+-m\s+|uv\s+)?"
                      r"(?:pip3?|conda|mamba)\s+install\s+(.*)", re.DOTALL)  # fmt: skip
# Distributions whose module has a different name.
_MODULES = {
    "beautifulsoup4": "bs4",
    "faiss-cpu": "faiss",
    "faiss-gpu": "faiss",
    "huggingface-hub": "huggingface_hub",
    "open-clip-torch": "open_clip",
    "opencv-python": "cv2",
    "opencv-python-headless": "cv2",
    "pillow": "PIL",
    "python-dateutil": "dateutil",
    "python-dotenv": "dotenv",
    "pyyaml": "yaml",
    "scikit-image": "skimage",
    "scikit-learn": "sklearn",
    "umap-learn": "umap",
}


class SearchPath:
    """The folders in which a notebook's modules are looked up, in order of first use."""

    def __init__(self, cells: Sequence[PythonCell], folder: Path) -> None:
        self.folder = folder
        self.folders: list[Path] = [folder]
        self.installed: set[str] = set()  # modules that the notebook itself installs
        self._values: dict[str, Path] = {}
        self._working = folder
        for cell in cells:
            for line in cell.hidden:
                self._magic(line)
            if any(word in cell.text for word in ("path", "Path", "chdir", "dir(", "cwd")):
                for node in cell.nodes:
                    self._statement(node)

    def _add(self, path: Path | None) -> None:
        if path is not None and path not in self.folders:
            self.folders.append(path)

    def _magic(self, line: str) -> None:
        moved = _CD.fullmatch(line.strip())
        if moved is not None:
            self._working = _joined(self._working, moved[1].strip().strip("'\""))
            self._add(self._working)
        install = _INSTALL.match(line)
        if install is not None:
            self._install(install[1].replace("\\\n", " ").split("#")[0].split("&&")[0].split())

    def _install(self, words: Sequence[str]) -> None:
        previous = ""
        for word in words:
            text = word.strip("'\"")
            local = text.partition("[")[0] if text.startswith((".", "/")) else ""
            if previous in ("-r", "--requirement"):
                self._requirements(_joined(self._working, text))
            elif local:
                project = _joined(self._working, local)
                self._add(project)
                self._add(project / "src")
            elif not text.startswith("-") and previous not in ("-c", "-f", "-i", "--index-url"):
                self.installed |= modules_of(text)
            previous = text

    def _requirements(self, path: Path) -> None:
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except (OSError, ValueError):
            return
        for line in lines:
            text = line.partition("#")[0].strip()
            if text and not text.startswith("-"):
                self.installed |= modules_of(text)

    def read(self, node: ast.Assign) -> None:
        """Remember a variable that holds a path."""
        value = self.value(node.value)
        for target in node.targets:
            if isinstance(target, ast.Name) and value is not None:
                self._values[target.id] = value

    def _statement(self, node: ast.AST) -> None:
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target = node.targets[0]
            self.read(node)
            if dotted(target) in ("sys.path", "sys.path[:]"):
                self._each(node.value)
        elif isinstance(node, ast.AugAssign) and dotted(node.target) == "sys.path":
            self._each(node.value)
        elif isinstance(node, ast.Call):
            called = dotted(node.func) or ""
            if called in ("sys.path.append", "site.addsitedir", "path.append") and node.args:
                self._add(self.value(node.args[0]))
            elif called in ("sys.path.insert", "path.insert") and len(node.args) == 2:
                self._add(self.value(node.args[1]))
            elif called == "sys.path.extend" and node.args:
                self._each(node.args[0])
            elif called in ("os.chdir", "chdir") and node.args:
                moved = self.value(node.args[0])
                if moved is not None:
                    self._working = moved
                    self._add(moved)

    def _each(self, node: ast.expr) -> None:
        for part in ast.walk(node):
            if isinstance(part, (ast.List, ast.Tuple)):
                for element in part.elts:
                    self._add(self.value(element))

    def value(self, node: ast.expr) -> Path | None:
        """Return the path that an expression stands for, or None if it cannot be computed."""
        text = self._text(node)
        return None if text is None else _joined(self._working, text)

    def _text(self, node: ast.expr) -> str | None:
        if isinstance(node, ast.Constant):
            return node.value if isinstance(node.value, str) else None
        if isinstance(node, ast.Name):
            known = self._values.get(node.id)
            return str(known) if known is not None else None
        if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Div, ast.Add)):
            left, right = self._text(node.left), self._text(node.right)
            if left is None or right is None:
                return None
            return left + right if isinstance(node.op, ast.Add) else os.path.join(left, right)  # noqa: PTH118
        if isinstance(node, ast.JoinedStr):
            parts = [self._text(each.value if isinstance(each, ast.FormattedValue) else each)
                     for each in node.values]  # fmt: skip
            return None if None in parts else "".join(filter(None, parts))
        if isinstance(node, ast.Attribute):
            return self._attribute(node)
        if isinstance(node, ast.Subscript):
            return self._parent(node)
        return self._call(node) if isinstance(node, ast.Call) else None

    def _attribute(self, node: ast.Attribute) -> str | None:
        if dotted(node) in ("os.pardir", "os.path.pardir"):
            return ".."
        if dotted(node) in ("os.curdir", "os.path.curdir"):
            return "."
        path = self.value(node.value) if node.attr == "parent" else None
        return str(path.parent) if path is not None else None

    def _parent(self, node: ast.Subscript) -> str | None:
        """Read `path.parents[1]`."""
        inner = node.value
        if not (isinstance(inner, ast.Attribute) and inner.attr == "parents"):
            return None
        path = self.value(inner.value)
        number = node.slice.value if isinstance(node.slice, ast.Constant) else None
        if path is None or not isinstance(number, int) or not 0 <= number < len(path.parents):
            return None
        return str(path.parents[number])

    def _call(self, node: ast.Call) -> str | None:
        called = dotted(node.func) or ""
        if called in ("os.getcwd", "Path.cwd", "pathlib.Path.cwd"):
            return str(self._working)
        name = node.func.attr if isinstance(node.func, ast.Attribute) else called
        arguments = [self._text(each) for each in node.args]
        if isinstance(node.func, ast.Attribute) and not called.startswith(("os.", "pathlib.")):
            start = self._text(node.func.value)
            if start is None and called not in ("path.join", "path.abspath", "path.dirname"):
                return None
            if name in ("resolve", "absolute", "as_posix", "expanduser"):
                return start
            if name == "joinpath":
                arguments = [start, *arguments]
        texts = [each for each in arguments if each is not None]
        if len(texts) != len(arguments) or not (texts or name == "Path"):
            return None
        if name in ("abspath", "realpath", "normpath", "expanduser", "str", "fspath"):
            return texts[0]
        if name in ("join", "joinpath", "Path", "PurePath"):
            return os.path.join(*texts) if texts else "."  # noqa: PTH118
        return str(_joined(self._working, texts[0]).parent) if name == "dirname" else None


def modules_of(requirement: str) -> set[str]:
    """Return the names of the modules that a requirement such as `scikit-learn>=1` may bring."""
    text = requirement.split("#egg=")[-1]
    if "://" in text:
        text = text.rstrip("/").rpartition("/")[2].partition("@")[0].removesuffix(".git")
    text = text.rpartition("::")[2]
    match = re.match(r"[A-Za-z0-9][\w.-]*", text)
    if match is None:
        return set()
    name = re.sub(r"[-_.]+", "-", match[0]).lower()
    plain = name.replace("-", "_")
    return {plain, plain.removeprefix("python_"), _MODULES.get(name, plain), match[0]}


def _joined(folder: Path, text: str) -> Path:
    try:
        path = Path(text).expanduser()
    except RuntimeError:  # no such user
        path = Path(text)
    return Path(os.path.normpath(folder / path))
