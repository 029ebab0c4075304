"""The command `edge-glass`: runs models; other packages add subcommands by entry point.

Nothing heavy is imported at the top, because `edge-glass --help` must answer at once: each command
imports what it needs when it runs.
"""

from __future__ import annotations

import io
import logging
import os
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from edge_glass.decoders.sampling import Sampling

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


Temperature = Annotated[
    float, typer.Option(help="Draw words at random; higher varies more. 0 is greedy.")
]
TopP = Annotated[
    float, typer.Option(help="Draw from the most probable words of this total probability.")
]
Seed = Annotated[int, typer.Option(help="Seed of the draws; the same seed gives the same text.")]
MaxNewTokens = Annotated[
    int | None, typer.Option(help="Longest answer, in tokens; default: as the model was trained.")
]
Stop = Annotated[
    list[str] | None, typer.Option(help="End an answer before this text. May be repeated.")
]


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
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines.")] = False,
) -> None:
    """Answer questions about an image, each independent of the others.

    Example: edge-glass ask scene.png "How many dogs are there?" "What is in the top left?"
    """
    from edge_glass.fusion.app.ask import ask_image
    from edge_glass.fusion.app.terminal import json_line, write_piece

    sampling = make_sampling(temperature, top_p, seed, max_new_tokens, stop)
    answers = ask_image(image, questions, model, sampling)
    for question, pieces in zip(questions, answers, strict=True):
        if as_json:
            answer = "".join(pieces)
            typer.echo(json_line(image=str(image), question=question, answer=answer))
            continue
        write_piece(f"{question} ")
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
            help="Whether earlier questions and answers are part of the input; default: if the "
            "model was trained on conversations.",
        ),
    ] = None,
) -> None:
    """Hold a conversation about an image, one question per line, until Ctrl-D or /quit.

    /new begins a new conversation, and /image FILE changes the image. In a pipe the command prints
    one answer per line, and stops at the first error.

    Example: edge-glass chat scene.png
    """
    from edge_glass.fusion.app.ask import Chat, load_model, read_image, run_chat
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
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines.")] = False,
) -> None:
    """Find the images of a folder that are most like a text or an image.

    The first search encodes the folder; later ones encode only new and changed images.

    Example: edge-glass search "a red car" images --top 10 --sheet found.png
    """
    if sheet is not None and sheet.suffix.lower() != ".png":
        raise ValueError(f"--sheet is {sheet}, expected a name that ends in .png")
    from edge_glass.encoders.file_names import shown
    from edge_glass.fusion.app.terminal import json_line
    from edge_glass.fusion.search.query import draw_search, search_folder

    def notify(message: str) -> None:
        typer.echo(f"edge-glass: {message}", err=True)

    result = search_folder(
        query, folder, model_folder=model, dim=dim, top=top, index_folder=index, notify=notify
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


@app.command()
def export(
    format_name: Annotated[
        str,
        typer.Argument(metavar="FORMAT", help="onnx, sentence-transformers; see docs/export.md."),
    ],
    model: Annotated[Path, typer.Argument(help="Folder of a model, such as models/align.")],
    out: Annotated[Path, typer.Argument(help="A new folder.")],
    data: Annotated[
        Path, typer.Option(help="Prepared data that the exported model is compared on.")
    ] = Path("artifacts/prepared"),
    precision: Annotated[
        list[str] | None, typer.Option(help="fp32 or int8 (onnx); both by default.")
    ] = None,
) -> None:
    """Write a model in a format that other tools read.

    Example: edge-glass export onnx models/align exported
    """
    from edge_glass.fusion.export.formats import PRECISIONS, export_model

    export_model(format_name, model, out, data=data, precisions=precision or PRECISIONS)
    typer.echo(f"{out}: {format_name}")


def make_sampling(
    temperature: float,
    top_p: float,
    seed: int,
    max_new_tokens: int | None,
    stop: list[str] | None,
) -> Sampling:
    """Returns the options of generation; wrong ones are refused before a model is loaded."""
    from edge_glass.decoders.sampling import Sampling

    return Sampling(
        temperature=temperature,
        top_p=top_p,
        seed=seed,
        max_new_tokens=max_new_tokens,
        stop=tuple(stop or ()),
    )


def main() -> None:
    """Runs the command line.

    An error that a user can correct prints one message and exits with status 1. If the environment
    has EDGE_GLASS_TRACEBACK=1, the traceback is printed too.
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
        typer.echo(f"edge-glass: {error}", err=True)
        raise SystemExit(1) from error
