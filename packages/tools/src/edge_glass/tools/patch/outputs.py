"""Which outputs of a notebook no longer fit its code."""

from __future__ import annotations

from collections.abc import Mapping

from edge_glass.tools.notebook import Notebook


def stale_outputs(notebook: Notebook, sources: Mapping[int, str]) -> tuple[int, ...]:
    """Return the indices of the code cells whose outputs are to be cleared.

    These are the cells with outputs from the first changed one on. All cells are, if they did not
    run once from top to bottom, or if one of them failed.

    Args:
        notebook: the notebook before the change.
        sources: the new sources by cell index.
    """
    code = [cell for cell in notebook.cells if cell.kind == "code"]
    counts = [notebook.text[slice(*cell.count)] for cell in code if cell.count is not None]
    run = [count for count in counts if count != "null"]
    in_order = run == [str(number) for number in range(1, len(run) + 1)]
    outputs = [notebook.text[slice(*cell.outputs)] for cell in code if cell.outputs is not None]
    failed = any('"ename"' in each for each in outputs)
    first = min(sources, default=len(notebook.cells)) if in_order and not failed else 0
    return tuple(cell.index for cell in code if cell.index >= first and notebook.has_run(cell))
