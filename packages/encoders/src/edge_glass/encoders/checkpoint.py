"""Checkpoints: a folder of ``config.json`` and ``model.safetensors``, no pickle.

Every file is written beside its place, synced and renamed, so that a kill or a full disk leaves
either the old file or the new one. What is unusual: model.safetensors carries the config a second
time. The old config.json goes first, then the new model.safetensors comes in one rename, then the
new config.json; without config.json the inner copy counts. A kill at any moment thus leaves the
old checkpoint or the new one, and no mixture. Equal input gives equal bytes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

CONFIG_FILE = "config.json"
TENSORS_FILE = "model.safetensors"
METADATA_KEY = "config"


class CheckpointError(ValueError):
    """A checkpoint that is missing, broken, or does not fit the model."""


def save_checkpoint(
    folder: str | os.PathLike[str],
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    files: Mapping[str, bytes] | None = None,
) -> None:
    """Writes a checkpoint; other files in the folder are left alone.

    Args:
        folder: made where it does not exist.
        config: what JSON can hold.
        tensors: name to tensor, on any device.
        files: further files, name to content, for example a tokenizer's.

    Raises:
        OSError: where the disk is full or can't be written; no file is left half-written.
        ValueError: where the config is no JSON, or a further file takes a checkpoint's own name.
    """
    folder, files = Path(folder), files or {}
    taken = {CONFIG_FILE, TENSORS_FILE} & set(files)
    if taken:
        raise ValueError(f"files names {sorted(taken)}, which the checkpoint writes itself")
    text = json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    ordered = {name: tensors[name].detach().cpu().contiguous() for name in sorted(tensors)}
    # One metadata key only: safetensors writes several in no fixed order.
    packed = save(ordered, {METADATA_KEY: text})
    folder.mkdir(parents=True, exist_ok=True)
    for name in sorted(files):
        write_atomic(folder / name, files[name])
    (folder / CONFIG_FILE).unlink(missing_ok=True)
    _sync_folder(folder)
    write_atomic(folder / TENSORS_FILE, packed)
    write_atomic(folder / CONFIG_FILE, text.encode())


def load_checkpoint(
    folder: str | os.PathLike[str],
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Reads what ``save_checkpoint`` wrote: the config, and the tensors on the CPU.

    Raises:
        CheckpointError: where a file is missing or broken.
    """
    folder = Path(folder)
    config_path, tensors_path = folder / CONFIG_FILE, folder / TENSORS_FILE
    if not tensors_path.is_file():
        raise CheckpointError(
            f"{tensors_path} does not exist: {folder} is no checkpoint; "
            "run the stage that writes it"
        )
    try:
        with safe_open(tensors_path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if config_path.is_file():
            text = config_path.read_text(encoding="utf-8")
        elif METADATA_KEY in metadata:
            text = metadata[METADATA_KEY]
        else:
            raise CheckpointError(f"{config_path} does not exist: {folder} is no checkpoint")
        config = json.loads(text)
    except (json.JSONDecodeError, UnicodeDecodeError, SafetensorError) as error:
        raise CheckpointError(
            f"{folder} holds a broken checkpoint ({error}): run again the stage that writes it"
        ) from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{config_path} holds a {type(config).__name__}, expected an object")
    return config, tensors


def load_strict(module: nn.Module, tensors: Mapping[str, Tensor], *, where: str) -> None:
    """Copies tensors into a module; every name and every shape must agree.

    Args:
        module: what to fill.
        tensors: name to tensor.
        where: the tensors come from, for the error.

    Raises:
        CheckpointError: lists every missing and extra name and every shape that differs.
    """
    check_tensors(module.state_dict(), tensors, where=where)
    module.load_state_dict(dict(tensors), strict=True)


def check_tensors(
    expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor], *, where: str
) -> None:
    """Compares names and shapes.

    Raises:
        CheckpointError: lists every missing and extra name and every shape that differs.
    """
    faults = [f"missing: {name}" for name in sorted(set(expected) - set(tensors))]
    faults += [f"extra: {name}" for name in sorted(set(tensors) - set(expected))]
    faults += [
        f"shape of {name}: found {tuple(tensors[name].shape)}, "
        f"expected {tuple(expected[name].shape)}"
        for name in sorted(set(expected) & set(tensors))
        if tensors[name].shape != expected[name].shape
    ]
    if faults:
        raise CheckpointError(
            f"{where} does not fit the model that its config describes:\n  " + "\n  ".join(faults)
        )


def write_atomic(path: str | os.PathLike[str], content: bytes) -> None:
    """Writes a file so that at any moment its path holds the old content or the new.

    Raises:
        OSError: where the disk is full or can't be written; the old content stays.
    """
    path = Path(path)
    # What a killed run left goes first. A writer at work at this moment loses its temporary file
    # and stops with an error: two runs that write one folder must not both seem to succeed.
    for orphan in path.parent.glob(f".{path.name}.*.tmp"):
        orphan.unlink(missing_ok=True)
    temporary = path.parent / f".{path.name}.{os.getpid()}.tmp"
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OSError(
            error.errno,
            f"can't write {path} ({error.strerror}): see that the disk has room, that the folder "
            "may be written, and that no other run writes to it",
        ) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    # A rename lasts through a power cut only once the folder itself is synced.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
