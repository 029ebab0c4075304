"""The command `edge-glass index`: the embeddings of an index, for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

index_app = typer.Typer(
    help="The index of a folder of images, which `search` keeps.", no_args_is_help=True
)


@index_app.callback()
def index_root() -> None:
    """Keeps `index` a group of subcommands."""


@index_app.command("export")
def index_export(
    folder: Annotated[Path, typer.Argument(help="A folder of images that was searched.")],
    out: Annotated[Path, typer.Argument(help="The file to write.")],
    format_name: Annotated[
        str, typer.Option("--format", help="npy, parquet, usearch or faiss.")
    ] = "npy",
    dim: Annotated[
        int | None, typer.Option(help="The first numbers of each embedding; default all.")
    ] = None,
    precision: Annotated[str, typer.Option(help="float32, int8 or 1bit.")] = "float32",
    index: Annotated[
        Path | None, typer.Option(help="Folder of the index; default FOLDER/.edge_glass_index.")
    ] = None,
) -> None:
    """Write the embeddings of an index for other programs, with the paths of the images.

    Example: edge-glass index export images images.npy --dim 64 --precision int8
    """
    from edge_glass.fusion.search.index_export import export_index

    number = export_index(
        folder, out, format_name=format_name, dim=dim, precision=precision, index_folder=index
    )
    typer.echo(f"{out}: {number} embeddings")
