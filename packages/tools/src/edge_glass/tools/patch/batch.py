"""Patches over many files: shown, written or checked; a bad file does not stop the others."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from edge_glass.tools.atomic_file import FileRefusedError, replace_file
from edge_glass.tools.notebook import Notebook, NotebookError, parse_notebook, read_notebook
from edge_glass.tools.patch.outputs import stale_outputs
from edge_glass.tools.patch.rewrite import Note, Outcome, Patch, Review, rewrite_notebook

# Fewer files are done before a second process has started.
_MANY_FILES = 24
_MAX_PROCESSES = 8
_CHUNK = 4  # files that a process takes at a time


class Mode(StrEnum):
    """What to do with a notebook that would change."""

    DIFF = "diff"  # show it
    WRITE = "write"  # replace the file, keep a backup
    CHECK = "check"  # only report it


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to do with each file.

    Attributes:
        patches: those to run, in order.
        review: reads the final code and returns further notes.
        clear_outputs: also clear the outputs that no longer fit the code.
    """

    patches: Sequence[Patch]
    review: Review | None = None
    clear_outputs: bool = False


@dataclass(frozen=True, kw_only=True)
class FileReport:
    """What became of one file."""

    path: Path
    changed_cells: tuple[int, ...] = ()
    cleared_cells: tuple[int, ...] = ()
    notes: tuple[Note, ...] = ()
    diff: str = ""
    backup: Path | None = None
    error: str | None = None

    @property
    def changes(self) -> bool:
        """Whether the file changes."""
        return bool(self.changed_cells or self.cleared_cells)


def patch_files(paths: Iterable[Path], job: Job, mode: Mode) -> Iterator[FileReport]:
    """Patch each file and yield its report, in order. Nothing but `Mode.WRITE` changes a file.

    Many files are shared out over the CPU's cores, unless a third party's patch is among the
    patches: it need not work in a process of its own.
    """
    files = list(paths)
    own = all(type(patch).__module__.startswith("edge_glass.tools.") for patch in job.patches)
    cores = min(_cores(), _MAX_PROCESSES)
    # A file that is named twice is patched one time after the other.
    if len(files) < _MANY_FILES or cores == 1 or not own or len(set(files)) < len(files):
        for path in files:
            yield _report(path, job, mode)
        return
    # "spawn" is the way that all systems have.
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
        work = partial(_report, job=job, mode=mode)
        yield from pool.map(work, files, chunksize=_CHUNK)


def exit_status(reports: Iterable[FileReport], mode: Mode) -> int:
    """Return 2 if a file failed, 1 if a check found something to change, else 0."""
    reports = list(reports)
    if any(report.error for report in reports):
        return 2
    return int(mode is Mode.CHECK and any(report.changes for report in reports))


def _cores() -> int:
    """Return how many cores this process may use; macOS has no affinity."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _report(path: Path, job: Job, mode: Mode) -> FileReport:
    try:
        return _patch_file(path, job, mode)
    except (NotebookError, FileRefusedError) as error:
        return FileReport(path=path, error=str(error))


def _patch_file(path: Path, job: Job, mode: Mode) -> FileReport:
    notebook = read_notebook(path)
    outcome = rewrite_notebook(notebook, job.patches, job.review)
    cleared = stale_outputs(notebook, outcome.sources) if job.clear_outputs else ()
    backup = None
    if outcome.sources or cleared:
        text = notebook.replaced(outcome.sources, cleared)
        _prove(notebook, outcome, text)
        if mode is Mode.WRITE:
            backup = replace_file(path, notebook.text.encode(), text.encode())
    return FileReport(
        path=path,
        changed_cells=tuple(sorted(outcome.sources)),
        cleared_cells=tuple(cleared),
        notes=outcome.notes,
        diff=_diff(notebook, outcome) if mode is Mode.DIFF else "",
        backup=backup,
    )


def _prove(notebook: Notebook, outcome: Outcome, text: str) -> None:
    """Read the new text back: it is a notebook whose cells hold exactly what was meant."""
    again = parse_notebook(text, notebook.path)
    for old, new in zip(notebook.cells, again.cells, strict=True):
        if new.source != outcome.sources.get(old.index, old.source):
            raise NotebookError(f"{notebook.path}: {old.label} would not read back; not written")


def _diff(notebook: Notebook, outcome: Outcome) -> str:
    pieces: list[str] = []
    for index, source in sorted(outcome.sources.items()):
        cell = notebook.cells[index]
        title = f"{notebook.path}: {cell.label}"
        lines = difflib.unified_diff(
            cell.source.splitlines(), source.splitlines(), title, title, lineterm=""
        )
        pieces += [*lines, ""]
    return "\n".join(pieces)
