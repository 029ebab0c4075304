"""A model is placed by a name, and a name that is no device here is an error with its remedy."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edge_glass.encoders.device import find_device, place_model


def test_the_cpu_is_always_there() -> None:
    model = nn.Linear(2, 2)
    assert place_model(model, "cpu") is model
    assert model.weight.device == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cuda:-1", "cpu:0", "", "meta"])
def test_a_name_that_is_no_device(name: str) -> None:
    with pytest.raises(ValueError, match=f"device is '{name}', expected cpu, cuda or one GPU"):
        find_device(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize("name", ["cuda", "cuda:1"])
def test_without_a_gpu_the_error_names_the_remedy(name: str) -> None:
    with pytest.raises(ValueError, match=f"device is {name}, but torch sees no GPU: set device to"):
        find_device(name)
    assert place_model(nn.Linear(1, 1)).weight.device.type == "cpu"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpus_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    last = torch.cuda.device_count() - 1
    assert place_model(nn.Linear(1, 1)).weight.device.type == "cuda"
    assert place_model(nn.Linear(1, 1), f"cuda:{last}").weight.device.index == last
    monkeypatch.setenv("LOCAL_RANK", str(last))
    assert find_device("cuda").index == last
    with pytest.raises(ValueError, match=f"GPU {last + 1} does not exist"):
        find_device(f"cuda:{last + 1}")
