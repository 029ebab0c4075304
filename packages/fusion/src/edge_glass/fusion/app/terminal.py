"""Lines that a person types, and text that is printed in pieces."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator

import typer


def write_piece(text: str) -> None:
    """Prints a piece of an answer at once, without a line break."""
    typer.echo(text, nl=False)
    sys.stdout.flush()


def typed_lines(prompt: str) -> Iterator[str]:
    """Yields the lines that a person types in a terminal, until Ctrl-D or Ctrl-C.

    If Python has readline, the arrow keys edit a line and bring back earlier ones.
    """
    if importlib.util.find_spec("readline") is not None:
        import readline  # noqa: F401 - input() uses it once it is loaded
    while True:
        try:
            line = input(prompt)
        except (EOFError, KeyboardInterrupt):
            sys.stdout.write("\n")  # the shell's prompt then begins on its own line
            return
        yield line


def json_line(**row: object) -> str:
    """Returns a row as JSON, with escapes for what stdout can't hold, such as broken names."""
    line = json.dumps(row, ensure_ascii=False)
    try:
        line.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return json.dumps(row)
    return line
