"""`edge-glass-notebooks`: create, patch, check and execute notebooks.

Imports are lazy: `--help` needs neither libcst nor nbclient.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_glass.tools.create.command import app as create_app
from edge_glass.tools.patch.command import app as patch_app

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Notebooks as build products: create, patch, check and execute them.",
)
app.add_typer(create_app, name="create")
app.add_typer(patch_app, name="patch")


@app.command()
def check(
    notebooks: Annotated[list[Path], typer.Argument(help="Notebook files.", show_default=False)],
    max_size: Annotated[float, typer.Option(help="Largest allowed size in MiB.")] = 5.0,
    execute: Annotated[bool, typer.Option("--execute", help="Also run them, in memory.")] = False,
) -> None:
    """Say what is wrong with notebooks; exit with 1 if anything is.

    Example: edge-glass-notebooks check notebooks/*.ipynb
    """
    from edge_glass.tools.check import check_file

    failed = 0
    for path in notebooks:
        findings = check_file(path, max_bytes=int(max_size * 2**20), execute=execute)
        failed += bool(findings)
        for finding in findings:
            typer.echo(f"{path}: {finding}", err=True)
    typer.echo(f"{len(notebooks)} notebooks checked, {failed} with findings")
    raise typer.Exit(1 if failed else 0)


@app.command()
def execute(
    notebooks: Annotated[list[Path], typer.Argument(help="Notebook files.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option(help="Where to write, for one notebook; else in place.")
    ] = None,
    timeout: Annotated[int, typer.Option(help="Seconds that one cell may take.")] = 600,
) -> None:
    """Run notebooks and write them with outputs whose bytes repeat.

    Example: edge-glass-notebooks execute notebooks/05_alignment_evaluation.ipynb
    """
    from edge_glass.tools.atomic_file import FileRefusedError
    from edge_glass.tools.execute import ExecutionError, execute_file
    from edge_glass.tools.notebook import NotebookError

    if output is not None and len(notebooks) != 1:
        raise typer.BadParameter("--output is for one notebook")
    failed = 0
    for path in notebooks:
        try:
            execute_file(path, output or path, timeout=timeout)
        except (ExecutionError, FileRefusedError, NotebookError) as error:
            typer.echo(f"error: {error}", err=True)
            failed += 1
        else:
            typer.echo(f"{path}: executed")
    raise typer.Exit(1 if failed else 0)


def main() -> None:
    """The console script."""
    app()
