"""The folder of an exported model: config.json, ONNX graphs and tokenizer files.

`edge-glass export onnx` writes it. config.json lists the graphs per precision and describes the
preprocessing as data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnxruntime import InferenceSession, SessionOptions
from tokenizers import Tokenizer

from edge_glass.encoders.towers.pixels import PixelTransform
from edge_glass.fusion.edge.config import AGAIN, CONFIG_FILE, GRAPHS, GraphError, read_config

PRECISIONS = ("fp32", "int8")
TOKENIZER_FILE = "tokenizer.json"

Arrays = dict[str, NDArray[Any]]


class Graph:
    """An ONNX graph that runs on one CPU thread."""

    def __init__(self, path: Path) -> None:
        """Loads the graph.

        Raises:
            OSError: if the file does not exist.
            ValueError: if it is broken.
        """
        self.path = path
        options = SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4  # fatal only: errors are raised, too
        if not path.is_file():
            raise FileNotFoundError(f"{path} does not exist; {AGAIN}")
        try:
            self.session = InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors have no common class
            raise ValueError(_broken(path, error)) from error
        self.inputs = [each.name for each in self.session.get_inputs()]
        self.outputs = [each.name for each in self.session.get_outputs()]

    def __call__(self, values: Mapping[str, NDArray[Any]]) -> Arrays:
        """Runs the graph on those values that it takes; returns the outputs by name."""
        missing = [name for name in self.inputs if name not in values]
        if missing:
            raise GraphError(
                f"{self.path} takes {', '.join(missing)}, which the other graphs of the folder do "
                f"not give; {AGAIN}"
            )
        taken = {name: values[name] for name in self.inputs}
        try:
            found: Sequence[NDArray[Any]] = self.session.run(self.outputs, taken)
        except Exception as error:  # onnxruntime's errors have no common class
            reason = " ".join(str(error).split())
            raise GraphError(f"{self.path} does not run ({reason}); {AGAIN}") from error
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
            ValueError: if it holds one of a different kind, lacks the precision, or a value of
                config.json is missing or wrong.
        """
        self.path = path
        self.kind, self.config = kind, read_config(path, kind)
        found = [each for each in PRECISIONS if each in self.config["graphs"]]
        if not found or (precision is not None and precision not in found):
            wanted = precision or " or ".join(PRECISIONS)
            raise ValueError(
                f"{path} has no {wanted} graphs, only {list(self.config['graphs'])}; {AGAIN}"
            )
        self.precision = precision or found[-1]

    def transform(self) -> PixelTransform:
        """Returns what turns an image into the pixels that the model reads.

        Raises:
            ValueError: if config.json has no such recipe, or a wrong one.
        """
        try:
            return PixelTransform.from_data(self.config.get("image"))
        except ValueError as error:
            raise ValueError(f"{self.path / CONFIG_FILE}: {error}; {AGAIN}") from None

    def graph(self, name: str) -> Graph:
        """Loads the graph of this name.

        Raises:
            OSError: if the file does not exist.
            ValueError: if it is broken, or a different graph.
        """
        path = self.path / self.config["graphs"][self.precision][name]
        graph = Graph(path)
        takes, gives = GRAPHS[self.kind][name]
        if takes not in graph.inputs or (gives and gives not in graph.outputs):
            raise ValueError(
                f"{path} takes {', '.join(graph.inputs)} and gives {', '.join(graph.outputs)}, so "
                f"it is not the graph {name}; {AGAIN}"
            )
        return graph

    def tokenizer(self) -> Tokenizer:
        """Loads the tokenizer; it cuts and pads nothing yet."""
        path = self.path / TOKENIZER_FILE
        try:
            tokenizer = Tokenizer.from_file(str(path))
            tokenizer.encode("a \U0010ffff")  # any text must do, so also words that are not known
        except Exception as error:  # the only class that tokenizers raises
            raise ValueError(_broken(path, error)) from error
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer


def _broken(path: Path, error: Exception) -> str:
    reason = " ".join(str(error).split())
    return f"{path} is broken ({reason}); {AGAIN}"


def normalised(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Divides rows by their length, at least 1e-12, as torch's `normalize` does."""
    lengths = np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
    unit: NDArray[np.float32] = rows / np.maximum(lengths, np.float32(1e-12))
    return unit
