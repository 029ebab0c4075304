"""`edge-glass-notebooks patch …`: one subcommand a patch, each with its own options."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.syntax import Syntax

from edge_glass.tools.patch.plugins import load_plugin, plugin_names

if TYPE_CHECKING:
    from edge_glass.tools.patch.batch import FileReport
    from edge_glass.tools.patch.rewrite import Patch

app = typer.Typer(
    no_args_is_help=True, help="Rewrite notebooks by syntax; shows a diff by default."
)

Notebooks = Annotated[list[Path], typer.Argument(help="Notebook files.", show_default=False)]
Diff = Annotated[bool, typer.Option("--diff", help="Show what would change (the default).")]
Write = Annotated[bool, typer.Option("--write", help="Replace the files; each old one is kept.")]
Check = Annotated[bool, typer.Option("--check", help="Exit with 1 if something would change.")]

_MARKS = {"note": "·", "changed": "✓", "left": "-", "warning": "!", "unparsed": "?"}


@app.command()
def devices(
    notebooks: Notebooks,
    devices: Annotated[str, typer.Option(help="Those to use, the main one first.")] = "cuda:0",
    memory: Annotated[
        str, typer.Option(help="Memory of each: one size, or one a device.")
    ] = "24GiB",
    diff: Diff = False,
    write: Write = False,
    check: Check = False,
) -> None:
    """Name a device for every model and tensor, by a memory plan.

    Example: edge-glass-notebooks patch devices --devices cuda:0,cuda:1 --memory 24GiB eval.ipynb
    """

    def make() -> Patch:
        from edge_glass.tools.patch.devices.devices_patch import DevicesPatch
        from edge_glass.tools.patch.devices.memory_plan import parse_devices

        return DevicesPatch(devices=parse_devices(devices, memory))

    _run(make, notebooks, diff=diff, write=write, check=check)


@app.command()
def collate(
    notebooks: Notebooks, diff: Diff = False, write: Write = False, check: Check = False
) -> None:
    """Let collate functions call the library's.

    Example: edge-glass-notebooks patch collate train.ipynb
    """

    def make() -> Patch:
        from edge_glass.tools.patch.collate.library import CollatePatch

        return CollatePatch()

    _run(make, notebooks, diff=diff, write=write, check=check)


@app.command()
def transforms(
    notebooks: Notebooks,
    fit: Annotated[str, typer.Option(help="pad: whole picture; crop: its centre.")] = "pad",
    diff: Diff = False,
    write: Write = False,
    check: Check = False,
) -> None:
    """Let picture pipelines be the model's own preprocessing.

    Example: edge-glass-notebooks patch transforms --write train.ipynb
    """

    def make() -> Patch:
        from edge_glass.tools.patch.transforms.pipelines import TransformsPatch

        if fit not in ("pad", "crop"):
            raise ValueError(f"--fit is {fit!r}, expected pad or crop")
        return TransformsPatch(fit=fit)

    _run(make, notebooks, diff=diff, write=write, check=check)


@app.command()
def paths(
    notebooks: Notebooks,
    root: Annotated[
        Path | None, typer.Option(help="The project's folder; found by itself if not given.")
    ] = None,
    mapping: Annotated[
        list[str] | None,
        typer.Option("--map", help="OLD=NEW: a folder as written, and in the project."),
    ] = None,
    diff: Diff = False,
    write: Write = False,
    check: Check = False,
) -> None:
    """Write paths relative to the notebook.

    Example: edge-glass-notebooks patch paths --map /content/drive/MyDrive/pixmo=data *.ipynb
    """

    def make() -> Patch:
        from edge_glass.tools.patch.paths import PathsPatch

        if root is not None and not root.is_dir():
            raise ValueError(f"--root {root} is no folder")
        return PathsPatch(root=root, mapping=_pairs(mapping or [], "--map"))

    _run(make, notebooks, diff=diff, write=write, check=check)


def _add_plugin(name: str) -> None:
    def command(
        notebooks: Notebooks,
        option: Annotated[
            list[str] | None, typer.Option("--set", help="KEY=VALUE, handed to the patch.")
        ] = None,
        diff: Diff = False,
        write: Write = False,
        check: Check = False,
    ) -> None:
        options = dict(_pairs(option or [], "--set"))
        _run(lambda: load_plugin(name, options), notebooks, diff=diff, write=write, check=check)

    app.command(name, help=f"The patch {name}, of an installed distribution.")(command)


for _name in plugin_names():
    if _name in ("devices", "collate", "transforms", "paths"):
        raise ValueError(
            f"an installed distribution registers a patch {_name!r}, which is built in"
        )
    _add_plugin(_name)


def _pairs(texts: list[str], option: str) -> tuple[tuple[str, str], ...]:
    pairs = []
    for text in texts:
        key, equal, value = text.partition("=")
        if not (key and equal and value):
            raise typer.BadParameter(f"{text!r}: expected two parts as A=B", param_hint=option)
        pairs.append((key, value))
    return tuple(pairs)


def _run(
    make: Callable[[], Patch], notebooks: list[Path], *, diff: bool, write: bool, check: bool
) -> None:
    from edge_glass.tools.patch.batch import Mode, exit_status, patch_files

    if diff + write + check > 1:
        raise typer.BadParameter("choose one of --diff, --write and --check")
    mode = Mode.WRITE if write else Mode.CHECK if check else Mode.DIFF
    try:
        patch = make()
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    out, err = Console(soft_wrap=True, highlight=False), Console(stderr=True, soft_wrap=True)
    reports = []
    for report in patch_files(notebooks, patch, mode):
        reports.append(report)
        _print_report(report, out, err)
    changed = sum(bool(report.changed_cells) for report in reports)
    failed = sum(report.error is not None for report in reports)
    verb = "changed" if write else "would change"
    out.print(f"{len(reports)} notebooks: {changed} {verb}, {failed} failed", markup=False)
    if changed and mode is Mode.DIFF:
        out.print("nothing was written; --write does it", markup=False)
    raise typer.Exit(exit_status(reports, mode))


def _print_report(report: FileReport, out: Console, err: Console) -> None:
    if report.error is not None:
        err.print(f"error: {report.error}", style="red", markup=False)
        return
    if report.diff:
        out.print(
            Syntax(report.diff, "diff", background_color="default")
            if out.is_terminal
            else report.diff,
            markup=False,
        )
    count = len(report.changed_cells)
    out.print(
        f"{report.path}: {count} cells" + (f", backup {report.backup}" if report.backup else ""),
        markup=False,
    )
    for note in report.notes:
        where = f"cell {note.cell + 1}: " if note.cell >= 0 else ""
        out.print(f"  {_MARKS[note.kind]} {where}{note.message}", markup=False)
