"""The command `edge-glass plan`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer


def plan(
    params: Annotated[Path, typer.Option("--params", help="The configuration file.")] = Path(
        "params.yaml"
    ),
    changes: Annotated[
        list[str] | None,
        typer.Option("-S", "--set-param", help="A change of it, as `dvc exp run` takes it."),
    ] = None,
    gpu: Annotated[
        str | None, typer.Option(help="Memory of a GPU, such as 24GB (default: that of this one).")
    ] = None,
    gpus: Annotated[int | None, typer.Option(min=1, help="Number of GPUs.")] = None,
    cores: Annotated[int | None, typer.Option(min=1, help="CPU cores that decode images.")] = None,
    disk: Annotated[str | None, typer.Option(help="Free disk, such as 500GB.")] = None,
    images: Annotated[
        int | None, typer.Option(min=1, help="Number of images (default: that of the data).")
    ] = None,
    questions: Annotated[
        int | None, typer.Option(min=1, help="Number of questions (default: five per image).")
    ] = None,
    tokens: Annotated[
        int | None, typer.Option(min=1, help="Longest text of an image (default: max_length).")
    ] = None,
) -> None:
    """Print memory, time and disk of the stages before they run, and what to change.

    Nothing is downloaded, and no weights of transformers' models are loaded. The status is 1 if a
    stage does not fit.

    Example: edge-glass plan -S scale=paper -S device=cuda --gpu 24GB --disk 500GB --images 20000
    """
    from edge_glass.training.params import parse_params
    from edge_glass.training.plan.hardware import find_hardware
    from edge_glass.training.plan.overrides import overridden
    from edge_glass.training.plan.report import report
    from edge_glass.training.plan.workload import read_workload
    from edge_glass.training.runtime.yaml_file import read_yaml

    stored = read_yaml(params)
    raw = overridden(stored, changes or [])
    parsed = parse_params(raw, where=str(params))
    # artifacts/prepared holds the data of the file, not those of a change
    same = all(raw.get(name) == stored.get(name) for name in ("data", "data_folder", "datasets"))
    work = read_workload(
        parsed, images=images, questions=questions, tokens=tokens, use_prepared=same
    )
    hardware = find_hardware(parsed.device, gpu=gpu, gpus=gpus, disk=disk)
    lines, fits = report(parsed, work, hardware, cores=cores or os.cpu_count() or 1)
    for line in lines:
        typer.echo(line)
    raise typer.Exit(not fits)
