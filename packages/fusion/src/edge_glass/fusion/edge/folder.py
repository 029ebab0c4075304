"""The folder of an exported model: config.json, graphs and tokenizer files.

`edge-glass export onnx` or `executorch` writes it. config.json lists the graphs per precision and
describes the preprocessing as data.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
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
    """An ONNX graph, or a program of ExecuTorch (.pte), that runs on one CPU thread."""

    def __init__(self, path: Path) -> None:
        """Loads the graph.

        Raises:
            OSError: if the file does not exist.
            ValueError: if it is broken.
        """
        self.path = path
        if not path.is_file():
            raise FileNotFoundError(f"{path} does not exist; {AGAIN}")
        load = _load_program if path.suffix == ".pte" else _load_session
        try:
            self.inputs, self.outputs, self._run = load(path)
        except ModuleNotFoundError as error:
            raise ValueError(
                f"{path} needs the Python package {error.name}, which is not installed; see "
                "docs/edge.md"
            ) from error
        except Exception as error:  # the runtimes' errors have no common class
            raise ValueError(_broken(path, error)) from error

    def __call__(self, values: Mapping[str, NDArray[Any]]) -> Arrays:
        """Runs the graph on those values that it takes; returns the outputs by name."""
        missing = [name for name in self.inputs if name not in values]
        if missing:
            raise GraphError(
                f"{self.path} takes {', '.join(missing)}, which the other graphs of the folder do "
                f"not give; {AGAIN}"
            )
        try:
            found = self._run({name: values[name] for name in self.inputs})
        except Exception as error:  # the runtimes' errors have no common class
            reason = " ".join(str(error).split())
            raise GraphError(f"{self.path} does not run ({reason}); {AGAIN}") from error
        return dict(zip(self.outputs, found, strict=True))


Run = Callable[[Arrays], Sequence[NDArray[Any]]]


def _load_session(path: Path) -> tuple[list[str], list[str], Run]:
    """Returns the names of a graph's inputs and outputs, and what runs it."""
    options = SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # fatal only: errors are raised as well
    session = InferenceSession(path, options, providers=["CPUExecutionProvider"])
    outputs = [each.name for each in session.get_outputs()]
    inputs = [each.name for each in session.get_inputs()]
    return inputs, outputs, lambda values: session.run(outputs, values)


def _load_program(path: Path) -> tuple[list[str], list[str], Run]:
    """Returns the same of a program of ExecuTorch.

    ExecuTorch knows inputs and outputs by position; the methods `inputs` and `outputs` of the file
    return their names. Its Python runtime needs torch; its runtimes in other languages don't.
    """
    import torch

    with warnings.catch_warnings():  # a warning that its interface is experimental
        warnings.simplefilter("ignore")
        from executorch.extension.pybindings import portable_lib
        from executorch.runtime import Runtime

    if portable_lib._threadpool_get_thread_count() != 1:  # unsafe while a program runs
        portable_lib._unsafe_reset_threadpool(1)
    program = Runtime.get().load_program(path)
    inputs, outputs = (program.load_method(each).execute([]) for each in ("inputs", "outputs"))
    about = program.load_method("forward").metadata
    sizes = [about.input_tensor_meta(place).sizes() for place in range(len(inputs))]
    # An input of size 0, such as the prefix of a model without one, must be passed too. It is made
    # by torch: ExecuTorch aborts on the strides of an empty array of NumPy.
    empty = {
        name: torch.zeros(*size) for name, size in zip(inputs, sizes, strict=True) if 0 in size
    }

    def run(values: Arrays) -> Sequence[NDArray[Any]]:
        tensors = {name: torch.from_numpy(np.ascontiguousarray(values[name])) for name in values}
        given = [(tensors | empty)[name] for name in inputs]
        # this keeps the program: a method alone does not keep the memory that its program read
        return [each.numpy() for each in program.load_method("forward").execute(given)]

    return [name for name in inputs if name not in empty], outputs, run


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
            tokenizer.encode("a \U0010ffff")  # fails if unknown words have no token
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
