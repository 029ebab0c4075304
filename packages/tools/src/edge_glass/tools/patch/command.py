"""`edge-glass-notebooks patch …`: one subcommand per patch with its own options, and `all`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_glass.tools.patch.options import (
    Check,
    Clear,
    Devices,
    Diff,
    Fit,
    Keyword,
    Library,
    Memory,
    Notebooks,
    Root,
    Size,
    Verbose,
    Write,
    check_fit,
    folder,
    pairs,
)
from edge_glass.tools.patch.plugins import load_plugin, plugin_names

if TYPE_CHECKING:
    from edge_glass.tools.patch.batch import Job

app = typer.Typer(
    no_args_is_help=True, help="Rewrite notebooks by syntax; shows a diff by default."
)


@app.command(name="all")
def every(
    notebooks: Notebooks,
    devices: Devices = "cuda:0",
    memory: Memory = "24GiB",
    size: Size = None,
    library: Library = False,
    fit: Fit = "pad",
    root: Root = None,
    mapping: Annotated[
        list[str] | None,
        typer.Option("--map", help="OLD=NEW: a folder as written, and in the project."),
    ] = None,
    keyword: Keyword = None,
    clear_outputs: Clear = False,
    verbose: Verbose = False,
    diff: Diff = False,
    write: Write = False,
    check: Check = False,
) -> None:
    """Run all built-in patches: paths, transforms, keywords, collate, devices, setup.

    Example: edge-glass-notebooks patch all --devices cuda:0,cuda:1 --write *.ipynb
    """

    def make() -> Job:
        from edge_glass.tools.patch.batch import Job
        from edge_glass.tools.patch.collate.collate_patch import CollatePatch
        from edge_glass.tools.patch.devices.devices_patch import DevicesPatch
        from edge_glass.tools.patch.devices.memory_plan import parse_devices
        from edge_glass.tools.patch.devices.sizes import parse_sizes
        from edge_glass.tools.patch.paths.paths_patch import PathsPatch
        from edge_glass.tools.patch.review import review
        from edge_glass.tools.patch.setup import SetupPatch
        from edge_glass.tools.patch.transforms.keywords import KeywordsPatch
        from edge_glass.tools.patch.transforms.transforms_patch import TransformsPatch

        check_fit(fit)
        return Job(
            patches=[
                PathsPatch(root=folder(root), mapping=pairs(mapping, "--map")),
                TransformsPatch(fit=fit),
                KeywordsPatch(mapping=pairs(keyword, "--keyword"), option="patch all --keyword"),
                CollatePatch(library=library),
                DevicesPatch(
                    devices=parse_devices(devices, memory),
                    sizes=parse_sizes(pairs(size, "--size")),
                ),
                SetupPatch(),
            ],
            review=review,
            clear_outputs=clear_outputs,
        )

    _run(make, notebooks, verbose=verbose, diff=diff, write=write, check=check)


@app.command(name="devices")
def devices_command(
    notebooks: Notebooks,
    devices: Devices = "cuda:0",
    memory: Memory = "24GiB",
    size: Size = None,
    verbose: Verbose = False,
    diff: Diff = False,
    write: Write = False,
    check: Check = False,
) -> None:
    """Name a device for every model and tensor, by a memory plan.

    Example: edge-glass-notebooks patch devices --devices cuda:0,cuda:1 --memory 24GiB eval.ipynb
    """

    def make() -> Job:
        from edge_glass.tools.patch.batch import Job
        from edge_glass.tools.patch.devices.devices_patch import DevicesPatch
        from edge_glass.tools.patch.devices.memory_plan import parse_devices
        from edge_glass.tools.patch.devices.sizes import parse_sizes

        sizes = parse_sizes(pairs(size, "--size"))
        return Job(patches=[DevicesPatch(devices=parse_devices(devices, memory), sizes=sizes)])

    _run(make, notebooks, verbose=verbose, diff=diff, write=write, check=check)


@app.command()
def collate(
    notebooks: Notebooks,
    library: Library = False,
    verbose: Verbose = False,
    diff: Diff = False,
    write: Write = False,
    check: Check = False,
) -> None:
    """Let collate functions return every key that later cells read.

    Example: edge-glass-notebooks patch collate train.ipynb
    """

    def make() -> Job:
        from edge_glass.tools.patch.batch import Job
        from edge_glass.tools.patch.collate.collate_patch import CollatePatch

        return Job(patches=[CollatePatch(library=library)])

    _run(make, notebooks, verbose=verbose, diff=diff, write=write, check=check)


@app.command()
def transforms(
    notebooks: Notebooks,
    fit: Fit = "pad",
    verbose: Verbose = False,
    diff: Diff = False,
    write: Write = False,
    check: Check = False,
) -> None:
    """Let image pipelines fit their functions, and be the model's own preprocessing.

    Example: edge-glass-notebooks patch transforms --write train.ipynb
    """

    def make() -> Job:
        from edge_glass.tools.patch.batch import Job
        from edge_glass.tools.patch.transforms.transforms_patch import TransformsPatch

        check_fit(fit)
        return Job(patches=[TransformsPatch(fit=fit)])

    _run(make, notebooks, verbose=verbose, diff=diff, write=write, check=check)


@app.command()
def keywords(
    notebooks: Notebooks,
    mapping: Annotated[
        list[str] | None,
        typer.Option("--map", help="OLD=NEW or FUNCTION.OLD=NEW: a renamed keyword argument."),
    ] = None,
    verbose: Verbose = False,
    diff: Diff = False,
    write: Write = False,
    check: Check = False,
) -> None:
    """Rename keyword arguments that a signature no longer has; report all calls that do not fit.

    Example: edge-glass-notebooks patch keywords --map is_train=is_training train.ipynb
    """

    def make() -> Job:
        from edge_glass.tools.patch.batch import Job
        from edge_glass.tools.patch.transforms.keywords import KeywordsPatch

        return Job(patches=[KeywordsPatch(mapping=pairs(mapping, "--map"))])

    _run(make, notebooks, verbose=verbose, diff=diff, write=write, check=check)


@app.command()
def paths(
    notebooks: Notebooks,
    root: Root = None,
    mapping: Annotated[
        list[str] | None,
        typer.Option("--map", help="OLD=NEW: a folder as written, and in the project."),
    ] = None,
    verbose: Verbose = False,
    diff: Diff = False,
    write: Write = False,
    check: Check = False,
) -> None:
    """Write paths relative to the notebook.

    Example: edge-glass-notebooks patch paths --map /content/drive/MyDrive/pixmo=data *.ipynb
    """

    def make() -> Job:
        from edge_glass.tools.patch.batch import Job
        from edge_glass.tools.patch.paths.paths_patch import PathsPatch

        return Job(patches=[PathsPatch(root=folder(root), mapping=pairs(mapping, "--map"))])

    _run(make, notebooks, verbose=verbose, diff=diff, write=write, check=check)


@app.command()
def setup(
    notebooks: Notebooks,
    clear_outputs: Clear = False,
    verbose: Verbose = False,
    diff: Diff = False,
    write: Write = False,
    check: Check = False,
) -> None:
    """Merge repeated imports and `sys.path` set-up into one cell.

    Example: edge-glass-notebooks patch setup --clear-outputs eval.ipynb
    """

    def make() -> Job:
        from edge_glass.tools.patch.batch import Job
        from edge_glass.tools.patch.review import review
        from edge_glass.tools.patch.setup import SetupPatch

        return Job(patches=[SetupPatch()], review=review, clear_outputs=clear_outputs)

    _run(make, notebooks, verbose=verbose, diff=diff, write=write, check=check)


def _add_plugin(name: str) -> None:
    def command(
        notebooks: Notebooks,
        option: Annotated[
            list[str] | None, typer.Option("--set", help="KEY=VALUE, handed to the patch.")
        ] = None,
        verbose: Verbose = False,
        diff: Diff = False,
        write: Write = False,
        check: Check = False,
    ) -> None:
        def make() -> Job:
            from edge_glass.tools.patch.batch import Job

            return Job(patches=[load_plugin(name, dict(pairs(option, "--set")))])

        _run(make, notebooks, verbose=verbose, diff=diff, write=write, check=check)

    app.command(name, help=f"The patch {name}, of an installed distribution.")(command)


_BUILT_IN = ("all", "collate", "devices", "keywords", "paths", "setup", "transforms")
for _name in plugin_names():
    if _name in _BUILT_IN:
        raise ValueError(f"a distribution registers a patch {_name!r}, which is built in")
    _add_plugin(_name)


def _run(
    make: Callable[[], Job],
    notebooks: list[Path],
    *,
    verbose: bool,
    diff: bool,
    write: bool,
    check: bool,
) -> None:
    from edge_glass.tools.patch.batch import Mode, exit_status, patch_files
    from edge_glass.tools.patch.report import Printer

    if diff + write + check > 1:
        raise typer.BadParameter("choose one of --diff, --write and --check")
    mode = Mode.WRITE if write else Mode.CHECK if check else Mode.DIFF
    try:
        job = make()
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    printer = Printer(mode, verbose=verbose)
    reports = [printer.print_report(report) for report in patch_files(notebooks, job, mode)]
    printer.print_total(reports)
    raise typer.Exit(exit_status(reports, mode))
