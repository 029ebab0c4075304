"""The commands of docs/training-at-scale.md: all are accepted, and one runs to answers on a CPU."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from edge_glass.training.params import Params, parse_params
from edge_glass.training.plan.gpu_check import too_small
from edge_glass.training.plan.hardware import find_hardware
from edge_glass.training.plan.overrides import overridden
from edge_glass.training.plan.workload import Workload
from import_graph import ROOT
from pages import commands
from tiny_paper import write_models, write_pixmo

PAGE = ROOT / "docs/training-at-scale.md"
# What a CPU and tiny models need in place of what the command has: device, folders, steps.
ON_A_CPU = {
    "device": "cpu",
    "vision_encoders.clip_vit_l14_336.model": "hub/clip",
    "text_encoders.all_mpnet_base_v2.model": "hub/mpnet",
    "decoders.qwen2_5_7b.model": "hub/qwen",
    "align.paper.steps": 2,
    "align.paper.optim.warmup_steps": 1,
    "vlm_qa.paper.steps": 1,
    "vlm_qa.paper.optim.warmup_steps": 0,
    "vlm_qa.paper.max_new_tokens": 4,
}


def paper_commands() -> list[str]:
    """The commands of the page that run the whole pipeline, or its beginning, at paper scale."""
    return [line for line in commands(PAGE) if "dvc exp run" in line and "scale=paper" in line]


def parsed(command: str) -> Params:
    words = pairwise(shlex.split(command))
    changes = [change for option, change in words if option == "-S"]
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    return parse_params(overridden(raw, changes), where=command)


def test_there_is_one_command_per_class_of_hardware() -> None:
    cards = [parsed(command) for command in paper_commands()]
    assert len(cards) == 4
    assert [card.launch.config.num_processes for card in cards] == [1, 1, 8, 8]
    for card in cards:
        assert (card.scale, card.device) == ("paper", "cuda")
        assert card.vision_encoder.config.token_shape(336).grid == (24, 24)
        assert card.decoder.config.model == "Qwen/Qwen2.5-7B-Instruct"
    assert [card.decoder.config.quantization for card in cards] == ["4bit"] + ["none"] * 3


@pytest.mark.slow
def test_the_first_command_fits_into_24_gb() -> None:
    work = Workload(
        captions=20_000, questions=20_000, asked=100_000, data_bytes=0, tokens=1024, vocabulary=1
    )
    card = find_hardware("cuda", gpu="24GB", disk="1TB")
    assert too_small("vlm_qa", parsed(paper_commands()[0]), work, card) is None


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with fetched images and the models, as tiny ones in the same layouts."""
    folder = tmp_path_factory.mktemp("machine")
    write_models(folder / "hub")
    write_pixmo(folder / "pixmo", 40)
    for name in ("dvc.yaml", "params.yaml", ".dvcignore", ".gitignore"):
        shutil.copy(ROOT / name, folder)
    (folder / "docker").mkdir()
    shutil.copy(ROOT / "docker/deepspeed_zero2.json", folder / "docker")
    ignored = shutil.ignore_patterns("__pycache__")
    for source in ROOT.glob("packages/*/src"):
        shutil.copytree(source, folder / source.relative_to(ROOT), ignore=ignored)
    for line in (
        "git init -q",
        "dvc init -q",
        "git add dvc.yaml params.yaml .dvc .dvcignore .gitignore docker packages",
        "git -c user.name=a -c user.email=a@example.org commit -qm a",
    ):
        run(line, folder)
    return folder


def run(command: str, folder: Path) -> str:
    """Runs a command in a folder, with the programs beside this Python; returns what it prints."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    sources = os.pathsep.join(map(str, folder.glob("packages/*/src")))
    done = subprocess.run(
        command, shell=True, cwd=folder, capture_output=True, text=True,
        env={**os.environ, "PATH": path, "PYTHONPATH": sources, "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_the_paper_command_ends_in_answers(machine: Path) -> None:
    command = paper_commands()[1]
    overrides = " ".join(f"-S {name}={value}" for name, value in ON_A_CPU.items())
    printed = run(f"{command} {overrides}", machine)
    assert "images x 24 x 24 patches x 32" in printed
    assert "behind 580 visual tokens" in printed
    for metrics in ("evaluate_align", "evaluate_vlm_qa"):
        scores = json.loads((machine / "metrics" / f"{metrics}.json").read_text())
        assert set(scores) == {"val", "test"}
    for notebook in ("05_alignment_evaluation", "06_vlm_evaluation"):
        assert (machine / "notebooks" / f"{notebook}.ipynb").is_file()
    (machine / "photo.jpg").write_bytes(photo_of(machine))
    ask = next(line for line in commands(PAGE) if line.startswith("edge-glass ask"))
    assert run(ask, machine).strip()


def photo_of(machine: Path) -> bytes:
    import pyarrow.parquet as pq

    file = next((machine / "pixmo/cap").glob("*.parquet"))
    found: bytes = pq.read_table(file)["image"][0].as_py()["bytes"]
    return found
