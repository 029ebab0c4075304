"""A stage's outputs appear whole or not at all."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edge_glass.encoders.checkpoint import write_atomic
from edge_glass.training.runtime.sync import sync

CHAIN = "chain.json"  # the hash chain of a stage that trains, in its output folder
CERTIFICATE = "certificate.json"  # the chain and facts about the machine, in `LOGS / stage`


@contextmanager
def output_folder(final: Path) -> Iterator[Path]:
    """Yields a temporary folder beside `final`; it takes final's place when the block succeeds.

    On an error (a full disk, bad data) the temporary folder goes and `final` stays as it was.

    Raises:
        OSError: where the disk is full, naming the folder and what to do.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    work = final.parent / f".{final.name}.partial"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        yield work
    except BaseException as error:
        shutil.rmtree(work, ignore_errors=True)
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise OSError(
                errno.ENOSPC,
                f"no space left on the disk while writing {final}; nothing was left half-written: "
                f"free some space below {final.parent.resolve()}, then run the stage again",
            ) from error
        raise
    sync_tree(work)
    replace_folder(work, final)


def sync_tree(folder: Path) -> None:
    """Flushes every file and folder below `folder` to the disk, so that a rename is safe."""
    for path in [folder, *sorted(folder.rglob("*"))]:
        sync(path)


def replace_folder(work: Path, final: Path) -> None:
    """Renames `work` to `final`, moving a previous `final` out of the way and deleting it."""
    old = final.parent / f".{final.name}.old"
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        final.rename(old)
    work.rename(final)
    shutil.rmtree(old, ignore_errors=True)


def write_json(path: Path, value: Any) -> None:
    """Writes JSON that diffs well: indented, keys in the order given, one newline at the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def rounded(value: Any, digits: int = 4) -> Any:
    """Rounds all floats of nested data, so that files diff well."""
    if isinstance(value, float):
        return round(value, digits)
    if isinstance(value, dict):
        return {key: rounded(each, digits) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(each, digits) for each in value]
    return value
