"""Typed lines, on a real pseudo-terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

CODE = (
    "from edge_glass.fusion.app.terminal import terminal_lines\n"
    "for line in terminal_lines('> '):\n    print(f'<{line}>', flush=True)\n"
    "print('over', flush=True)"
)


def typed(end: bytes) -> list[str]:
    """What a terminal shows where two lines are typed and then `end`."""
    master, slave = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", CODE], stdin=slave, stdout=slave) as process:
        os.close(slave)
        shown = b""
        for answer, keys in ((b"> ", b"one\n"), (b"<one>\r\n> ", b"two\n"), (b"<two>\r\n> ", end)):
            while not shown.endswith(answer):
                shown += os.read(master, 1024)
            os.write(master, keys)
        while b"over" not in shown:
            shown += os.read(master, 1024)
        assert process.wait() == 0
    os.close(master)
    return shown.decode().splitlines()


def test_lines_come_until_control_d() -> None:
    assert [line for line in typed(b"\x04") if "<" in line or "over" in line] == [
        "<one>",
        "<two>",
        "over",
    ]
