"""The command `edge-glass import-adapters`: LoRA adapters that peft trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def import_adapters(
    model: Annotated[Path, typer.Argument(help="Folder of a model, such as models/vlm_qa.")],
    adapters: Annotated[Path, typer.Argument(help="A folder that save_pretrained of peft wrote.")],
    out: Annotated[Path, typer.Argument(help="A new folder.")],
) -> None:
    """Write a copy of a model whose decoder has the LoRA adapters of a PEFT folder.

    Example: edge-glass import-adapters models/vlm_qa adapters models/adapted
    """
    from edge_glass.fusion.export.peft_import import import_adapters as write_model

    write_model(model, adapters, out)
    typer.echo(f"{out}: {model} with the adapters of {adapters}")
