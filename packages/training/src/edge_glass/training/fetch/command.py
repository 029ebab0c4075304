"""The subcommand `edge-glass fetch`; light, since `edge-glass --help` imports it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_glass.encoders.files import DataError
from edge_glass.training.fetch.config import USER_AGENT, FetchConfig


def fetch(
    source: Annotated[
        Path, typer.Argument(metavar="IN.parquet", help="A Parquet file, or a folder of them.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT_FOLDER", help="Shards and manifest.")],
    subset: Annotated[
        str | None, typer.Option(help="Check the columns as this PixMo sub-set's, pixmo-cap say.")
    ] = None,
    concurrency: Annotated[int, typer.Option(help="Requests at a time.")] = 128,
    per_host: Annotated[int, typer.Option(help="Requests at a time to one host.")] = 16,
    processes: Annotated[
        int | None, typer.Option(help="That decode and check; the default leaves a CPU free.")
    ] = None,
    total_timeout: Annotated[float, typer.Option(help="Seconds for one picture.")] = 120.0,
    max_attempts: Annotated[int, typer.Option(help="Requests for one picture in a run.")] = 5,
    max_retry_after: Annotated[
        float, typer.Option(help="Seconds of Retry-After obeyed, at most.")
    ] = 120.0,
    max_megabytes: Annotated[float, typer.Option(help="Of one picture.")] = 50.0,
    max_megapixels: Annotated[float, typer.Option(help="Of one picture.")] = 89.478485,
    image_sha256: Annotated[
        str, typer.Option(help="Published hashes: off, warn (count and keep) or strict (refuse).")
    ] = "warn",
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try again what failed and was not dead.")
    ] = False,
    retry_dead: Annotated[
        bool, typer.Option("--retry-dead", help="Try again the dead (404, 410) ones too.")
    ] = False,
    mirror: Annotated[
        list[Path] | None,
        typer.Option(help="A folder or Parquet file keyed by url hash; may be repeated."),
    ] = None,
    rows_per_shard: Annotated[int, typer.Option(help="Input rows a shard.")] = 2000,
    min_success: Annotated[
        float, typer.Option(help="Exit with status 1 below this share of pictures.")
    ] = 0.9,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Ask private and loopback addresses too.")
    ] = False,
    user_agent: Annotated[str, typer.Option(help="Add a way to reach you.")] = USER_AGENT,
    connect_timeout: Annotated[float, typer.Option(help="Seconds.")] = 10.0,
    read_timeout: Annotated[float, typer.Option(help="Seconds without a byte.")] = 20.0,
    backoff: Annotated[float, typer.Option(help="Seconds before the second attempt.")] = 1.0,
    scheduler: Annotated[
        str | None,
        typer.Option(
            envvar="EDGE_GLASS_SCHEDULER",
            help="Who asks the network: a Dask scheduler's address, or processes:N. Same bytes.",
        ),
    ] = None,
    parts: Annotated[
        int, typer.Option(min=1, help="Parts for the scheduler; a host is in one.")
    ] = 16,
) -> None:
    """Fetch the pictures that a Parquet file links to; go on where an earlier run ended.

    Example: edge-glass fetch pixmo-cap/data pictures/pixmo-cap --subset pixmo-cap
    """
    import os

    from edge_glass.training.fetch import session
    from edge_glass.training.fetch.folder import Folder
    from edge_glass.training.runtime.executor import open_executor
    from edge_glass.training.runtime.progress import say

    if processes is None:
        processes = max(1, min(8, len(os.sched_getaffinity(0)) - 1))
    config = FetchConfig(
        concurrency=concurrency,
        per_host=per_host,
        processes=processes,
        connect_timeout=connect_timeout,
        read_timeout=read_timeout,
        total_timeout=total_timeout,
        max_attempts=max_attempts,
        backoff=backoff,
        max_retry_after=max_retry_after,
        max_bytes=int(max_megabytes * 2**20),
        max_pixels=int(max_megapixels * 1e6),
        image_sha256=image_sha256,  # type: ignore[arg-type]  # checked there
        allow_private=allow_private,
        retry_failed=retry_failed,
        retry_dead=retry_dead,
        mirrors=tuple(mirror or ()),
        rows_per_shard=rows_per_shard,
        min_success=min_success,
        user_agent=user_agent,
    )
    try:
        if scheduler:
            with open_executor(scheduler) as executor:
                summary = session.fetch(
                    source, out, config, subset=subset, executor=executor, parts=parts
                )
        else:
            summary = session.fetch(source, out, config, subset=subset)
    except session.StoppedError as stopped:
        typer.echo(f"edge-glass: {stopped}", err=True)
        raise typer.Exit(stopped.exit_code) from None
    except KeyboardInterrupt:  # before the first request
        typer.echo("edge-glass: stopped; the same command goes on from here", err=True)
        raise typer.Exit(130) from None
    for line in summary.lines(Folder(out)):
        say(line)
    if summary.success < min_success:
        raise DataError(
            f"{out}: {summary.success:.1%} of the pictures are there, --min-success is "
            f"{min_success:.1%}. What was fetched is kept: see `reason` in "
            f"{Folder(out).manifest}, then add --retry-failed or --mirror"
        )
