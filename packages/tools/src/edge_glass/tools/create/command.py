"""`edge-glass-notebooks create …`: one subcommand per template."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from edge_glass.tools.atomic_file import FileRefusedError, write_file

app = typer.Typer(no_args_is_help=True, help="Write evaluation notebooks from templates.")

Output = Annotated[Path, typer.Option(help="The notebook to write.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", help="NAME=VALUE: a value of the parameters cell.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace a notebook that exists.")]
Execute = Annotated[bool, typer.Option("--execute", help="Run it, and write it with its outputs.")]


@app.command()
def alignment(
    output: Output = Path("notebooks/05_alignment_evaluation.ipynb"),
    values: Set = None,
    force: Force = False,
    execute: Execute = False,
) -> None:
    """Recall@K by dim, t-SNE, heat map, best and worst retrievals.

    Example: edge-glass-notebooks create alignment --set split=test_vendor --force
    """
    from edge_glass.tools.create.alignment_evaluation import DEFAULTS, alignment_evaluation

    _create(alignment_evaluation, DEFAULTS, output, values or [], force=force, execute=execute)


@app.command()
def vlm(
    output: Output = Path("notebooks/06_vlm_evaluation.ipynb"),
    values: Set = None,
    force: Force = False,
    execute: Execute = False,
) -> None:
    """Accuracy by type with controls, examples, comparison of fusions.

    Example: edge-glass-notebooks create vlm --set compare=False --execute --force
    """
    from edge_glass.tools.create.vlm_evaluation import DEFAULTS, vlm_evaluation

    _create(vlm_evaluation, DEFAULTS, output, values or [], force=force, execute=execute)


def _create(
    template: Callable[[Mapping[str, object]], str],
    defaults: Mapping[str, tuple[object, str]],
    output: Path,
    texts: list[str],
    *,
    force: bool,
    execute: bool,
) -> None:
    from edge_glass.tools.create.template import (
        nothing_to_show,
        parse_parameters,
        without_content,
    )
    from edge_glass.tools.execute import ExecutionError, executed

    if output.suffix != ".ipynb":
        raise typer.BadParameter(
            f"{output} does not end in .ipynb, as a notebook's name does", param_hint="--output"
        )
    try:
        exists, special = output.exists(), output.exists() and not output.is_file()
    except OSError as error:
        _refuse(f"{output}: cannot be written: {error.strerror or error}")
    if special:
        _refuse(f"{output}: is no regular file; name a different one")
    if exists and not force:
        _refuse(f"{output}: exists already; --force replaces it")
    try:
        chosen = parse_parameters(texts)
        text = template(chosen)
        if reason := nothing_to_show(defaults, chosen, output.parent):
            text = without_content(text, reason)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--set") from error
    try:
        output.parent.mkdir(parents=True, exist_ok=True)  # where it runs, if it runs
        write_file(output, (executed(text, output) if execute else text).encode())
    except (ExecutionError, FileRefusedError) as error:
        _refuse(str(error))
    except OSError as error:
        _refuse(f"{output}: cannot be written: {error.strerror or error}")
    typer.echo(f"{output}: written")


def _refuse(message: str) -> NoReturn:
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(1) from None
