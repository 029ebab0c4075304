"""The stages as subcommands of `edge-glass` (entry point group `edge_glass.commands`)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_glass.training.fetch.command import fetch
from edge_glass.training.ingest.command import import_
from edge_glass.training.plan.command import plan

if TYPE_CHECKING:
    from edge_glass.training.params import Params

ParamsOption = Annotated[Path, typer.Option("--params", help="The configuration file.")]
SchedulerOption = Annotated[
    str | None,
    typer.Option(
        "--scheduler",
        envvar="EDGE_GLASS_SCHEDULER",
        help="Run in parallel: a Dask scheduler's address, or processes:N. The output is the same.",
    ),
]
WITHOUT_DEVICE = ("prepare", "prepare_samples")  # they run on any machine, whatever `device` is
DEFAULT_PARAMS = Path("params.yaml")
NEXT = {
    "prepare": "`edge-glass prepare-samples` draws a page of it, `edge-glass encode` encodes it",
    "prepare_samples": "look at plots/prepare/*.png, then run `edge-glass encode`",
    "encode": "`edge-glass align` trains the dual encoder",
    "align": "`edge-glass evaluate-align` measures retrieval",
    "evaluate_align": "look at plots/evaluate_align, or train on answers: `edge-glass vlm-qa`",
    "vlm_qa": "`edge-glass evaluate-vlm-qa` measures the answers",
    "evaluate_vlm_qa": "`edge-glass results` prints all results",
}


def register(app: typer.Typer) -> None:
    """Adds the stages to the command line."""
    stages = (prepare, prepare_samples, encode, align, evaluate_align, vlm_qa, evaluate_vlm_qa)
    app.command("import")(import_)
    for command in (fetch, plan, *stages, results, verify, compare, compare_scores):
        app.command()(command)


def prepare(params: ParamsOption = DEFAULT_PARAMS, scheduler: SchedulerOption = None) -> None:
    """Clean PixMo files: drop broken rows, count the reasons, split by image.

    Example: edge-glass prepare --params params.yaml
    """
    _run("prepare", params, scheduler)


def prepare_samples(params: ParamsOption = DEFAULT_PARAMS) -> None:
    """Draw a page of the prepared data, with images as the vision encoder gets them.

    Example: edge-glass prepare-samples
    """
    _run("prepare_samples", params)


def encode(
    params: ParamsOption = DEFAULT_PARAMS,
    scheduler: SchedulerOption = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Verify the existing cache by its checksums; encode nothing."),
    ] = False,
) -> None:
    """Run the frozen encoders once and keep their features.

    Example: edge-glass encode --scheduler tcp://10.0.0.1:8786
    """
    if check:
        from edge_glass.training.features.cache import verify_features

        shards, size = verify_features()
        typer.echo(f"encode: {shards} shards of {size} bytes match their checksums")
        return
    _run("encode", params, scheduler)


def align(params: ParamsOption = DEFAULT_PARAMS) -> None:
    """Train pooling and Matryoshka heads on cached features.

    Example: edge-glass align

    On GPUs (device: cuda) it starts as many processes as `launch` names and its microbatches allow.
    """
    _run("align", params, in_processes=True)


def evaluate_align(params: ParamsOption = DEFAULT_PARAMS) -> None:
    """Measure retrieval in both directions and at every dim.

    Example: edge-glass evaluate-align
    """
    _run("evaluate_align", params)


def vlm_qa(params: ParamsOption = DEFAULT_PARAMS) -> None:
    """Train fusion and decoder to answer questions about images.

    Example: edge-glass vlm-qa

    It starts the number of processes that `launch` in params.yaml names, or joins torchrun's:
    torchrun --standalone --nproc_per_node=2 --no-python edge-glass vlm-qa
    """
    _run("vlm_qa", params, in_processes=True)


def evaluate_vlm_qa(params: ParamsOption = DEFAULT_PARAMS) -> None:
    """Measure answers by question type, with blind and shuffled-image controls.

    Example: edge-glass evaluate-vlm-qa

    The processes that `launch` in params.yaml names, or those of torchrun, share the questions.
    """
    _run("evaluate_vlm_qa", params, in_processes=True)


def results() -> None:
    """Print the results of the evaluations, the folders of the plots, and what to try next.

    Example: edge-glass results
    """
    from edge_glass.training.results import results_page

    typer.echo(results_page(Path()))


def verify(
    stages: Annotated[
        list[str] | None, typer.Argument(help="Stages (default: all whose outputs exist).")
    ] = None,
    params: ParamsOption = DEFAULT_PARAMS,
) -> None:
    """Run stages again in a temporary folder, and compare every byte.

    If a byte differs, the first step, the files and the tensors are named, and the status is 1.

    Example: edge-glass verify align
    """
    from edge_glass.training.compare.verify import count_files, stages_of, verify_stage

    known = stages_of(Path(), params)
    done = [name for name, files in known.items() if all(Path(p).exists() for p in files.outputs)]
    failed = False
    for stage in [name.replace("-", "_") for name in stages or done]:
        lines = verify_stage(stage, Path.cwd(), params)
        verdict = "differs" if lines else f"equal, {count_files(Path.cwd(), known[stage])} files"
        typer.echo(f"verify {stage}: {verdict}")
        for line in lines:
            typer.echo(f"  {line}")
        failed = failed or bool(lines)
    raise typer.Exit(failed)


def compare(
    run_a: Annotated[Path, typer.Argument(help="Folder of a project that has run.")],
    run_b: Annotated[Path, typer.Argument(help="Folder of a second one.")],
) -> None:
    """Find where two runs diverge: parameters, then per stage the step, tensor and environment.

    Example: edge-glass compare . ../other-checkout
    """
    from edge_glass.training.compare.divergence import (
        describe,
        environment_differences,
        parameter_differences,
    )
    from edge_glass.training.compare.verify import stages_of

    for run in (run_a, run_b):
        if not (run / "params.yaml").is_file():
            raise ValueError(f"{run}: no params.yaml there; expected the folder of a project")
    lines = parameter_differences(run_a, run_b)
    for stage, files in stages_of(run_a, run_a / "params.yaml").items():
        found = describe(run_a, run_b, files.outputs)
        if found:
            found += environment_differences(run_a, run_b, stage)
        lines += [f"{stage}: {line}" for line in found]
    typer.echo("\n".join(lines) if lines else "equal: parameters and every byte of every stage")
    raise typer.Exit(bool(lines))


def compare_scores(
    run_a: Annotated[str, typer.Argument(help="Folder, git revision or DVC experiment.")],
    run_b: Annotated[str, typer.Argument(help="A second one.")],
    samples: Annotated[
        int, typer.Option(min=100, max=1_000_000, help="Resamples of the bootstrap.")
    ] = 10_000,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of the resamples.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines.")] = False,
) -> None:
    """Test whether B scores better than A, on the questions and queries that both have answered.

    Example: edge-glass compare-scores HEAD gated-fusion
    """
    import dataclasses
    import json

    from edge_glass.training.compare.committed_scores import read_run
    from edge_glass.training.compare.scores import compare_scores, only_in_one, table

    a, b = read_run(run_a), read_run(run_b)
    lines = compare_scores(a, b, seed=seed, num_resamples=samples)
    for sentence in only_in_one(a, b):
        typer.echo(sentence, err=True)
    if not as_json:
        typer.echo(table(lines, "A", "B"))
        return
    for line in lines:
        row = {"split": line.split, "score": line.score, **dataclasses.asdict(line.result)}
        typer.echo(json.dumps(row))


def _run(
    stage: str, path: Path, scheduler: str | None = None, *, in_processes: bool = False
) -> None:
    """Runs one stage, then names the next command; under DVC the next stage follows without it."""
    from edge_glass.training.runtime.progress import say
    from edge_glass.training.runtime.run_stage import run_stage

    scheduler = scheduler or None  # an option without a value is ""
    # on a cluster the workers' device counts, and each worker checks it
    is_here = scheduler is None or scheduler.startswith("processes:")
    on_device = is_here and stage not in WITHOUT_DEVICE
    run_stage(
        stage,
        path,
        _parse_with_device if on_device else _parse,
        scheduler=scheduler,
        before_lock=partial(
            _before_work,
            stage,
            scheduler=scheduler,
            on_device=on_device,
            in_processes=in_processes,
        ),
    )
    if "DVC_STAGE" not in os.environ:
        say(f"next: {NEXT[stage]}")


def _before_work(
    stage: str, parsed: Params, *, scheduler: str | None, on_device: bool, in_processes: bool
) -> None:
    """Checks the GPU's memory and what DeepSpeed needs, then starts the processes of a stage."""
    from edge_glass.training.vlm_qa.torchrun import sharing_processes, start_processes

    if on_device and parsed.device != "cpu":
        from edge_glass.training.plan.gpu_check import check_gpu

        check_gpu(stage, parsed, scheduler)
    if stage == "vlm_qa":
        from edge_glass.training.vlm_qa.deepspeed_requirements import check_deepspeed

        check_deepspeed(parsed.launch.config, parsed.device)
    if in_processes:
        number = parsed.launch.config.num_processes
        if stage == "align" and parsed.device != "cuda":
            number = 1  # with all cores of the CPU, or the one GPU that `device` names
        elif stage == "align":
            number = sharing_processes(number, parsed.align.num_microbatches)
        start_processes(number, parsed.num_threads)


def _parse(raw: Mapping[str, Any], where: str) -> Params:
    from edge_glass.training.loop.trackers import check_packages
    from edge_glass.training.params import parse_params

    params = parse_params(raw, where=where)
    check_packages(params.log_with, where)
    return params


def _parse_with_device(raw: Mapping[str, Any], where: str) -> Params:
    from edge_glass.encoders.components import ConfigError
    from edge_glass.encoders.device import check_device

    params = _parse(raw, where)
    try:
        check_device(params.device)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None
    return params
