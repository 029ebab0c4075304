"""The command `edge-glass serve`: an HTTP server with OpenAI's interface."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_glass.fusion.app.options import Runtime


def serve(
    vlm: Annotated[
        Path | None, typer.Option(help="Folder of a vision-language model; see below.")
    ] = None,
    align: Annotated[Path | None, typer.Option(help="Folder of a dual encoder; see below.")] = None,
    images: Annotated[
        Path | None, typer.Option(help="A folder of images that the page searches.")
    ] = None,
    index: Annotated[
        Path | None, typer.Option(help="Folder of its index; default IMAGES/.edge_glass_index.")
    ] = None,
    runtime: Runtime = "torch",
    host: Annotated[
        str, typer.Option(help="Address to listen on; one that is not loopback needs a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8000,
    token_file: Annotated[
        Path | None,
        typer.Option(help="File with the token of clients; default: variable EDGE_GLASS_TOKEN."),
    ] = None,
    allow_remote_images: Annotated[
        bool,
        typer.Option("--allow-remote-images", help="Request images by public URLs, too."),
    ] = False,
    max_body_mb: Annotated[int, typer.Option(min=1, help="Largest body, in MiB.")] = 10,
    max_megapixels: Annotated[int, typer.Option(min=1, help="Largest image.")] = 50,
    max_questions: Annotated[
        int, typer.Option(min=1, help="Most questions, or inputs to embed, of one request.")
    ] = 64,
    max_queue: Annotated[
        int, typer.Option(min=1, help="Most requests that wait or run at once.")
    ] = 128,
) -> None:
    """Serve models over HTTP with OpenAI's interface, and a page to try them.

    Without --vlm and --align, models/vlm_qa and models/align are served if they exist.

    Example: edge-glass serve --images photos
    """
    try:
        from edge_glass.fusion.serve.app import create_app
        from edge_glass.fusion.serve.server import bound_socket, find_token, run_server
    except ModuleNotFoundError as error:
        raise ValueError(
            f"`edge-glass serve` needs the Python package {error.name}, which is not installed: "
            'python -m pip install "edge-glass-fusion[serve]"'
        ) from error
    from edge_glass.fusion.serve.limits import Limits
    from edge_glass.fusion.serve.served import load_served

    token = find_token(token_file, host)
    limits = Limits(
        max_body_bytes=max_body_mb * 2**20,
        max_pixels=max_megapixels * 1_000_000,
        max_questions=max_questions,
        max_queue=max_queue,
    )
    bound = bound_socket(host, port)
    served = load_served(
        vlm=vlm, align=align, images=images, index=index, runtime=runtime, notify=notify
    )
    app = create_app(served, limits, token=token, allow_remote=allow_remote_images)
    shown = f"[{host}]" if ":" in host else host
    for name in served.names():
        notify(f"{name.name} ({name.sha256[:16]})")
    notify(f"http://{shown}:{port} (Ctrl-C ends)")
    run_server(app, bound)


def notify(message: str) -> None:
    """Prints a message for the person who started the server."""
    typer.echo(f"edge-glass: {message}", err=True)
