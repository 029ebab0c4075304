"""The subcommand `edge-glass import`; light, since `edge-glass --help` imports it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def import_(
    source: Annotated[Path, typer.Argument(help="A folder or a file of images and texts.")],
    out: Annotated[Path, typer.Argument(help="The folder to make, such as data/mine.")],
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="table, pairs, imagefolder, parquet, llava, messages, coco, karpathy, vqa, "
            "webdataset, svg or classes; found from the files if it is not given.",
        ),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(help="Columns of a table, such as caption=title,image=file."),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="Folder that the images' names are relative to; default: their table's."),
    ] = None,
    allow_outside: Annotated[
        bool, typer.Option("--allow-outside", help="Use images outside the source folder too.")
    ] = False,
    exclude: Annotated[
        Path | None,
        typer.Option(help="A text file with an image per line that is left out; * is allowed."),
    ] = None,
    encoding: Annotated[
        str, typer.Option(help="Of texts without a byte order mark, such as cp1252.")
    ] = "utf-8",
    workers: Annotated[
        int | None, typer.Option(help="Processes that check images; default: one per CPU, up to 8.")
    ] = None,
    rows_per_shard: Annotated[int, typer.Option(help="Records per Parquet file.")] = 500,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only read, count and draw, into OUT.dry-run.")
    ] = False,
    add: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Add the data set to params.yaml, and choose it."),
    ] = None,
    params: Annotated[Path, typer.Option("--params", help="The configuration file.")] = Path(
        "params.yaml"
    ),
) -> None:
    """Import images with captions or questions from a common format as Parquet.

    It reads captions.csv/.tsv/.jsonl, .txt files beside images, imagefolder, Parquet, LLaVA and
    messages JSON, COCO, Karpathy, VQAv2, WebDataset, SVG, and folders with a sub-folder per class.
    Run it again after a stop: it goes on.

    Example: edge-glass import photos data/photos --add photos
    """
    import os

    from edge_glass.encoders.processors import num_cpus
    from edge_glass.training.ingest import project
    from edge_glass.training.ingest.next_steps import next_steps
    from edge_glass.training.ingest.reading.columns import parse_columns
    from edge_glass.training.ingest.reading.exclusion import Exclusion
    from edge_glass.training.ingest.reading.source import Source
    from edge_glass.training.ingest.session import ImportConfig, import_data, places_of
    from edge_glass.training.runtime.progress import say

    if add is not None:
        project.check_name(add)
    if workers is None:
        workers = min(8, num_cpus())
    config = ImportConfig(
        format=format_, rows_per_shard=rows_per_shard, num_workers=workers, dry_run=dry_run
    )
    # `data/mine/` and `data/mine` are the same folder
    out = Path(os.path.abspath(out))  # noqa: PTH100 - links stay as they are
    places = places_of(out, dry_run=dry_run)
    read = Source(
        path=source,
        columns=parse_columns(columns),
        images=images,
        allow_outside=allow_outside,
        encoding=encoding,
        leave_out=(out, places.out, places.staging),
        exclude=None if exclude is None else Exclusion(exclude),
    )
    try:
        report = import_data(read, out, config, project.read_view(params))
    except KeyboardInterrupt:
        typer.echo("edge-glass: stopped; the same command goes on from here", err=True)
        raise typer.Exit(130) from None
    for line in [*report.counts(), *report.notes]:
        say(line)
    say(f"Report: {places.out / 'report' / 'report.txt'}; samples.png beside it")
    if not dry_run:
        for line in next_steps(out, report.plan.kinds, params, add):
            say(line)
