"""The stages as subcommands of `edge-glass` (entry point group `edge_glass.commands`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_glass.training.fetch.command import fetch
from edge_glass.training.ingest.command import import_

ParamsOption = Annotated[Path, typer.Option("--params", help="The configuration file.")]
SchedulerOption = Annotated[
    str | None,
    typer.Option(
        "--scheduler",
        envvar="EDGE_GLASS_SCHEDULER",
        help="Where parts are worked on: a Dask scheduler's address, or processes:N. Same bytes.",
    ),
]
DEFAULT_PARAMS = Path("params.yaml")


def register(app: typer.Typer) -> None:
    """Adds the stages to the command line."""
    stages = (prepare, prepare_samples, encode, align, evaluate_align, vlm_qa, evaluate_vlm_qa)
    app.command("import")(import_)
    for command in (fetch, *stages, verify, compare):
        app.command()(command)


def prepare(params: ParamsOption = DEFAULT_PARAMS, scheduler: SchedulerOption = None) -> None:
    """Clean PixMo files: drop broken rows, count why, split by picture.

    Example: edge-glass prepare --params params.yaml
    """
    _run("prepare", params, scheduler)


def prepare_samples(params: ParamsOption = DEFAULT_PARAMS) -> None:
    """Draw a page of what was prepared, pictures as the vision encoder gets them.

    Example: edge-glass prepare-samples
    """
    _run("prepare_samples", params)


def encode(
    params: ParamsOption = DEFAULT_PARAMS,
    scheduler: SchedulerOption = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Only hold the cache that is there against its checksums."),
    ] = False,
) -> None:
    """Run the frozen encoders once and keep their features.

    Example: edge-glass encode --scheduler tcp://10.0.0.1:8786
    """
    if check:
        from edge_glass.training.features.cache import verify_features

        shards, size = verify_features()
        typer.echo(f"encode: {shards} shards, {size} bytes, are as their checksums say")
        return
    _run("encode", params, scheduler)


def align(params: ParamsOption = DEFAULT_PARAMS) -> None:
    """Train pooling and Matryoshka heads on cached features.

    Example: edge-glass align
    """
    _run("align", params)


def evaluate_align(params: ParamsOption = DEFAULT_PARAMS) -> None:
    """Score retrieval, both ways and at every dimension.

    Example: edge-glass evaluate-align
    """
    _run("evaluate_align", params)


def vlm_qa(params: ParamsOption = DEFAULT_PARAMS) -> None:
    """Train fusion and decoder to answer questions about pictures.

    Example: edge-glass vlm-qa

    In several processes as `launch` in params.yaml says, or under torchrun:
    torchrun --standalone --nproc_per_node=4 --no-python edge-glass vlm-qa
    """
    _run("vlm_qa", params)


def evaluate_vlm_qa(params: ParamsOption = DEFAULT_PARAMS) -> None:
    """Score answers by question type, with blind and shuffled-picture controls.

    Example: edge-glass evaluate-vlm-qa
    """
    _run("evaluate_vlm_qa", params)


def verify(
    stages: Annotated[
        list[str] | None, typer.Argument(help="Stages (default: all that have run here).")
    ] = None,
    params: ParamsOption = DEFAULT_PARAMS,
) -> None:
    """Run stages again, beside the project, and say whether every byte is equal.

    Where not, the first step, the files and the tensors that differ are named, and the status is 1.

    Example: edge-glass verify align
    """
    from edge_glass.training.compare.verify import STAGE_FILES, count_files, verify_stage
    from edge_glass.training.params import load_params

    data_folder = load_params(params).data_folder
    here = [name for name, files in STAGE_FILES.items() if Path(files.outputs[-1]).exists()]
    failed = False
    for stage in [name.replace("-", "_") for name in stages or here]:
        lines = verify_stage(stage, Path.cwd(), params, data_folder)
        verdict = "differs" if lines else f"equal, {count_files(stage, Path.cwd())} files"
        typer.echo(f"verify {stage}: {verdict}")
        for line in lines:
            typer.echo(f"  {line}")
        failed = failed or bool(lines)
    raise typer.Exit(failed)


def compare(
    run_a: Annotated[Path, typer.Argument(help="Folder of a project that has run.")],
    run_b: Annotated[Path, typer.Argument(help="Folder of another.")],
) -> None:
    """Find where two runs part: parameters, then by stage step, tensor and environment.

    Example: edge-glass compare . ../other-checkout
    """
    from edge_glass.training.compare.divergence import (
        describe,
        environment_differences,
        parameter_differences,
    )
    from edge_glass.training.compare.verify import STAGE_FILES

    for run in (run_a, run_b):
        if not (run / "params.yaml").is_file():
            raise ValueError(f"{run}: no params.yaml there; expected the folder of a project")
    lines = parameter_differences(run_a, run_b)
    for stage, files in STAGE_FILES.items():
        found = describe(run_a, run_b, files.outputs)
        if found:
            found += environment_differences(run_a, run_b, stage)
        lines += [f"{stage}: {line}" for line in found]
    typer.echo("\n".join(lines) if lines else "equal: parameters and every byte of every stage")
    raise typer.Exit(bool(lines))


def _run(stage: str, path: Path, scheduler: str | None = None) -> None:
    """Validates the whole configuration, settles the environment, then runs one stage."""
    from importlib import import_module

    from edge_glass.training.engine.determinism import environment, set_environment

    reproducibility = _reproducibility(path)
    set_environment(reproducibility, stage, restart=True)  # before torch is imported
    from edge_glass.training.params import load_params
    from edge_glass.training.runtime.executor import open_executor
    from edge_glass.training.runtime.lock import stage_lock

    params = load_params(path)
    if stage == "vlm_qa":
        from edge_glass.training.vlm_qa.launch_start import start_processes

        start_processes(params.launch, params.num_threads)

    with stage_lock(stage):
        run = import_module(f"edge_glass.training.stages.{stage}").run
        if not scheduler:
            run(params)
            return
        with open_executor(scheduler, environment(reproducibility, stage)) as executor:
            run(params, executor)


def _reproducibility(path: Path) -> str:
    """Reads the one choice that matters before torch loads; `load_params` says what is wrong."""
    import yaml

    try:
        raw = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError):
        raw = None
    return str(raw.get("reproducibility")) if isinstance(raw, dict) else "portable"
