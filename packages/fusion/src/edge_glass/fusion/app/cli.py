"""The command `edge-glass`: runs models; other packages add subcommands by entry point.

Nothing heavy is imported at the top, because `edge-glass --help` must answer at once: each command
imports what it needs when it runs.
"""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Iterable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated

import typer

from edge_glass.encoders.file_names import shown
from edge_glass.fusion.app.export_command import export
from edge_glass.fusion.app.import_command import import_adapters
from edge_glass.fusion.app.index_command import index_app
from edge_glass.fusion.app.options import (
    Candidates,
    MaxNewTokens,
    Precision,
    Runtime,
    Seed,
    Stop,
    Temperature,
    TopP,
    check_greedy,
    check_png,
    check_runtime,
    check_text,
    make_sampling,
)
from edge_glass.fusion.app.push_command import push
from edge_glass.fusion.app.serve_command import serve

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
    temperature: Temperature = 0.0,
    top_p: TopP = 1.0,
    seed: Seed = 0,
    max_new_tokens: MaxNewTokens = None,
    stop: Stop = None,
    runtime: Runtime = "torch",
    sheet: Annotated[
        Path | None,
        typer.Option(help="Also draw the answers, with the points that they name, into this PNG."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines.")] = False,
) -> None:
    """Answer questions about an image, each independent of the others.

    Example: edge-glass ask scene.png "How many dogs are there?" "What is in the top left?"
    """
    check_png(sheet)
    for question in questions:
        check_text(question)
    from edge_glass.fusion.app.new_words import new_word_notes
    from edge_glass.fusion.app.terminal import json_line, write_piece

    if runtime == "onnx":
        from edge_glass.fusion.app.ask_onnx import ask_exported

        check_greedy(temperature, top_p, seed, max_new_tokens, stop)
        answers: Iterable[Iterable[str]] = ask_exported(image, questions, model)
    else:
        from edge_glass.fusion.app.ask import ask_image

        check_runtime(runtime)
        sampling = make_sampling(temperature, top_p, seed, max_new_tokens, stop)
        answers = ask_image(image, questions, model, sampling)
    for line in new_word_notes(model, questions):
        typer.echo(line, err=True)
    answered: list[tuple[str, str]] = []
    for question, pieces in zip(questions, answers, strict=True):
        if as_json:
            answer = "".join(pieces)
            typer.echo(json_line(image=str(image), question=question, answer=answer))
        else:
            write_piece(f"{question} ")
            answer = ""
            for piece in pieces:
                write_piece(piece)
                answer += piece
            typer.echo()
        answered.append((question, answer))
    if sheet is not None:
        from edge_glass.fusion.app.image_file import read_image
        from edge_glass.fusion.sheets.answer_sheet import answer_sheet

        answer_sheet(sheet, read_image(image), answered)


@app.command()
def describe(
    image: Annotated[Path, typer.Argument(help="An image file.")],
    model: Annotated[Path, typer.Option(help="Folder of the model.")] = Path("models/vlm_qa"),
    length: Annotated[
        int | None, typer.Option(min=1, help="Wanted length, in words; the model aims at it.")
    ] = None,
    temperature: Temperature = 0.0,
    top_p: TopP = 1.0,
    seed: Seed = 0,
    max_new_tokens: MaxNewTokens = None,
    stop: Stop = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON line.")] = False,
) -> None:
    """Describe an image, with a model that learned from captions.

    Example: edge-glass describe scene.png --length 40
    """
    from edge_glass.fusion.app.ask import describe_image
    from edge_glass.fusion.app.terminal import json_line, write_piece

    sampling = make_sampling(temperature, top_p, seed, max_new_tokens, stop)
    pieces = describe_image(image, model, length, sampling)
    if as_json:
        typer.echo(json_line(image=str(image), description="".join(pieces)))
        return
    for piece in pieces:
        write_piece(piece)
    typer.echo()


@app.command()
def chat(
    image: Annotated[Path, typer.Argument(help="An image file.")],
    model: Annotated[Path, typer.Option(help="Folder of the model.")] = Path("models/vlm_qa"),
    temperature: Temperature = 0.0,
    top_p: TopP = 1.0,
    seed: Seed = 0,
    max_new_tokens: MaxNewTokens = None,
    stop: Stop = None,
    history: Annotated[
        bool | None,
        typer.Option(
            "--history/--no-history",
            help="Whether earlier questions and answers are part of the input; default: only if "
            "the model was trained on conversations.",
        ),
    ] = None,
) -> None:
    """Hold a conversation about an image, one question per line, until Ctrl-D or /quit.

    /new clears the history, and /image FILE changes the image. In a pipe the command prints
    one answer per line, and stops at the first error.

    Example: edge-glass chat scene.png
    """
    from edge_glass.fusion.app.ask import Chat, load_model, run_chat
    from edge_glass.fusion.app.image_file import read_image
    from edge_glass.fusion.app.terminal import typed_lines, write_piece

    read_image(image)  # report a wrong path before the model takes time to load
    sampling = make_sampling(temperature, top_p, seed, max_new_tokens, stop)
    conversation = Chat(load_model(model), image, sampling, keep_history=history)
    if not sys.stdin.isatty():
        run_chat(conversation, sys.stdin, typer.echo)
        return
    typer.echo("One question per line. /image FILE changes the image, /quit or Ctrl-D ends.")
    if conversation.keeps_history:
        typer.echo("Earlier questions and answers are part of the input; /new clears them.")
    elif history is None:
        typer.echo("This model was trained on single questions: each is answered alone.")
        typer.echo("--history makes earlier ones part of the input; expect worse answers.")
    run_chat(
        conversation,
        typed_lines("> "),
        lambda answer: typer.echo("" if answer else "(no answer)"),
        lambda message: typer.echo(f"edge-glass: {message}", err=True),
        write_piece,
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
    runtime: Runtime = "torch",
    precision: Precision = "float32",
    candidates: Candidates = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines.")] = False,
) -> None:
    """Find the images of a folder that are most like a text or an image.

    The first search encodes the folder; later ones encode only new and changed images.

    Example: edge-glass search "a red car" images --top 10 --sheet found.png
    """
    check_png(sheet)
    from edge_glass.fusion.app.terminal import json_line
    from edge_glass.fusion.search.query import draw_search, search_folder

    def notify(message: str) -> None:
        typer.echo(f"edge-glass: {message}", err=True)

    result = search_folder(
        query,
        folder,
        model_folder=model,
        dim=dim,
        top=top,
        index_folder=index,
        runtime=runtime,
        precision=precision,
        candidates=candidates,
        notify=notify,
    )
    if result.left_out:
        notify(f"images left out: {len(result.left_out)}")
        for path, fault in list(result.left_out.items())[:MAX_NAMED]:
            typer.echo(f"  {shown(path)}: {shown(fault)}", err=True)
        if len(result.left_out) > MAX_NAMED:
            where = "" if result.report is None else f"; {result.report} lists all"
            typer.echo(f"  and {len(result.left_out) - MAX_NAMED} more{where}", err=True)
    for each in result.found:
        if as_json:
            row = {"rank": each.rank, "score": each.score, "image": str(each.path)}
            typer.echo(json_line(**row, copies=each.copies))
        else:
            number = "a copy" if each.copies == 1 else f"{each.copies} copies"
            copies = f"  (and {number})" if each.copies else ""
            typer.echo(f"{each.rank:3}  {each.score:.4f}  {shown(str(each.path))}{copies}")
    if sheet is not None:
        draw_search(sheet, query, folder, result)


app.command()(export)
app.command()(import_adapters)
app.command()(push)
app.command()(serve)
app.add_typer(index_app, name="index")


def main() -> None:
    """Runs the command line.

    An error that a user can correct is one message and status 1; EDGE_GLASS_TRACEBACK=1 raises it.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of files hold what a terminal can't show
            stream.reconfigure(errors="backslashreplace")
    # At import bitsandbytes, if it is installed, complains about an optional kernel.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    for plugin in sorted(entry_points(group=COMMANDS_GROUP), key=lambda each: each.name):
        plugin.load()(app)
    try:
        app()
    except (ValueError, OSError) as error:
        if os.environ.get("EDGE_GLASS_TRACEBACK") == "1":
            raise
        typer.echo(f"edge-glass: {_in_words(error)}", err=True)
        raise SystemExit(1) from error


def _in_words(error: ValueError | OSError) -> str:
    """Returns the message of an error; of one by the system, without its number."""
    if not isinstance(error, OSError) or error.errno is None or not error.strerror:
        return str(error)
    name = error.filename
    where = f"{shown(os.fsdecode(name))}: " if isinstance(name, str | bytes) else ""
    return f"{where}{error.strerror}"
