"""DeepSpeed's requirements: what is missing is named with its remedy, before anything starts."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from edge_glass.training.vlm_qa.deepspeed_requirements import (
    check_deepspeed,
    missing_requirement,
    toolkit_version,
)
from edge_glass.training.vlm_qa.launch_config import DeepSpeedLaunchConfig, LaunchConfig

ALL: dict[str, Any] = {
    "packages": {"deepspeed", "ninja"}, "compiler": "/usr/bin/g++", "torch_cuda": "13.0",
    "toolkit_cuda": "13.1",
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, None),
        ({"torch_cuda": None, "toolkit_cuda": None}, None),  # a CPU needs no toolkit
        ({"packages": {"ninja"}}, r"needs deepspeed.*pip install"),
        ({"packages": {"deepspeed"}}, r"needs ninja.*pip install"),
        ({"compiler": None}, r"no g\+\+: apt-get"),
        ({"toolkit_cuda": None}, r"needs nvcc of CUDA 13.*CUDA_HOME"),
        ({"toolkit_cuda": "12.8"}, r"found 12\.8.*CUDA_HOME"),
    ],
)
def test_what_is_missing_is_named(change: dict[str, Any], message: str | None) -> None:
    found = missing_requirement(**{**ALL, **change})
    if message is None:
        assert found is None
        return
    with pytest.raises(ValueError, match=message):
        raise ValueError(found)


def test_the_toolkit_of_cuda_home_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvcc = tmp_path / "bin/nvcc"
    nvcc.parent.mkdir()
    nvcc.write_text("#!/bin/sh\necho 'Cuda compilation tools, release 13.0, V13.0.88'\n")
    nvcc.chmod(nvcc.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    assert toolkit_version() == "13.0"


def test_only_deepspeed_has_requirements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", os.devnull + "/none")
    check_deepspeed(LaunchConfig(), "cpu")
    with pytest.raises(ValueError, match=r"launch deepspeed_zero2 needs .*different launch"):
        check_deepspeed(DeepSpeedLaunchConfig(config="ds.json"), "cpu")
