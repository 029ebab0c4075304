"""Weights in int8: which tensors are stored so, and how far the unpacked ones are off."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

import onnx
from onnx import TensorProto, helper, numpy_helper

from edge_glass.fusion.edge.folder import Graph
from edge_glass.fusion.export.onnx_graph import BLOCK, SMALLEST, quantize_weights

WIDTH = 128


def test_large_weights_are_stored_in_int8_and_small_ones_stay(tmp_path: Path) -> None:
    draws = np.random.default_rng(0)
    large = draws.normal(size=(WIDTH, SMALLEST // WIDTH)).astype(np.float32)
    small = draws.normal(size=(SMALLEST // WIDTH, WIDTH - BLOCK)).astype(np.float32)
    assert small.size < SMALLEST == large.size
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "large"], ["hidden"]),
            helper.make_node("MatMul", ["hidden", "small"], ["y"]),
        ],
        "two products",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", WIDTH - BLOCK])],
        [numpy_helper.from_array(large, "large"), numpy_helper.from_array(small, "small")],
    )
    source, target = tmp_path / "fp32.onnx", tmp_path / "int8.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, source)
    quantize_weights(source, target)

    stored = {
        each.name: numpy_helper.to_array(each) for each in onnx.load(target).graph.initializer
    }
    assert set(stored) == {"large_int8", "large_scale", "large_shape", "small"}
    assert stored["large_int8"].dtype == np.int8
    np.testing.assert_array_equal(stored["small"], small)
    blocks = large.reshape(-1, BLOCK)
    scale = np.abs(blocks).max(axis=1, keepdims=True) / 127
    unpacked = stored["large_int8"] * stored["large_scale"]
    assert (np.abs(unpacked - blocks) <= 0.501 * scale).all()  # half a step, and float32's rounding
    # the graph computes with the unpacked weights
    x = draws.normal(size=(3, WIDTH)).astype(np.float32)
    expected = x @ unpacked.reshape(large.shape) @ small
    np.testing.assert_allclose(Graph(target)({"x": x})["y"], expected, rtol=1e-3, atol=1e-2)
