"""Lines that a person types in a terminal."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator


def terminal_lines(prompt: str) -> Iterator[str]:
    """Gives line by line what is typed after `prompt`, until Ctrl-D or Ctrl-C.

    Where Python has readline, arrow keys edit and bring back earlier lines.
    """
    if importlib.util.find_spec("readline") is not None:
        import readline  # noqa: F401 - input() uses it once it is loaded
    while True:
        try:
            line = input(prompt)
        except (EOFError, KeyboardInterrupt):
            sys.stdout.write("\n")  # the shell's prompt begins on a line of its own
            return
        yield line
