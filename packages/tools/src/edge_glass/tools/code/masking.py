"""Hides what IPython adds to Python behind names that parse, and brings it back unchanged.

    %matplotlib inline          __eg_magic_0__
    files = !ls data      ->    files = __eg_magic_1__
    %time model.cuda()          __eg_magic_2__;model.cuda()

A line is only a magic if a Python statement could begin there: `% width` in brackets or a string
is not one, so strings, brackets and continued lines are followed. If this guess is wrong, the
masked text does not parse and the cell is left alone; `restore` gives back every byte either way.
"""

from __future__ import annotations

import ast
import re
import warnings
from dataclasses import dataclass

# The body of these cell magics is Python that runs in the notebook's own namespace.
PYTHON_CELL_MAGICS = frozenset({"capture", "memit", "prun", "snakeviz", "time", "timeit"})
# What follows these line magics is a Python statement.
_PYTHON_LINE_MAGIC = re.compile(
    r"(%(?:time|timeit|prun|memit|snakeviz)[ \t]+(?:-[a-zA-Z]+[ \t]*\d*[ \t]+)*)(?![!%])(\S.*)"
)

_ANY_MAGIC = re.compile(r"^\s*[%!?,;/]|\?[ \t]*$|\?[ \t]*#|=\s*[%!](?!=)", re.MULTILINE)
_ASSIGNED = re.compile(r"([\w\s.,\[\]()*'\"]+?=\s*)([%!](?!=).*)")
_TOKEN = re.compile(
    r"""(?P<comment>\#.*)
      | (?P<triple>\"\"\"|''')
      | (?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')
      | (?P<open>[(\[{]) | (?P<close>[)\]}])
      | (?P<continued>\\$)""",
    re.VERBOSE,
)


class MaskError(Exception):
    """The cell has no Python that could be worked on; the message is the reason."""


@dataclass(frozen=True)
class Masked:
    """Python text with placeholders, and what each stands for, in order."""

    text: str
    hidden: tuple[str, ...]
    stem: str

    def restore(self, text: str) -> str:
        """Put the hidden parts back into `text`, a rewritten form of `self.text`.

        Raises:
            MaskError: A placeholder was lost, doubled or moved before another.
        """
        found = [int(number) for number in re.findall(rf"{self.stem}(\d+)__", text)]
        if found != list(range(len(self.hidden))):
            raise MaskError("a magic or shell line would be lost, doubled or moved")
        return re.sub(rf"{self.stem}(\d+)__;?", lambda match: self.hidden[int(match[1])], text)


def mask(source: str) -> Masked:
    """Mask the IPython syntax of a code cell.

    Raises:
        MaskError: The cell is another language's (`%%bash`, `%%html`, …).
    """
    stem = "__eg_magic_"
    while stem in source:
        stem += "_"
    if not _ANY_MAGIC.search(source):
        return Masked(source, (), stem)
    lines = re.split(r"(?<=\n)", source)
    hidden: list[str] = []

    def hide(text: str) -> str:
        hidden.append(text)
        return f"{stem}{len(hidden) - 1}__"

    state = _Lexer()
    started = False
    out: list[str] = []
    position = 0
    while position < len(lines):
        line, end = _split_end(lines[position])
        position += 1
        body = line.lstrip()
        indent = line[: len(line) - len(body)]
        if not state.at_statement:
            state.feed(line)
            out.append(line + end)
            continue
        if not started and body.startswith("%%"):
            name = re.match(r"%%(\w*)", body)
            if name is None or name[1] not in PYTHON_CELL_MAGICS:
                raise MaskError(f"holds another language: {body.split()[0]}")
        started = started or bool(body)
        before, magic = _find_magic(body)
        if magic is None:
            state.feed(line)
            out.append(line + end)
            continue
        python = None if magic.startswith("%%") else _PYTHON_LINE_MAGIC.fullmatch(magic)
        if python is not None and not before and _is_simple_statement(python[2]):
            out.append(f"{indent}{hide(python[1])};{python[2]}{end}")
            continue
        while magic.endswith("\\") and position < len(lines):
            line, next_end = _split_end(lines[position])
            magic, end = magic + end + line, next_end
            position += 1
        out.append(indent + before + hide(magic) + end)
    return Masked("".join(out), tuple(hidden), stem)


def _find_magic(body: str) -> tuple[str, str | None]:
    """Split a statement's first line into the Python before a magic and the magic, if any."""
    if body[:1] and body[0] in "%!?,;/":
        return "", body
    assigned = _ASSIGNED.fullmatch(body)
    if assigned and not (assigned[1].count('"') % 2 or assigned[1].count("'") % 2):
        return assigned[1], assigned[2]
    if re.fullmatch(r"[^'\"#]*\?[ \t]*(#.*)?", body):
        return "", body
    return "", None


def _is_simple_statement(code: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "invalid escape sequence" in a notebook
        try:
            ast.parse(f"x;{code}")
        except (SyntaxError, ValueError):
            return False
    return True


def _split_end(line: str) -> tuple[str, str]:
    text = line.rstrip("\r\n")
    return text, line[len(text) :]


class _Lexer:
    """Follows strings, brackets and backslashes, to know where a statement can begin."""

    def __init__(self) -> None:
        self._depth = 0
        self._quote = ""  # the triple quote that is open
        self._continued = False

    @property
    def at_statement(self) -> bool:
        return not (self._depth or self._quote or self._continued)

    def feed(self, line: str) -> None:
        self._continued = False
        at = 0
        while at < len(line):
            if self._quote:
                close = re.compile(rf"(?:\\.|(?!{self._quote}).)*{self._quote}").match(line, at)
                if close is None:
                    return
                at, self._quote = close.end(), ""
                continue
            token = _TOKEN.search(line, at)
            if token is None:
                return
            at = token.end()
            if token["triple"]:
                self._quote = token["triple"]
            elif token["open"]:
                self._depth += 1
            elif token["close"]:
                self._depth = max(0, self._depth - 1)
            elif token["continued"]:
                self._continued = True
