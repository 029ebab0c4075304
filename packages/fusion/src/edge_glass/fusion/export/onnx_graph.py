"""ONNX graphs: from a torch module to a file, and from float32 to int8.

What is unusual: a graph holds no names of source files and no stack traces, which torch's exporter
writes into it, so that equal models give equal bytes on every machine.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

BLOCK = 32  # weights that share a scale
SMALLEST = 2**15  # weights of a tensor; smaller ones stay in float32
LONGEST_CAUSE = 300  # letters of torch's own message that are repeated
OPSET = 18  # read by ONNX Runtime 1.14 and newer, and by onnxruntime-web
Dynamic = Mapping[str, Mapping[int, str]]
WriteGraph = Callable[
    [nn.Module, Mapping[str, Tensor | list[Tensor]], Sequence[str], Dynamic, Path], None
]


def write_graph(
    module: nn.Module,
    inputs: Mapping[str, Tensor | list[Tensor]],
    outputs: Sequence[str],
    dynamic: Dynamic,
    path: Path,
) -> None:
    """Writes the graph of a module.

    Args:
        module: in evaluation mode; its `forward` takes the inputs in their order.
        inputs: examples, by name; a list becomes one input per tensor, `name` and its number.
        outputs: names of what `forward` returns.
        dynamic: by name of an input, the axes whose sizes may differ, with a name for each.
        path: of the new file.

    Raises:
        ValueError: if the module does what a graph can't express.
    """
    axes_of = {
        name if isinstance(value, Tensor) else f"{name}{number}": dynamic.get(name, {})
        for name, value in inputs.items()
        for number in range(1 if isinstance(value, Tensor) else len(value))
    }
    automatic = torch.export.Dim.DYNAMIC
    shapes: list[Any] = []
    for name, value in inputs.items():
        axes = dict.fromkeys(dynamic.get(name, {}), automatic)
        shapes.append(axes if isinstance(value, Tensor) else [axes for _ in value])
    try:
        with torch.no_grad(), quiet():
            program = torch.onnx.export(
                module,
                tuple(inputs.values()),
                input_names=list(axes_of),
                output_names=list(outputs),
                dynamic_shapes=tuple(shapes),
                opset_version=OPSET,
                dynamo=True,
                optimize=True,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        cause = error.__cause__ or error  # the exporter's own message is a page of advice
        found = " ".join(f"{type(cause).__name__}: {cause}".split())[:LONGEST_CAUSE]
        raise ValueError(
            f"torch can't write {path.stem} as an ONNX graph ({found}): train with different "
            "components, or set EDGE_GLASS_TRACEBACK=1 to see where"
        ) from error
    assert program is not None  # None only for a graph that torch writes itself
    graph = program.model_proto
    _name_axes(graph, axes_of)
    _clean(graph)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(graph.SerializeToString(deterministic=True))


def quantize_weights(source: Path, target: Path) -> None:
    """Stores weights in int8, with a scale per 32 of them; the products stay in float32.

    Three nodes unpack a weight, which the runtime does once, when it loads the graph. Small
    tensors, such as the filters of depthwise convolutions, stay in float32. With activations in
    int8 too, R@1 of the sample moved around the limit or beyond it: docs/edge.md has the figures.
    """
    graph = onnx.load(source)
    readers: dict[str, set[str]] = {}
    for node in graph.graph.node:
        for name in node.input:
            readers.setdefault(name, set()).add(node.op_type)
    unpacking: list[onnx.NodeProto] = []
    for tensor in list(graph.graph.initializer):
        if not _is_large_weight(tensor, readers.get(tensor.name, set())):
            continue
        weight, name = numpy_helper.to_array(tensor), tensor.name
        blocks = weight.reshape(-1, BLOCK)
        scale = np.abs(blocks).max(axis=1, keepdims=True) / np.float32(127)
        scale[scale == 0] = 1.0
        parts = {
            "int8": np.rint(blocks / scale).astype(np.int8),
            "scale": scale,
            "shape": np.array(weight.shape, np.int64),
        }
        graph.graph.initializer.remove(tensor)
        for part, value in parts.items():
            graph.graph.initializer.append(numpy_helper.from_array(value, f"{name}_{part}"))
        unpacking += [
            helper.make_node("Cast", [f"{name}_int8"], [f"{name}_float"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{name}_float", f"{name}_scale"], [f"{name}_blocks"]),
            helper.make_node("Reshape", [f"{name}_blocks", f"{name}_shape"], [name]),
        ]
    nodes = list(graph.graph.node)
    del graph.graph.node[:]
    graph.graph.node.extend([*unpacking, *nodes])
    target.write_bytes(graph.SerializeToString(deterministic=True))


def _is_large_weight(tensor: onnx.TensorProto, readers: set[str]) -> bool:
    """Returns whether a tensor is a matrix or the filters of a convolution, and large enough.

    Small ones save little, and the first layers of a vision encoder, which are small, suffer most.
    """
    size, row = math.prod(tensor.dims), math.prod(tensor.dims[1:])
    return (
        tensor.data_type == TensorProto.FLOAT
        and len(tensor.dims) in (2, 4)
        and bool(readers)
        and readers <= {"Conv", "Gather", "Gemm", "MatMul", "Transpose"}
        and size >= SMALLEST
        and size % BLOCK == 0
        and row >= 2 * BLOCK
    )


def _name_axes(graph: onnx.ModelProto, axes_of: Dynamic) -> None:
    """Gives dynamic axes of the inputs their names; torch numbers them."""
    renamed: dict[str, str] = {}
    for each in graph.graph.input:
        for axis, name in axes_of.get(each.name, {}).items():
            renamed[each.type.tensor_type.shape.dim[axis].dim_param] = name
    for each in (*graph.graph.input, *graph.graph.output):
        for size in each.type.tensor_type.shape.dim:
            if size.dim_param in renamed:
                size.dim_param = renamed[size.dim_param]


def _clean(graph: onnx.ModelProto) -> None:
    """Removes inputs that no node reads, and what names source files of this machine."""
    used = {name for node in _nodes(graph) for name in node.input}
    kept = [each for each in graph.graph.input if each.name in used]
    del graph.graph.input[:]
    graph.graph.input.extend(kept)
    del graph.graph.value_info[:]
    del graph.metadata_props[:]
    graph.doc_string, graph.graph.doc_string = "", ""
    del graph.graph.metadata_props[:]
    for node in _nodes(graph):
        del node.metadata_props[:]
        node.doc_string = ""
    for each in (*graph.graph.input, *graph.graph.output, *graph.graph.initializer):
        each.doc_string = ""
        del each.metadata_props[:]
    for function in graph.functions:
        function.doc_string = ""
        del function.metadata_props[:]


def _nodes(graph: onnx.ModelProto) -> list[onnx.NodeProto]:
    waiting = list(graph.graph.node)
    for function in graph.functions:
        waiting += function.node
    found: list[onnx.NodeProto] = []
    while waiting:
        node = waiting.pop()
        found.append(node)
        for attribute in node.attribute:
            waiting += attribute.g.node
    return found


@contextmanager
def quiet() -> Iterator[None]:
    """Silences the exporter's messages, which concern its developers."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript")]
    levels = [each.level for each in (*loggers, logging.getLogger())]
    for each in (*loggers, logging.getLogger()):
        each.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for each, level in zip((*loggers, logging.getLogger()), levels, strict=True):
            each.setLevel(level)
