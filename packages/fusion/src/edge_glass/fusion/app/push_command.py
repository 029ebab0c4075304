"""The command `edge-glass push`: a model to the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def push(
    model: Annotated[Path, typer.Argument(help="Folder of a model, such as models/align.")],
    repo: Annotated[str, typer.Argument(help="Its id on the Hugging Face Hub: owner/name.")],
    license_name: Annotated[
        str | None, typer.Option("--license", help="Of the trained weights, such as apache-2.0.")
    ] = None,
    private: Annotated[bool, typer.Option(help="A new repository is private.")] = False,
    project: Annotated[
        Path, typer.Option(help="Folder with dvc.lock and metrics/, for the model card.")
    ] = Path(),
) -> None:
    """Publish a model on the Hugging Face Hub, with a card of its figures and hashes.

    Example: edge-glass push models/align me/my-encoder --license apache-2.0
    """
    from edge_glass.fusion.export.push import push_model

    commit = push_model(model, repo, project=project, license_name=license_name, private=private)
    typer.echo(f"{repo} {commit}")
