"""The example plug-in: what it computes, and that an installed one is chosen by its name."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
import yaml
from hatchling.builders.wheel import WheelBuilder

FOLDER = Path(__file__).parents[1]
ROOT = FOLDER.parents[1]


def test_the_prefix_is_the_projected_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER / "src"))
    from mean_fusion import MeanConfig

    fusion = MeanConfig().build(visual_width=2, width=2)
    with torch.no_grad():
        fusion.projection.weight.copy_(torch.eye(2))
        fusion.projection.bias.copy_(torch.tensor([10.0, 20.0]))
    visual = torch.tensor([[[1.0, 2.0], [3.0, 6.0]]])
    text = torch.tensor([[[0.5, 0.5]]])
    fused = fusion(visual, text)
    assert fused.prefix_length == 1
    assert fused.inputs_embeds.tolist() == [[[12.0, 24.0], [0.5, 0.5]]]


def test_an_installed_plug_in_is_a_choice(tmp_path: Path) -> None:
    wheel = next(WheelBuilder(str(FOLDER)).build(directory=str(tmp_path), versions=["standard"]))
    installed = tmp_path / "installed"
    zipfile.ZipFile(wheel).extractall(installed)
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    raw["fusions"]["mean"] = {"bias": False}
    raw["fusion"] = "mean"  # what `-S fusion=mean` writes
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(raw))
    script = (
        "from pathlib import Path\n"
        "from edge_glass.training.params import load_params\n"
        "fusion = load_params(Path('params.yaml')).fusion\n"
        "print(fusion.name, fusion.config, fusion.config.build(visual_width=3, width=2).projection)"
    )
    paths = [str(installed), *filter(None, [os.environ.get("PYTHONPATH")])]
    answer = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.split("\n")[0] == (
        "mean MeanConfig(bias=False) Linear(in_features=3, out_features=2, bias=False)"
    )
