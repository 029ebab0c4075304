"""Programs of ExecuTorch embed and answer as torch does; it is no requirement of the tests."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("onnxruntime")

from edge_glass.encoders.dual_encoder import DualEncoder
from edge_glass.fusion.edge.config import GraphError
from edge_glass.fusion.edge.dual_encoder import EdgeDualEncoder
from edge_glass.fusion.edge.vlm import EdgeVlm
from edge_glass.fusion.export.formats import export_model
from edge_glass.fusion.vlm import VisionLanguageModel

MISSING = importlib.util.find_spec("executorch") is None
needs_executorch = pytest.mark.skipif(MISSING, reason="no executorch")
QUESTIONS = ("how many dogs are there?", "where is the cat?")


@pytest.mark.skipif(not MISSING, reason="executorch is installed")
def test_a_missing_executorch_is_one_line(dual_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs the Python package executorch"):
        export_model("executorch", dual_folder, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@needs_executorch
@pytest.mark.slow
def test_a_dual_encoder_embeds_as_in_torch(
    dual: DualEncoder, dual_folder: Path, prepared_data: Path, tmp_path: Path
) -> None:
    out, image = tmp_path / "out", Image.new("RGB", (40, 30), "red")
    with pytest.raises(ValueError, match="precision is int8, expected fp32"):
        export_model("executorch", dual_folder, out, data=prepared_data, precisions=["int8"])
    export_model("executorch", dual_folder, out, data=prepared_data)
    edge = EdgeDualEncoder(out)
    for text in ("a", "a red car " * 30):  # the shortest and one that is cut
        np.testing.assert_allclose(edge.encode_text([text]), dual.encode_text([text]), atol=1e-5)
    np.testing.assert_allclose(edge.encode_image([image]), dual.encode_image([image]), atol=1e-5)
    assert json.loads((out / "parity.json").read_text())["fp32"]["max_difference"] > 0
    (out / "executorch" / "text_model.pte").write_bytes(b"no program")
    with pytest.raises(ValueError, match=r"text_model\.pte is broken"):
        EdgeDualEncoder(out).encode_text(["a"])


@needs_executorch
@pytest.mark.slow
def test_a_model_answers_as_in_torch(vlm_folder: Path, prepared_data: Path, tmp_path: Path) -> None:
    out, model = tmp_path / "out", VisionLanguageModel.from_pretrained(vlm_folder)
    for weight in (each for each in model.parameters() if each.requires_grad and each.ndim > 1):
        torch.nn.init.normal_(weight, std=0.1)  # logits of a trained model's scale
    model.save_pretrained(tmp_path / "model")
    export_model("executorch", tmp_path / "model", out, data=prepared_data)
    assert json.loads((out / "parity.json").read_text())["fp32"]["equal_answers"] == 1.0
    edge, image = EdgeVlm(out), Image.new("RGB", (60, 40), "red")
    assert edge.answer([image] * 2, QUESTIONS) == model.answer([image] * 2, QUESTIONS)
    visual = edge.encode(image)
    too_long = np.zeros((1, 600), np.int64)
    with pytest.raises(GraphError, match=r"prefill\.pte does not run"):
        edge.prefill({**visual, "input_ids": too_long})
