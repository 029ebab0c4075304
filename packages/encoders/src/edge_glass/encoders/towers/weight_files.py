"""The rule for files of pretrained weights: safetensors, and every tensor must have its place.

A pickle file can run code when it is read. Two published models exist only as pickle; they are
named in `params.yaml`, their version or commit is fixed, and torch reads nothing but tensors from
them (`weights_only`): CLIP ViT-L/14 at 336 pixels, and the package of EfficientNet-Lite0.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

PICKLES = (".bin", ".ckpt", ".pkl", ".pt", ".pth")
NUM_SHOWN = 3
# Tensors that a checkpoint may hold although no embedding is computed from them.
UNREAD = (
    "position_ids",  # a buffer of older versions of transformers: 0, 1, 2 ...
    "rotary_emb.inv_freq",  # likewise: computed from the config
)


def refuse_pickles(folder: Path, model: str) -> None:
    """Refuses a folder in which a pickle file of weights has no safetensors file beside it.

    A subfolder may hold other binary files, such as those of OpenVINO, which are never read.

    Raises:
        ValueError: names the file and the remedy.
    """
    own = [path for path in folder.glob("*") if path.suffix in PICKLES]
    for path in sorted({*own, *folder.rglob("pytorch_model*.bin")}):
        if not any(path.parent.glob("*.safetensors")):
            raise ValueError(f"{model} holds {path.relative_to(folder)}, {remedy_of_pickle()}")


def remedy_of_pickle() -> str:
    """Returns the end of the error about a pickle file."""
    return (
        "a pickle file, which can run code when it is read: convert it to safetensors "
        "(docs/encoders.md), or give a model that has safetensors"
    )


def check_tensors_placed(
    model: str, missing: Collection[str], unexpected: Collection[str], unread: Sequence[str] = ()
) -> None:
    """Refuses a model whose config.json means different tensors than its file holds.

    transformers draws what is missing and leaves out what it did not expect, such as the last
    layers if the config names fewer; both would give a different model without an error.

    Args:
        model: its name, for the error.
        missing: tensors of the model that the file lacks.
        unexpected: tensors of the file that the model has no place for.
        unread: beginnings of the names of unexpected tensors that are never read.

    Raises:
        ValueError: names the first of them.
    """
    others = [n for n in unexpected if not n.startswith(tuple(unread)) and not n.endswith(UNREAD)]
    if missing:
        raise ValueError(
            f"{model}: {len(missing)} tensors of its config.json are not in its weights, such as "
            f"{_shown(missing)}; copy the model's whole folder again"
        )
    if others:
        raise ValueError(
            f"{model}: its weights hold {len(others)} tensors that its config.json has no place "
            f"for, such as {_shown(others)}; copy the model's whole folder again"
        )


def _shown(names: Collection[str]) -> str:
    return ", ".join(sorted(names)[:NUM_SHOWN])
