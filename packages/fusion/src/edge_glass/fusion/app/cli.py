"""The command `edge-glass`: runs models; other packages add subcommands by entry point.

Nothing heavy is imported at the top, because `edge-glass --help` must answer at once: each command
imports what it needs when it runs.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated

import typer

COMMANDS_GROUP = "edge_glass.commands"
MAX_NAMED = 10  # images left out that are listed one by one

app = typer.Typer(
    name="edge-glass",
    help="Align images with text, and answer questions about images.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback()
def root() -> None:
    """Keeps `edge-glass` a group of subcommands, even if only one is installed."""


@app.command()
def ask(
    image: Annotated[Path, typer.Argument(help="An image file.")],
    questions: Annotated[list[str], typer.Argument(help="One or more questions.")],
    model: Annotated[Path, typer.Option(help="Folder of the model.")] = Path("models/vlm_qa"),
    temperature: Annotated[
        float, typer.Option(help="Draw words at random; higher varies more. 0 is greedy.")
    ] = 0.0,
    top_p: Annotated[
        float, typer.Option(help="Draw from the most probable words of this total probability.")
    ] = 1.0,
    seed: Annotated[
        int, typer.Option(help="Seed of the draws; the same seed gives the same answers.")
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines.")] = False,
) -> None:
    """Answer questions about an image.

    Example: edge-glass ask scene.png "How many dogs are there?" "What is in the top left?"
    """
    from edge_glass.decoders.sampling import Sampling
    from edge_glass.fusion.app.ask import ask_image

    sampling = Sampling(temperature=temperature, top_p=top_p, seed=seed)
    answers = ask_image(image, questions, model, sampling)
    for question, answer in zip(questions, answers, strict=True):
        if as_json:
            row = {"image": str(image), "question": question, "answer": answer}
            typer.echo(json.dumps(row, ensure_ascii=False))
        else:
            typer.echo(f"{question} {answer}")


@app.command()
def chat(
    image: Annotated[Path, typer.Argument(help="An image file.")],
    model: Annotated[Path, typer.Option(help="Folder of the model.")] = Path("models/vlm_qa"),
) -> None:
    """Answer questions about an image, one per line, until Ctrl-D or /quit.

    /image FILE changes the image. In a pipe the command prints one answer per line, and stops at
    the first error.

    Example: edge-glass chat scene.png
    """
    from edge_glass.fusion.app.ask import Chat, load_model, read_image, run_chat

    read_image(image)  # report a wrong path before the model takes time to load
    conversation = Chat(load_model(model), image)
    if not sys.stdin.isatty():
        run_chat(conversation, sys.stdin, typer.echo)
        return
    typer.echo("One question per line. /image FILE changes the image, /quit or Ctrl-D ends.")
    run_chat(
        conversation,
        typed_lines("> "),
        lambda answer: typer.echo(answer or "(no answer)"),
        lambda message: typer.echo(f"edge-glass: {message}", err=True),
    )


@app.command()
def search(
    query: Annotated[str, typer.Argument(help="A text, or the path of an image.")],
    folder: Annotated[Path, typer.Argument(help="A folder of images; subfolders are included.")],
    model: Annotated[Path, typer.Option(help="Folder of the dual encoder.")] = Path("models/align"),
    dim: Annotated[
        int | None,
        typer.Option(help="Numbers to compare, one of the model's Matryoshka dims; default all."),
    ] = None,
    top: Annotated[int, typer.Option(help="How many images to show.")] = 5,
    sheet: Annotated[
        Path | None, typer.Option(help="Also draw a contact sheet into this PNG file.")
    ] = None,
    index: Annotated[
        Path | None, typer.Option(help="Folder of the index; default FOLDER/.edge_glass_index.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines.")] = False,
) -> None:
    """Find the images of a folder that are most like a text or an image.

    The first search encodes the folder; later ones encode only new and changed images.

    Example: edge-glass search "a red car" images --top 10 --sheet found.png
    """
    if sheet is not None and sheet.suffix.lower() != ".png":
        raise ValueError(f"--sheet is {sheet}, expected a name that ends in .png")
    from edge_glass.fusion.search.query import draw_search, search_folder

    def notify(message: str) -> None:
        typer.echo(f"edge-glass: {message}", err=True)

    result = search_folder(
        query, folder, model_folder=model, dim=dim, top=top, index_folder=index, notify=notify
    )
    if result.left_out:
        notify(f"images left out: {len(result.left_out)}")
        for path, fault in list(result.left_out.items())[:MAX_NAMED]:
            typer.echo(f"  {path}: {fault}", err=True)
        if len(result.left_out) > MAX_NAMED:
            typer.echo(f"  and {len(result.left_out) - MAX_NAMED} more", err=True)
    for each in result.found:
        if as_json:
            row = {"rank": each.rank, "score": each.score, "image": str(each.path)}
            typer.echo(json.dumps(row, ensure_ascii=False))
        else:
            typer.echo(f"{each.rank:3}  {each.score:.4f}  {each.path}")
    if sheet is not None:
        draw_search(sheet, query, folder, result)


@app.command()
def export(
    format_name: Annotated[
        str, typer.Argument(metavar="FORMAT", help="sentence-transformers; see docs/export.md.")
    ],
    model: Annotated[Path, typer.Argument(help="Folder of a model, such as models/align.")],
    out: Annotated[Path, typer.Argument(help="A new folder.")],
) -> None:
    """Write a model in a format that other tools read.

    Example: edge-glass export sentence-transformers models/align exported
    """
    from edge_glass.fusion.export.formats import export_model

    export_model(format_name, model, out)
    typer.echo(f"{out}: {format_name}")


def typed_lines(prompt: str) -> Iterator[str]:
    """Yields the lines that a person types in a terminal, until Ctrl-D or Ctrl-C.

    If Python has readline, the arrow keys edit a line and bring back earlier ones.
    """
    if importlib.util.find_spec("readline") is not None:
        import readline  # noqa: F401 - input() uses it once it is loaded
    while True:
        try:
            line = input(prompt)
        except (EOFError, KeyboardInterrupt):
            sys.stdout.write("\n")  # the shell's prompt then begins on its own line
            return
        yield line


def main() -> None:
    """Runs the command line.

    An error that a user can correct prints one message and exits with status 1. If the environment
    has EDGE_GLASS_TRACEBACK=1, the traceback is printed too.
    """
    # At import bitsandbytes, if it is installed, complains about an optional kernel.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    for plugin in sorted(entry_points(group=COMMANDS_GROUP), key=lambda each: each.name):
        plugin.load()(app)
    try:
        app()
    except (ValueError, OSError) as error:
        if os.environ.get("EDGE_GLASS_TRACEBACK") == "1":
            raise
        typer.echo(f"edge-glass: {error}", err=True)
        raise SystemExit(1) from error
