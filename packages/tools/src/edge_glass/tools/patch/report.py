"""The summary of a run: what changed, what was left with the reason, what needs a person."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.syntax import Syntax

from edge_glass.tools.patch.batch import FileReport, Mode

_SECTIONS = {
    "plan": ("note",),
    "changed": ("changed",),
    "left": ("left",),
    "needs a person": ("person", "warning", "unparsed"),
}


class Printer:
    """Prints reports. `verbose`: also of notebooks with nothing to report."""

    def __init__(self, mode: Mode, *, verbose: bool) -> None:
        self._mode = mode
        self._verbose = verbose
        self._out = Console(soft_wrap=True, highlight=False)
        self._err = Console(stderr=True, soft_wrap=True, highlight=False)

    def print_report(self, report: FileReport) -> None:
        """Print the report of one notebook."""
        if report.error is not None:
            self._err.print(f"error: {report.error}", style="red", markup=False)
            return
        if report.diff:
            lexed = Syntax(report.diff, "diff", background_color="default")
            self._out.print(lexed if self._out.is_terminal else report.diff, markup=False)
        told = any(note.kind != "skipped" for note in report.notes)
        if not (report.changes or told or self._verbose):
            return
        for line in _lines(report, self._mode, verbose=self._verbose):
            self._out.print(line, markup=False)

    def print_total(self, reports: list[FileReport]) -> None:
        """Print the counts over all notebooks."""
        changed = sum(report.changes for report in reports)
        failed = sum(report.error is not None for report in reports)
        verb = "changed" if self._mode is Mode.WRITE else "would change"
        self._out.print(
            f"{len(reports)} notebooks: {changed} {verb}, {failed} failed", markup=False
        )
        if changed and self._mode is Mode.DIFF:
            self._out.print("nothing was written; --write does it", markup=False)


def _lines(report: FileReport, mode: Mode, *, verbose: bool) -> Iterator[str]:
    verb = "changed" if mode is Mode.WRITE else "would change"
    parts = [f"{len(report.changed_cells)} cells {verb}"]
    if report.cleared_cells:
        parts.append(f"outputs of {len(report.cleared_cells)} cells cleared")
    if report.backup is not None:
        parts.append(f"backup {report.backup}")
    yield f"{report.path}: {', '.join(parts)}"
    sections = _SECTIONS | ({"skipped": ("skipped",)} if verbose else {})
    for title, kinds in sections.items():
        notes = [note for note in report.notes if note.kind in kinds]
        if notes:
            yield f"  {title}"
        for note in notes:
            where = f"cell {note.cell + 1}: " if note.cell >= 0 else ""
            yield f"    {where}{note.message}"
