"""The subcommand `edge-glass fetch`. Imports little, because `edge-glass --help` imports it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_glass.encoders.files import DataError
from edge_glass.training.fetch.config import USER_AGENT, FetchConfig

MAX_PROCESSES = 8


def fetch(
    source: Annotated[
        Path, typer.Argument(metavar="IN.parquet", help="A Parquet file, or a folder of them.")
    ],
    out: Annotated[
        Path, typer.Argument(metavar="OUT_FOLDER", help="The folder for shards and manifest.")
    ],
    subset: Annotated[
        str | None,
        typer.Option(help="Check the columns against this PixMo sub-set, such as pixmo-cap."),
    ] = None,
    concurrency: Annotated[int, typer.Option(help="Maximum number of parallel requests.")] = 128,
    per_host: Annotated[
        int, typer.Option(help="Maximum number of parallel requests to one host.")
    ] = 16,
    processes: Annotated[
        int | None,
        typer.Option(
            help="Processes that decode and check images. Default: one less than the CPUs, "
            f"at most {MAX_PROCESSES}."
        ),
    ] = None,
    total_timeout: Annotated[
        float, typer.Option(help="Seconds allowed for one image, redirects included.")
    ] = 120.0,
    max_attempts: Annotated[
        int, typer.Option(help="Maximum number of requests per image in one run.")
    ] = 5,
    max_retry_after: Annotated[
        float, typer.Option(help="Longest Retry-After that is obeyed, in seconds.")
    ] = 120.0,
    max_megabytes: Annotated[float, typer.Option(help="Maximum file size of an image.")] = 50.0,
    max_megapixels: Annotated[float, typer.Option(help="Maximum size of an image.")] = 89.478485,
    image_sha256: Annotated[
        str,
        typer.Option(
            help="Published hashes: off (ignore), warn (count and keep a different image) or "
            "strict (refuse it)."
        ),
    ] = "warn",
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed", help="Retry URLs that failed earlier, except 404 and 410."),
    ] = False,
    retry_dead: Annotated[
        bool,
        typer.Option("--retry-dead", help="Retry all URLs that failed earlier, 404 and 410 too."),
    ] = False,
    mirror: Annotated[
        list[Path] | None,
        typer.Option(help="A folder or Parquet file with images by URL hash. Repeatable."),
    ] = None,
    rows_per_shard: Annotated[int, typer.Option(help="Input rows per shard.")] = 2000,
    min_success: Annotated[
        float, typer.Option(help="Exit with status 1 if a smaller share of the images is there.")
    ] = 0.9,
    allow_private: Annotated[
        bool,
        typer.Option("--allow-private", help="Allow requests to private and loopback addresses."),
    ] = False,
    user_agent: Annotated[
        str, typer.Option(help="Sent with each request. Include a way to reach you.")
    ] = USER_AGENT,
    proxy: Annotated[
        str | None,
        typer.Option(
            envvar="EDGE_GLASS_PROXY",
            metavar="URL",
            help="Send all requests through this proxy, such as http://USER:PASSWORD@HOST:PORT. "
            "The variable keeps a password out of the list of processes.",
        ),
    ] = None,
    placeholder_links: Annotated[
        int,
        typer.Option(help="Report an image that so many different links return as a placeholder."),
    ] = 10,
    drop_placeholders: Annotated[
        bool,
        typer.Option("--drop-placeholders", help="Leave placeholders out of the shards."),
    ] = False,
    connect_timeout: Annotated[float, typer.Option(help="Seconds for a connection.")] = 10.0,
    read_timeout: Annotated[float, typer.Option(help="Seconds without a received byte.")] = 20.0,
    backoff: Annotated[float, typer.Option(help="Seconds before the second attempt.")] = 1.0,
    scheduler: Annotated[
        str | None,
        typer.Option(
            envvar="EDGE_GLASS_SCHEDULER",
            help="Download in parallel: a Dask scheduler address, or processes:N. The output is "
            "identical.",
        ),
    ] = None,
    parts: Annotated[
        int,
        typer.Option(min=1, help="Number of parts for --scheduler. Each host is in one part."),
    ] = 16,
) -> None:
    """Download the images that a Parquet file links to; resume an earlier run.

    Example: edge-glass fetch pixmo-cap/data images/pixmo-cap --subset pixmo-cap
    """
    try:
        from edge_glass.training.fetch import session
    except ModuleNotFoundError as error:
        if error.name not in ("aiohttp", "yarl"):
            raise
        raise DataError(
            f"fetch needs {error.name}, which is not installed: "
            "`pip install 'edge-glass-training[fetch]'`"
        ) from error
    from edge_glass.encoders.processors import num_cpus
    from edge_glass.training.fetch.input import Folder
    from edge_glass.training.runtime.executor import open_executor
    from edge_glass.training.runtime.progress import say

    if processes is None:
        processes = max(1, min(MAX_PROCESSES, num_cpus() - 1))
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
        image_sha256=image_sha256,  # type: ignore[arg-type]  # FetchConfig checks the value
        allow_private=allow_private,
        retry_failed=retry_failed,
        retry_dead=retry_dead,
        mirrors=tuple(mirror or ()),
        rows_per_shard=rows_per_shard,
        min_success=min_success,
        user_agent=user_agent,
        proxy=proxy,
        placeholder_links=placeholder_links,
        drop_placeholders=drop_placeholders,
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
        typer.echo("edge-glass: stopped; run the same command again to resume", err=True)
        raise typer.Exit(130) from None
    for line in summary.lines(Folder(out)):
        say(line)
    if summary.success < min_success:
        raise DataError(
            f"{out}: {summary.success:.1%} of the images are there, --min-success is "
            f"{min_success:.1%}. The images that were downloaded are kept: see `reason` in "
            f"{Folder(out).manifest}, then add --retry-failed or --mirror"
        )
