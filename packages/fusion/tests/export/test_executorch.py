"""Programs of ExecuTorch embed and answer as torch does; the tests do not require ExecuTorch.

Each program runs in a process of its own: a fault of ExecuTorch ends it without a Python error.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("onnxruntime")

from edge_glass.encoders.dual_encoder import DualEncoder
from edge_glass.fusion.export.formats import export_model
from edge_glass.fusion.vlm import VisionLanguageModel

MISSING = importlib.util.find_spec("executorch") is None
needs_executorch = pytest.mark.skipif(MISSING, reason="no executorch")
QUESTIONS = ["how many dogs are there?", "where is the cat?"]
TEXTS = ["a", "a red car " * 30]  # the shortest, and one that is cut
EXPORT = "from edge_glass.fusion.app.cli import main; main()"
EMBED = """
import sys
import numpy as np
from PIL import Image
from edge_glass.fusion.edge.dual_encoder import EdgeDualEncoder
folder, image, *texts = sys.argv[1:]
edge = EdgeDualEncoder(folder)
rows = [edge.encode_text(texts), edge.encode_image([Image.open(image)])]
np.save(folder + "/rows.npy", np.concatenate(rows))
"""
ANSWER = """
import json, sys
import numpy as np
from PIL import Image
from edge_glass.fusion.edge.config import GraphError
from edge_glass.fusion.edge.vlm import EdgeVlm
folder, path, *questions = sys.argv[1:]
edge, image = EdgeVlm(folder), Image.open(path)
answers = edge.answer([image] * len(questions), questions)
try:
    edge.prefill({**edge.encode(image), "input_ids": np.zeros((1, 600), np.int64)})
except GraphError as error:
    answers.append(str(error))
with open(folder + "/answers.json", "w") as file:
    json.dump(answers, file)
"""


def run(code: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def export(model: Path, out: Path, data: Path) -> dict[str, float]:
    done = run(EXPORT, "export", "executorch", model, out, "--data", data)
    assert done.returncode == 0, done.stderr
    found: dict[str, float] = json.loads((out / "parity.json").read_text())["fp32"]
    return found


@pytest.fixture
def red(tmp_path: Path) -> Path:
    path = tmp_path / "red.png"
    Image.new("RGB", (40, 30), "red").save(path)
    return path


@pytest.mark.skipif(not MISSING, reason="executorch is installed")
def test_a_missing_executorch_is_one_line(dual_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is not installed: .* --no-deps executorch=="):
        export_model("executorch", dual_folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@needs_executorch
@pytest.mark.slow
def test_a_dual_encoder_embeds_as_in_torch(
    dual: DualEncoder, dual_folder: Path, prepared_data: Path, tmp_path: Path, red: Path
) -> None:
    out = tmp_path / "out"
    assert export(dual_folder, out, prepared_data)["max_difference"] > 0
    done = run(EMBED, out, red, *TEXTS)
    assert done.returncode == 0, done.stderr
    expected = torch.cat([dual.encode_text(TEXTS), dual.encode_image([Image.open(red)])])
    # unit vectors; sums in float32 in a different order differ by some 1e-7
    np.testing.assert_allclose(np.load(out / "rows.npy"), expected, atol=1e-5)
    (out / "executorch" / "text_model.pte").write_bytes(b"no program")
    assert "text_model.pte is broken" in run(EMBED, out, red, *TEXTS).stderr


@needs_executorch
@pytest.mark.slow
def test_a_model_answers_as_in_torch(
    vlm_folder: Path, prepared_data: Path, tmp_path: Path, red: Path
) -> None:
    out, model = tmp_path / "out", VisionLanguageModel.from_pretrained(vlm_folder)
    for weight in (each for each in model.parameters() if each.requires_grad and each.ndim > 1):
        torch.nn.init.normal_(weight, std=0.1)  # logits of a trained model's scale
    model.save_pretrained(tmp_path / "model")
    assert export(tmp_path / "model", out, prepared_data)["equal_answers"] == 1.0
    done = run(ANSWER, out, red, *QUESTIONS)
    assert done.returncode == 0, done.stderr
    *answers, too_long = json.loads((out / "answers.json").read_text())
    assert answers == model.answer([Image.open(red)] * 2, QUESTIONS)
    assert "prefill.pte does not run" in too_long
