"""How many devices a notebook leaves visible: `os.environ["CUDA_VISIBLE_DEVICES"] = "1"`."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence

from edge_glass.tools.code.cells import PythonCell
from edge_glass.tools.code.expressions import text_of

NAME = "CUDA_VISIBLE_DEVICES"
_MAGIC = re.compile(rf"%(?:set_)?env\s+{NAME}[\s=]\s*(\S*)")


def visible_devices(cells: Sequence[PythonCell]) -> tuple[int, int] | None:
    """Return the cell that limits the devices, and their number; None if none does."""
    for cell in cells:
        texts = [match[1] for line in cell.hidden for match in _MAGIC.finditer(line)]
        if NAME in cell.text:
            texts += [text for node in cell.nodes for text in _given(node)]
        if texts:
            count = 0
            for part in texts[-1].strip("\"'").split(","):
                if not part.strip() or part.strip() == "-1":
                    break
                count += 1
            return cell.index, count
    return None


def _given(node: ast.AST) -> list[str]:
    """Return the value that a node gives the variable, if it is a literal."""
    pairs: list[tuple[ast.expr | None, ast.expr]] = []
    if isinstance(node, ast.Assign):
        slices = [each.slice for each in node.targets if isinstance(each, ast.Subscript)]
        pairs = [(each, node.value) for each in slices]
    elif isinstance(node, ast.Dict):
        pairs = list(zip(node.keys, node.values, strict=True))
    elif isinstance(node, ast.Call) and len(node.args) == 2:
        pairs = [(node.args[0], node.args[1])]
    texts = [text_of(value) for key, value in pairs if text_of(key) == NAME]
    return [text for text in texts if text is not None]
