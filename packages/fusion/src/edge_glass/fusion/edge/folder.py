"""The folder of an exported model: config.json, ONNX graphs and tokenizer files.

`edge-glass export onnx` writes it. config.json lists the graphs per precision and describes the
preprocessing as data.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnxruntime import InferenceSession, SessionOptions
from tokenizers import Tokenizer

FORMAT = "edge-glass-onnx/1"
DUAL_ENCODER, VLM = "dual_encoder", "vision_language_model"
PRECISIONS = ("fp32", "int8")
CONFIG_FILE, TOKENIZER_FILE = "config.json", "tokenizer.json"
FIELDS = {  # that config.json must have, by kind
    DUAL_ENCODER: ("graphs", "image", "matryoshka_dims", "text"),
    VLM: ("graphs", "image", "max_positions", "num_prefix_positions", "text"),
}

Arrays = dict[str, NDArray[Any]]


class Graph:
    """An ONNX graph that runs on one CPU thread."""

    def __init__(self, path: Path) -> None:
        """Loads the graph.

        Raises:
            OSError: if the file does not exist.
            ValueError: if it is broken.
        """
        options = SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors only
        if not path.is_file():
            raise FileNotFoundError(f"{path} does not exist; export the model again")
        try:
            self.session = InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors have no common class
            raise ValueError(_broken(path, error)) from error
        self.inputs = [each.name for each in self.session.get_inputs()]
        self.outputs = [each.name for each in self.session.get_outputs()]

    def __call__(self, values: Mapping[str, NDArray[Any]]) -> Arrays:
        """Runs the graph on those values that it takes; returns the outputs by name."""
        taken = {name: values[name] for name in self.inputs}
        found: Sequence[NDArray[Any]] = self.session.run(self.outputs, taken)
        return dict(zip(self.outputs, found, strict=True))


class ExportedFolder:
    """An exported model's folder.

    Attributes:
        path: the folder.
        config: content of config.json.
        precision: which of the folder's graphs are used.
    """

    def __init__(self, path: Path, *, kind: str, precision: str | None = None) -> None:
        """Reads config.json; `precision` is int8 by default if the folder has it.

        Raises:
            FileNotFoundError: if the folder holds no exported model.
            ValueError: if it holds one of a different kind, or lacks the precision or a field.
        """
        self.path = path
        self.config = read_config(path)
        if self.config.get("kind") != kind:
            raise ValueError(
                f"{path} holds a {self.config.get('kind')}, expected a {kind}; give the folder "
                "that `edge-glass export onnx` wrote for that model"
            )
        missing = [name for name in FIELDS[kind] if name not in self.config]
        if missing:
            raise ValueError(
                f"{path / CONFIG_FILE} has no {', '.join(missing)}; export the model again"
            )
        found = [each for each in PRECISIONS if each in self.config["graphs"]]
        if not found or (precision is not None and precision not in found):
            wanted = precision or " or ".join(PRECISIONS)
            raise ValueError(f"{path} has no {wanted} graphs, only {list(self.config['graphs'])}")
        self.precision = precision or found[-1]

    def graph(self, name: str) -> Graph:
        """Loads the graph of this name."""
        return Graph(self.path / self.config["graphs"][self.precision][name])

    def tokenizer(self) -> Tokenizer:
        """Loads the tokenizer; it cuts and pads nothing yet."""
        path = self.path / TOKENIZER_FILE
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the only class that tokenizers raises
            raise ValueError(_broken(path, error)) from error
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer


def read_config(folder: Path) -> dict[str, Any]:
    """Reads config.json of an exported model.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is not the config of an exported model.
    """
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist; give a folder that `edge-glass export onnx` wrote"
        )
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(_broken(path, error)) from error
    found = config.get("format") if isinstance(config, dict) else None
    if found != FORMAT:
        raise ValueError(
            f"{path}: format is {found!r}, expected {FORMAT!r}; write the folder with "
            "`edge-glass export onnx MODEL FOLDER`"
        )
    return dict(config)


def _broken(path: Path, error: Exception) -> str:
    reason = " ".join(str(error).split())
    return f"{path} is broken ({reason}); export the model again"


def normalised(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Divides rows by their length, at least 1e-12, as torch's `normalize` does."""
    lengths = np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
    unit: NDArray[np.float32] = rows / np.maximum(lengths, np.float32(1e-12))
    return unit
