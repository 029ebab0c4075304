"""The launches' pieces that need no other process, and the files that launchers read."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from edge_glass.encoders.components import Component
from edge_glass.training.engine.processes import Processes
from edge_glass.training.vlm_qa.launch import TreeLaunch
from edge_glass.training.vlm_qa.launch_config import DeepSpeedLaunchConfig, LaunchConfig
from edge_glass.training.vlm_qa.launch_deepspeed import deepspeed_plugin
from edge_glass.training.vlm_qa.launches import open_launch
from edge_glass.training.vlm_qa.torchrun import sharing_processes, start_processes

DOCKER = Path(__file__).parents[4] / "docker"
TREE = Component(name="tree", config=LaunchConfig())


def test_tree_sums_microbatches_over_trainable_parameters_alone() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 3), nn.Linear(3, 1))
    model[1].requires_grad_(False)
    inputs = torch.randn(4, 6, 4)  # four microbatches
    model(inputs.flatten(0, 1)).sum().backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0)
    with open_launch(
        TREE, Processes(), num_microbatches=4, microbatch_size=6, max_grad_norm=1e6
    ) as launch:
        assert isinstance(launch, TreeLaunch)
        launch.prepare(model, optimizer)
        assert launch.objective is model  # no wrapper
        for microbatch in launch.microbatches:
            with launch.microbatch():
                launch.backward(launch.objective(inputs[microbatch]).sum())
        norm = launch.step(1e6, "here")
    flat = torch.cat([value.flatten() for value in expected.values()])
    # float32 sums in another order
    torch.testing.assert_close(norm, flat.norm())
    for name, value in model.named_parameters():
        moved = before[name] - value.detach()
        wanted = expected.get(name, torch.zeros_like(value))
        torch.testing.assert_close(moved, wanted, rtol=1e-5, atol=1e-5)


def test_a_gradient_that_is_not_finite_touches_no_weight() -> None:
    model = nn.Linear(2, 1)
    before = [value.detach().clone() for value in model.parameters()]
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    with open_launch(
        TREE, Processes(), num_microbatches=2, microbatch_size=1, max_grad_norm=1.0
    ) as launch:
        launch.prepare(model, optimizer)
        for value in (1.0, float("nan")):
            launch.backward(launch.objective(torch.full((1, 2), value)).sum())
        with pytest.raises(ValueError, match="vlm_qa, step 7: the gradient's norm is nan"):
            launch.step(1.0, "vlm_qa, step 7")
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_accelerate_s_state_is_let_go_of() -> None:
    from accelerate.state import AcceleratorState

    for name in ("tree", "ddp"):  # each with another accumulation
        choice = Component(name=name, config=LaunchConfig())
        with open_launch(
            choice, Processes(), num_microbatches=2 if name == "ddp" else 4, microbatch_size=1,
            max_grad_norm=1.0,
        ) as launch:  # fmt: skip
            assert launch.accelerator.gradient_accumulation_steps == len(launch.microbatches)
            assert launch.accelerator.mixed_precision == "no"
            assert launch.accelerator.state.dynamo_plugin.backend.value == "NO"
    assert AcceleratorState._shared_state == {}


def test_more_processes_than_microbatches_are_refused() -> None:
    with (
        pytest.raises(ValueError, match="2 microbatches can't be divided among 4 processes"),
        open_launch(
            TREE, Processes(size=4), num_microbatches=2, microbatch_size=1, max_grad_norm=1.0
        ),
    ):
        pass


def test_the_command_becomes_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(sys, "argv", ["edge-glass", "vlm-qa", "--params", "p.yaml"])
    called: list[Any] = []
    monkeypatch.setattr(os, "execv", lambda *arguments: called.append(arguments))
    start_processes(1, 1)
    assert called == []
    start_processes(2, 1)
    [(program, arguments)] = called
    assert program == sys.executable
    assert "--nproc_per_node=2" in arguments
    assert arguments[-3:] == ["vlm-qa", "--params", "p.yaml"]
    monkeypatch.setenv("RANK", "0")  # torchrun's child must not start others
    start_processes(2, 1)
    assert len(called) == 1
    with pytest.raises(ValueError, match="num_processes is 0"):
        LaunchConfig(num_processes=0)


def test_align_starts_as_many_processes_as_share_its_microbatches() -> None:
    cases = ((1, 8), (8, 8), (8, 4), (16, 8), (6, 8), (3, 1))
    assert [sharing_processes(*case) for case in cases] == [1, 8, 4, 8, 4, 1]


def test_files_of_the_launchers_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(DOCKER / "accelerate.yaml"))
    assert (config.distributed_type.value, config.mixed_precision) == ("MULTI_GPU", "no")
    assert config.dynamo_config == {"dynamo_backend": "NO"}
    zero = json.loads((DOCKER / "deepspeed_zero2.json").read_text())
    assert zero["zero_optimization"]["stage"] == 2
    assert not zero["zero_optimization"]["overlap_comm"]  # overlapping sums have no fixed order
    assert not zero["bf16"]["enabled"]


def test_deepspeed_s_file_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("deepspeed")
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    sizes: dict[str, Any] = {"microbatch_size": 2, "microbatches_each": 3, "max_grad_norm": 0.5}

    def read(text: str) -> Any:
        (tmp_path / "zero.json").write_text(text)
        return deepspeed_plugin(str(tmp_path / "zero.json"), Processes(size=2), **sizes)

    with pytest.raises(ValueError, match=r"zero\.json: Expecting property name"):
        read("{")
    with pytest.raises(ValueError, match="stage is 3, expected 1 or 2"):
        read('{"zero_optimization": {"stage": 3}}')
    config = read((DOCKER / "deepspeed_zero2.json").read_text()).deepspeed_config
    assert config["train_batch_size"] == 12
    assert config["gradient_clipping"] == 0.5
    assert config["zero_optimization"]["reduce_bucket_size"] == 1_000_000
    choice = DeepSpeedLaunchConfig(num_processes=2, config="nowhere.json")
    with pytest.raises(ValueError, match=r"nowhere\.json: .*No such file"):
        deepspeed_plugin(choice.config, Processes(size=2), **sizes)
