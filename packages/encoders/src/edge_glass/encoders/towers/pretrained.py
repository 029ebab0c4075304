"""The places of pretrained weights: an installed Python package, a folder or file, or the hub.

A reference is `package:NAME` (the folder of the package, found without importing it), a path, or a
hub id (`owner/name`) with a revision. The revision must be a commit, because a branch moves, and
then the results change.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from edge_glass.encoders.files import write_atomic

CODE = (".py", ".pyc", ".pyi")
PACKAGE = "package:"
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)
COMMIT = re.compile(r"[0-9a-f]{40}")
LONGEST_CAUSE = 300  # letters of transformers' own message that are repeated


def model_path(reference: str, pattern: str) -> Path:
    """Finds the one file that matches a glob `pattern` under a package or a path.

    The file nearest to the top counts. A path of a file is returned as it is.
    """
    root = package_folder(reference) if reference.startswith(PACKAGE) else Path(reference)
    if root.is_file():
        return root
    if not root.is_dir():
        raise FileNotFoundError(f"{reference} is not a file or folder: give a path that exists")
    found = sorted(root.rglob(pattern), key=lambda path: (len(path.parts), path))
    if not found:
        raise FileNotFoundError(f"{reference} holds no {pattern}: searched in {root}")
    depth = len(found[0].parts)
    if len(found) > 1 and len(found[1].parts) == depth:
        raise ValueError(
            f"{reference} holds several {pattern}: {[str(p) for p in found]}; give the path of one"
        )
    return found[0]


def package_folder(reference: str) -> Path:
    """Finds the folder of the Python package of a reference `package:NAME`."""
    name = reference.removeprefix(PACKAGE)
    spec = find_spec(name) if name.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(
            f"the Python package {name!r} of {reference!r} is not installed: "
            f"python -m pip install {name.replace('_', '-')}"
        )
    return Path(next(iter(spec.submodule_search_locations)))


def named_model(model: str | None, option: str) -> str:
    """Returns a model's reference; one that is None is refused with the place to write it."""
    if model is None:
        raise ValueError(
            f"model is null: name a folder, package:NAME, or a hub id with its commit as revision, "
            f"such as -S {option}.model=FOLDER"
        )
    return model


def locate_model(
    model: str, revision: str | None, markers: Sequence[str] = ("config.json",)
) -> tuple[str, bool]:
    """Turns the reference of a model into the argument of `from_pretrained`.

    Args:
        model: `package:NAME`, a folder, or a hub id.
        revision: the commit, 40 hexadecimal digits; a hub id needs it, a folder ignores it.
        markers: names of files; the model is where the first that exists lies.

    Returns:
        The folder or hub id, and whether it is a folder, which needs no network.

    Raises:
        FileNotFoundError: if a package or a folder does not exist.
        ValueError: if a hub id has no commit as its revision.
    """
    if model.startswith((PACKAGE, ".", "/", "~")) or Path(model).is_dir():
        return str(_marked_folder(_expanded(model), markers)), True
    if not HUB_ID.fullmatch(model):
        raise FileNotFoundError(f"{model!r} is not a folder, a hub id (owner/name) or package:NAME")
    if revision is None or not COMMIT.fullmatch(revision):
        raise ValueError(
            f"revision of {model} is {revision!r}, expected a commit of 40 hexadecimal digits: "
            "a branch moves, and then the results change"
        )
    return model, False


def _expanded(model: str) -> str:
    try:
        return str(Path(model).expanduser())
    except RuntimeError as error:  # ~name of nobody on this machine
        raise FileNotFoundError(f"{model} is in no known home folder; give its path") from error


def _marked_folder(reference: str, markers: Sequence[str]) -> Path:
    *others, last = markers
    for marker in others:
        try:
            return model_path(reference, marker).parent
        except FileNotFoundError:
            continue  # the last marker's error names what is missing
    return model_path(reference, last).parent


def copy_model(
    model: str, revision: str | None, folder: Path, markers: Sequence[str] = ("config.json",)
) -> None:
    """Copies the files of a model that lies on this machine; a hub id is left at its commit.

    Code and symbolic links are not copied. The arguments are those of `locate_model`.
    """
    place, is_local = locate_model(model, revision, markers)
    if not is_local:
        return
    for path in sorted(Path(place).rglob("*")):
        if path.is_file() and not path.is_symlink() and path.suffix not in CODE:
            write_atomic(folder / path.relative_to(place), path.read_bytes())


def local_config(model: str, revision: str | None) -> dict[str, Any] | None:
    """Returns a model's config.json if it is on this machine; downloads nothing.

    The arguments are those of `locate_model`.

    Raises:
        ValueError: if the file is broken.
    """
    try:
        place, is_local = locate_model(model, revision)
    except (FileNotFoundError, ValueError):
        return None  # the stage that loads the model reports what is wrong
    path: object = Path(place) / "config.json"
    if not is_local:
        from huggingface_hub import try_to_load_from_cache

        path = try_to_load_from_cache(place, "config.json", revision=revision)
    if not isinstance(path, str | Path):
        return None
    with one_line(model):
        config = json.loads(Path(path).read_text(encoding="utf-8"))
    return table(config, model)


def table(config: Any, model: str) -> dict[str, Any]:
    """Returns the content of a model's config.json, which has to be a table."""
    if not isinstance(config, dict):
        raise ValueError(f"the config.json of {model} holds no table; copy the model again")
    return config


@contextmanager
def no_progress_bar() -> Iterator[None]:
    """Turns off the progress bar of transformers during the block: loading takes seconds.

    Its warnings are off too: it lists the text tower of a whole CLIP as unexpected.
    """
    from transformers.utils import logging

    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


@contextmanager
def one_line(model: str, *, is_local: bool = True) -> Iterator[None]:
    """Turns the errors of a model that can't be loaded into one line that names it.

    The remedy depends on whether the model lies on this machine, or on the hub.

    Raises:
        OSError: if the hub or a file can't be read.
        ValueError: for all else.
    """
    try:
        yield
    except Exception as error:  # of any type: transformers checks little of what it reads
        # the text of a KeyError, for example, is only the key
        kind = "" if isinstance(error, (OSError, ValueError)) else f"{type(error).__name__}: "
        cause = " ".join((kind + str(error)).split())
        cause = cause if len(cause) <= LONGEST_CAUSE else f"{cause[:LONGEST_CAUSE]}..."
        raised = OSError if isinstance(error, OSError) else ValueError
        remedy = "copy the model again"
        if not is_local:
            remedy = "run it once with a network, or give a folder that holds the model"
        raise raised(f"{model} can't be loaded ({cause}); {remedy}") from error
