"""Options that several commands share, and their checks before a model is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_glass.encoders.file_names import shown

if TYPE_CHECKING:
    from edge_glass.decoders.sampling import Sampling

Precision = Annotated[
    str,
    typer.Option(
        help="float32, int8 or 1bit: the numbers that choose candidates; full vectors rank."
    ),
]
Candidates = Annotated[
    int | None,
    typer.Option(
        help="Images per result that int8 or 1bit choose and full vectors rank; default 20."
    ),
]
Runtime = Annotated[
    str, typer.Option(help="torch, or onnx for a folder that `edge-glass export onnx` wrote.")
]
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


def check_png(sheet: Path | None) -> None:
    """Refuses a name of a sheet that is not that of a PNG file, before any work."""
    if sheet is not None and sheet.suffix.lower() != ".png":
        raise ValueError(f"--sheet is {sheet}, expected a name that ends in .png")


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


def check_text(text: str) -> None:
    """Refuses a text that is not UTF-8; Python holds its other bytes as lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{shown(text)}: not UTF-8; write the text in UTF-8") from error


def check_runtime(runtime: str) -> None:
    """Refuses an unknown runtime."""
    if runtime not in ("torch", "onnx"):
        raise ValueError(f"runtime is {runtime}, expected torch or onnx")


def check_greedy(*options: object) -> None:
    """Refuses options of sampling that are not the defaults: exported models answer greedily."""
    if options != (0.0, 1.0, 0, None, None):
        raise ValueError("--runtime onnx answers greedily: leave out the options of sampling")
