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
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
) -> None:
    """Serve models over HTTP with OpenAI's interface, and a page to try them.

    Without --vlm and --align, models/vlm_qa and models/align are served if they exist.

    Example: edge-glass serve --images photos
    """
    try:
        from edge_glass.fusion.serve.app import create_app
        from edge_glass.fusion.serve.server import is_loopback, run_server
    except ModuleNotFoundError as error:
        raise ValueError(
            f"`edge-glass serve` needs the Python package {error.name}, which is not installed: "
            'python -m pip install "edge-glass-fusion[serve]"'
        ) from error
    from edge_glass.fusion.serve.served import load_served

    if not is_loopback(host):
        raise ValueError(f"--host is {host}, expected a loopback address such as 127.0.0.1")
    served = load_served(vlm=vlm, align=align, images=images, index=index, runtime=runtime)
    app = create_app(served)
    typer.echo(f"edge-glass: http://{host}:{port}", err=True)
    run_server(app, host, port)
