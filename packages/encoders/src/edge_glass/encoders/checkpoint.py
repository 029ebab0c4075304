"""Checkpoints: a folder of `config.json` and `model.safetensors`, no pickle.

Each file is replaced in one step, so that a kill or a full disk leaves either the old file or the
new one. What is unusual: model.safetensors carries the config a second time. A save first deletes
the old config.json, then replaces model.safetensors, then writes the new config.json; while there
is no config.json, the inner copy counts. A kill at any moment thus leaves the old checkpoint or the
new one, never a mixture. A lock keeps two writers of the same folder apart. Equal input gives equal
bytes. Arrays are written and read without torch.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from edge_glass.encoders.files import NO_CONTENT, folder_lock, make_folder, sync, write_atomic

if TYPE_CHECKING:
    from torch import Tensor

CONFIG_FILE = "config.json"
TENSORS_FILE = "model.safetensors"
METADATA_KEY = "config"


class CheckpointError(ValueError):
    """A checkpoint that is missing, broken, or does not fit the model."""


def save_checkpoint(
    folder: str | os.PathLike[str],
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor] | Mapping[str, NDArray[Any]],
    files: Mapping[str, bytes] | None = None,
) -> None:
    """Writes a checkpoint; other files in the folder are left alone.

    Args:
        folder: made if it does not exist.
        config: what JSON can hold.
        tensors: name to tensor, on any device, or name to array.
        files: further files, name to content, such as those of a tokenizer.

    Raises:
        OSError: if the disk is full or the folder can't be written; no file is left half-written.
        ValueError: if JSON can't hold the config, or a further file has the name of one of the two.
    """
    folder, files = Path(folder), files or {}
    taken = {CONFIG_FILE, TENSORS_FILE} & set(files)
    if taken:
        raise ValueError(f"files names {sorted(taken)}, which the checkpoint writes itself")
    text = json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    packed = _packed(tensors, text)
    make_folder(folder)
    with folder_lock(folder):
        for name in sorted(files):
            write_atomic(folder / name, files[name])
        (folder / CONFIG_FILE).unlink(missing_ok=True)
        sync(folder)
        write_atomic(folder / TENSORS_FILE, packed)
        write_atomic(folder / CONFIG_FILE, text.encode())


def load_checkpoint(
    folder: str | os.PathLike[str],
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Reads what `save_checkpoint` wrote: the config, and the tensors on the CPU.

    Raises:
        CheckpointError: if a file is missing or broken.
    """
    return _load(Path(folder), "pt")


def load_arrays(
    folder: str | os.PathLike[str],
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Reads what `save_checkpoint` wrote: the config, and the tensors as arrays.

    Raises:
        CheckpointError: if a file is missing or broken.
    """
    return _load(Path(folder), "np")


@contextmanager
def building(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Names the folder in errors of a model that is built from its config.json."""
    try:
        yield
    except (ValueError, FileNotFoundError) as error:
        if os.fspath(folder) in str(error):
            raise
        raise CheckpointError(f"{Path(folder) / CONFIG_FILE}: {error}") from error
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "allocate memory" not in str(error):
            raise
        raise CheckpointError(
            f"{Path(folder) / CONFIG_FILE}: the sizes need more memory than there is; copy the "
            "model's whole folder again, or use a larger machine"
        ) from error


def _packed(tensors: Mapping[str, Any], text: str) -> bytes:
    # One metadata key only: safetensors writes several in no fixed order.
    metadata, names = {METADATA_KEY: text}, sorted(tensors)
    if any(isinstance(each, np.ndarray) for each in tensors.values()):
        from safetensors.numpy import save as save_arrays

        return save_arrays({name: np.ascontiguousarray(tensors[name]) for name in names}, metadata)
    from safetensors.torch import save

    return save({name: tensors[name].detach().cpu().contiguous() for name in names}, metadata)


def _load(folder: Path, framework: str) -> tuple[dict[str, Any], dict[str, Any]]:
    config_path, tensors_path = folder / CONFIG_FILE, folder / TENSORS_FILE
    if not tensors_path.is_file():
        note = folder / NO_CONTENT
        if note.is_file():
            reason = note.read_text(encoding="utf-8").strip()
            raise CheckpointError(f"{folder} holds no model, because {reason}: add some and train")
        raise CheckpointError(
            f"{tensors_path} does not exist: {folder} is not a checkpoint; "
            "run the stage that writes it"
        )
    try:
        with folder_lock(folder, shared=True):
            with safe_open(tensors_path, framework=framework) as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if config_path.is_file():
                text = config_path.read_text(encoding="utf-8")
            elif METADATA_KEY in metadata:
                text = metadata[METADATA_KEY]
            else:
                raise CheckpointError(f"{config_path} does not exist: {folder} is not a checkpoint")
        config = json.loads(text)
    except (json.JSONDecodeError, RecursionError, UnicodeDecodeError, SafetensorError) as error:
        raise CheckpointError(
            f"{folder} holds a broken checkpoint ({error}): run the stage that writes it again"
        ) from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{config_path} holds a {type(config).__name__}, expected an object")
    return config, tensors


def check_tensors(
    expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor], *, where: str
) -> None:
    """Compares names, shapes and types."""
    faults = [f"missing: {name}" for name in sorted(set(expected) - set(tensors))]
    faults += [f"extra: {name}" for name in sorted(set(tensors) - set(expected))]
    faults += [
        f"shape of {name}: found {tuple(tensors[name].shape)}, "
        f"expected {tuple(expected[name].shape)}"
        for name in sorted(set(expected) & set(tensors))
        if tensors[name].shape != expected[name].shape
    ]
    faults += [
        f"type of {name}: found {tensors[name].dtype}, expected {expected[name].dtype}: use the "
        "dtype that it was saved with"
        for name in sorted(set(expected) & set(tensors))
        if tensors[name].dtype != expected[name].dtype
    ]
    if faults:
        raise CheckpointError(
            f"{where} does not fit the model that its config describes:\n  " + "\n  ".join(faults)
        )
