"""Commands in the pages, as a reader would type them."""

from __future__ import annotations

import re
from pathlib import Path


def commands(page: Path) -> list[str]:
    """The lines after a `$` in the console blocks of a page, continued lines joined."""
    blocks = re.findall(r"^```console\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [line.removeprefix("$ ").split(" # ")[0].strip() for line in lines if line[:2] == "$ "]
