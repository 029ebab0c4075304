from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from edge_glass.fusion.vlm import VisionLanguageModel
from edge_glass.training.engine.processes import Processes
from edge_glass.training.features.cache import gather, read_index
from edge_glass.training.folders import VLM
from edge_glass.training.loop.optim import OptimConfig
from edge_glass.training.loop.state import StateFile
from edge_glass.training.stages import align, vlm_qa
from edge_glass.training.vlm_qa.aligned_space import load_aligned_space, names_in
from edge_glass.training.vlm_qa.model import build_model
from edge_glass.training.vlm_qa.naming import NamingConfig, learn_names
from edge_glass.training.vlm_qa.naming_loss import naming_loss
from edge_glass.training.vlm_qa.packing import collate_questions
from edge_glass.training.vlm_qa.training_data import TrainingData, read_training_data

Configure = Callable[..., Any]

WIDE = {"poolings": {"attention": {"num_queries": 2, "width": None, "key_dim": 8, "num_heads": 2}}}
TOKENS = {"kind": "grid", "width": 8, "aligned_dim": 4}


def named_model(params: Any) -> tuple[VisionLanguageModel, TrainingData]:
    """Returns a model whose patches have names, before any training."""
    align.run(params)
    index = read_index()
    data = read_training_data(params, index, Processes())
    names = names_in(data.samples, data.tokenizer)
    assert len(names)
    torch.manual_seed(0)
    model = build_model(params, index, data.tokenizer, num_names=len(names))
    load_aligned_space(model, data.samples)
    return model, data


@torch.no_grad()
def loss_per_image(model: VisionLanguageModel, data: TrainingData) -> float:
    """Returns the naming loss of all rows of questions."""
    batch = collate_questions([data.samples[row] for row in range(data.sizes[0])], 0)
    head = model.visual_tokens.aligned
    assert head is not None
    assert model.matches is not None
    assert model.matches.readings is not None
    patches = head(gather(data.features, batch.images))
    loss = naming_loss(model.matches.readings, patches, batch.input_ids, batch.labels)
    return loss.item() / data.sizes[0]


def test_the_image_head_learns_and_nothing_else(configure: Configure) -> None:
    params = configure(WIDE, visual_tokens=TOKENS, naming={"weight": 1.0})
    model, data = named_model(params)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first = loss_per_image(model, data)
    optim = OptimConfig(learning_rate=1e-3, weight_decay=0.1, warmup_steps=10)
    config = NamingConfig(weight=1.0, steps=60, batch_size=4, dropout=0.1, optim=optim)
    learn_names(model, data, config, seed=0)
    assert loss_per_image(model, data) < 0.7 * first
    changed = {n for n, value in model.state_dict().items() if not torch.equal(value, before[n])}
    parts = ("visual_tokens.aligned.head.", "matches.readings.log_sharpness")
    assert {name for name in before if name.startswith(parts)} == changed
    assert all(each.grad is None for each in model.parameters())
    # a function of the seed, whatever was drawn before
    again, _ = named_model(params)
    torch.rand(3)
    learn_names(again, data, config, seed=0)
    assert all(torch.equal(a, b) for a, b in zip(
        again.state_dict().values(), model.state_dict().values(), strict=True
    ))  # fmt: skip
    other, _ = named_model(params)
    learn_names(other, data, config, seed=1)
    assert loss_per_image(other, data) != loss_per_image(model, data)


def test_the_stage_names_before_its_first_step(
    configure: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    optim = {"learning_rate": 0.001, "weight_decay": 0.1, "warmup_steps": 1}
    naming = {"weight": 1.0, "steps": 3, "optim": optim}
    params = configure(WIDE, visual_tokens=TOKENS, naming=naming)
    align.run(params)
    vlm_qa.run(params)
    assert "names learned in 3 steps of" in capsys.readouterr().out
    named = (VLM / "model.safetensors").read_bytes()
    plain = replace(params, vlm_qa=replace(params.vlm_qa, naming=NamingConfig(weight=1.0)))
    vlm_qa.run(plain)
    assert (VLM / "model.safetensors").read_bytes() != named
    assert "names learned" not in capsys.readouterr().out


def test_a_run_that_goes_on_does_not_learn_names_again(
    configure: Configure, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    optim = {"learning_rate": 0.001, "weight_decay": 0.1, "warmup_steps": 1}
    naming = {"weight": 1.0, "steps": 3, "optim": optim}
    params = configure(WIDE, visual_tokens=TOKENS, naming=naming, checkpoint_steps=2)
    align.run(params)
    vlm_qa.run(params)
    whole = (VLM / "model.safetensors").read_bytes()
    save = StateFile.save

    def save_and_stop(*arguments: Any) -> None:
        save(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as stopping:
        stopping.setattr(StateFile, "save", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            vlm_qa.run(params)
    capsys.readouterr()
    vlm_qa.run(params)
    printed = capsys.readouterr().out
    assert "going on from step 2" in printed
    assert "names learned" not in printed
    assert (VLM / "model.safetensors").read_bytes() == whole


def test_options_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="dropout is 1"):
        NamingConfig(dropout=1.0)
    with pytest.raises(ValueError, match="batch_size is 0"):
        NamingConfig(batch_size=0)
    with pytest.raises(ValueError, match="warmup_steps is 50 and steps is 20"):
        NamingConfig(steps=20)
