"""The command `edge-glass`: runs models; other packages add subcommands by entry point.

Nothing heavy is imported here: `edge-glass --help` must answer at once, so each command imports
what it needs when it runs.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated

import typer

COMMANDS_GROUP = "edge_glass.commands"
MOST_NAMED = 10  # unreadable pictures that are named one by one

app = typer.Typer(
    name="edge-glass",
    help="Align pictures with text, and answer questions about pictures.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback()
def root() -> None:
    """Keeps `edge-glass` a group of subcommands, however few are installed."""


@app.command()
def ask(
    picture: Annotated[Path, typer.Argument(help="A picture file.")],
    questions: Annotated[list[str], typer.Argument(help="One or more questions.")],
    model: Annotated[Path, typer.Option(help="Folder of the model.")] = Path("models/vlm_qa"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines.")] = False,
) -> None:
    """Answer questions about a picture.

    Example: edge-glass ask scene.png "How many dogs are there?" "What is in the top left?"
    """
    from edge_glass.fusion.app.ask import ask_picture

    answers = ask_picture(picture, questions, model)
    for question, answer in zip(questions, answers, strict=True):
        if as_json:
            row = {"picture": str(picture), "question": question, "answer": answer}
            typer.echo(json.dumps(row, ensure_ascii=False))
        else:
            typer.echo(f"{question} {answer}")


@app.command()
def chat(
    picture: Annotated[Path, typer.Argument(help="A picture file.")],
    model: Annotated[Path, typer.Option(help="Folder of the model.")] = Path("models/vlm_qa"),
) -> None:
    """Answer questions about a picture, one a line, until Ctrl-D or /quit.

    /picture FILE changes the picture. In a pipe it prints one answer a line, and an error ends it.

    Example: edge-glass chat scene.png
    """
    from edge_glass.fusion.app.ask import Chat, load_model, read_picture, run_chat
    from edge_glass.fusion.app.terminal import terminal_lines

    read_picture(picture)  # a wrong path shows before the model takes its time
    conversation = Chat(load_model(model), picture)
    if not sys.stdin.isatty():
        run_chat(conversation, sys.stdin, typer.echo)
        return
    typer.echo("One question a line. /picture FILE changes the picture, /quit or Ctrl-D ends.")
    run_chat(
        conversation,
        terminal_lines("> "),
        lambda answer: typer.echo(answer or "(no answer)"),
        lambda message: typer.echo(f"edge-glass: {message}", err=True),
    )


@app.command()
def search(
    query: Annotated[str, typer.Argument(help="A text, or the path of a picture.")],
    folder: Annotated[Path, typer.Argument(help="A folder of pictures, subfolders included.")],
    model: Annotated[Path, typer.Option(help="Folder of the dual encoder.")] = Path("models/align"),
    dim: Annotated[
        int | None, typer.Option(help="Numbers compared: one of the model's dims; default all.")
    ] = None,
    top: Annotated[int, typer.Option(help="How many pictures to show.")] = 5,
    sheet: Annotated[
        Path | None, typer.Option(help="Also draw a contact sheet into this PNG file.")
    ] = None,
    index: Annotated[
        Path | None, typer.Option(help="Folder of the index; default FOLDER/.edge_glass_index.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines.")] = False,
) -> None:
    """Find the pictures of a folder that are most like a text or a picture.

    The folder is indexed once; later only new and changed pictures are encoded.

    Example: edge-glass search "a red car" pictures --top 10 --sheet found.png
    """
    if sheet is not None and sheet.suffix.lower() != ".png":
        raise ValueError(f"--sheet is {sheet}, expected a name that ends in .png")
    from edge_glass.fusion.search.query import draw_search, search_folder

    def notify(message: str) -> None:
        typer.echo(f"edge-glass: {message}", err=True)

    result = search_folder(
        query, folder, model_folder=model, dim=dim, top=top, index_folder=index, notify=notify
    )
    if result.unreadable:
        notify(f"{len(result.unreadable)} unreadable pictures are left out:")
        for path, fault in list(result.unreadable.items())[:MOST_NAMED]:
            typer.echo(f"  {path}: {fault}", err=True)
        if len(result.unreadable) > MOST_NAMED:
            typer.echo(f"  and {len(result.unreadable) - MOST_NAMED} more", err=True)
    for each in result.found:
        if as_json:
            row = {"rank": each.rank, "score": each.score, "picture": str(each.path)}
            typer.echo(json.dumps(row, ensure_ascii=False))
        else:
            typer.echo(f"{each.rank:3}  {each.score:.4f}  {each.path}")
    if sheet is not None:
        draw_search(sheet, query, folder, result)


def main() -> None:
    """Runs the command line.

    An error that a user can put right prints one message and exits with status 1; with
    EDGE_GLASS_TRACEBACK=1 in the environment it comes with its traceback.
    """
    # where it is installed, it complains at import about an optional kernel that nobody asked for
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
