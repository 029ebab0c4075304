"""The command `edge-glass export`: a model in a format that other tools read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    format_name: Annotated[
        str,
        typer.Argument(
            metavar="FORMAT",
            help="executorch, immich, llava, onnx, peft, sentence-transformers, web; see "
            "docs/export.md.",
        ),
    ],
    model: Annotated[Path, typer.Argument(help="Folder of a model, such as models/align.")],
    out: Annotated[Path, typer.Argument(help="A new folder.")],
    data: Annotated[
        Path, typer.Option(help="Prepared data that the exported model is compared on.")
    ] = Path("artifacts/prepared"),
    precision: Annotated[
        list[str] | None,
        typer.Option(help="fp32 or int8; default: both (onnx), int8 (web), fp32 (others)."),
    ] = None,
    runtime_folder: Annotated[
        Path | None,
        typer.Option(help="A node_modules folder with the packages of web; default: from npm."),
    ] = None,
) -> None:
    """Write a model in a format that other tools read.

    Example: edge-glass export onnx models/align exported
    """
    from edge_glass.fusion.export.formats import export_model

    export_model(
        format_name,
        model,
        out,
        data=data,
        precisions=precision or None,
        runtime_folder=runtime_folder,
    )
    typer.echo(f"{out}: {format_name}")
