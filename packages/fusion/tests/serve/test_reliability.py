"""Load and faults, as benchmarks/serving*.py in short; the runtime onnx; the command."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("openai")

import openai

from edge_glass.fusion.export.formats import export_model
from edge_glass.fusion.serve.served import load_served
from edge_glass.fusion.vlm import VisionLanguageModel

CODE = "from edge_glass.fusion.app.cli import main; main()"
BENCHMARKS = Path(__file__).parents[4] / "benchmarks"


@pytest.mark.slow  # starts a server and sends hundreds of requests
@pytest.mark.parametrize(
    ("script", "option", "expected"),
    [
        ("serving.py", "--requests=2000", "2000 requests of 32 clients"),
        ("serving_faults.py", "--malformed=300", "no faults"),
    ],
)
def test_a_server_survives(
    script: str, option: str, expected: str, vlm_folder: Path, dual_folder: Path, tmp_path: Path
) -> None:
    for name, folder in (("vlm_qa", vlm_folder), ("align", dual_folder)):
        (tmp_path / name).symlink_to(folder)
    done = subprocess.run(
        [
            *(sys.executable, str(BENCHMARKS / script), option),
            *("--vlm", str(tmp_path / "vlm_qa"), "--align", str(tmp_path / "align")),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert expected in done.stdout


@pytest.mark.slow  # exports two models
def test_exported_models_are_served(
    vlm_folder: Path,
    dual_folder: Path,
    prepared_data: Path,
    tmp_path: Path,
    start: Callable[..., Any],
    asked: Callable[..., Any],
) -> None:
    pytest.importorskip("onnx")
    model = VisionLanguageModel.from_pretrained(vlm_folder)
    for weight in (each for each in model.parameters() if each.requires_grad and each.ndim > 1):
        torch.nn.init.normal_(weight, std=0.1)  # logits of a trained model's scale
    model.save_pretrained(tmp_path / "model")
    for name, folder in (("vlm", tmp_path / "model"), ("dual", dual_folder)):
        out = tmp_path / name
        export_model("onnx", folder, out, data=prepared_data, precisions=["fp32"])
    question = "how many dogs are there?"
    exported = load_served(vlm=tmp_path / "vlm", align=tmp_path / "dual", runtime="onnx")
    torch_served = load_served(vlm=tmp_path / "model", align=dual_folder)
    found: list[list[Any]] = []
    for served, names in ((exported, ("vlm", "dual")), (torch_served, ("model", "model"))):
        with start(served) as server:
            client = server.client()
            whole = client.chat.completions.create(model=names[0], messages=asked(question))
            part = client.chat.completions.create(
                model=names[0], messages=asked(question), max_tokens=2
            )
            vector = client.embeddings.create(model=names[1], input="a red car", dimensions=8)
            found.append([
                (whole.choices[0], whole.usage), (part.choices[0], part.usage),
                vector.data[0].embedding, vector.usage,
            ])  # fmt: skip
            if served is exported:
                with pytest.raises(openai.BadRequestError, match="models answer greedily"):
                    client.chat.completions.create(
                        model="vlm", messages=asked(question), temperature=1
                    )
    assert found[0][:2] == found[1][:2]
    assert found[0][3] == found[1][3]
    # float32 through different kernels, as in the parity check of the export
    np.testing.assert_allclose(found[0][2], found[1][2], atol=1e-4)


@pytest.mark.slow  # starts processes
def test_the_command_reports_what_is_wrong_before_it_loads_a_model(
    dual_folder: Path, tmp_path: Path
) -> None:
    def errors(*options: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", CODE, "serve", "--align", str(dual_folder), *options],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        return done.stderr

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert errors("--port", port).startswith(f"edge-glass: --host 127.0.0.1 --port {port}: Ad")
    assert "needs a token" in errors("--host", "0.0.0.0")
    token = tmp_path / "token"
    token.write_text("0123456789abcdef")
    elsewhere = ("--host", "203.0.113.7", "--token-file", str(token))
    assert "Cannot assign requested address; choose a different one" in errors(*elsewhere)
