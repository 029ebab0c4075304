"""Captions before the questions, and among them: frozen weights, resumed runs, equal bytes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch

from edge_glass.encoders.checkpoint import load_checkpoint
from edge_glass.encoders.components import ConfigError
from edge_glass.fusion.vlm import VisionLanguageModel
from edge_glass.training.features.cache import vision_features
from edge_glass.training.loop.optim import OptimConfig
from edge_glass.training.loop.run import Run
from edge_glass.training.params import Params
from edge_glass.training.stages import evaluate_vlm_qa, vlm_qa
from edge_glass.training.stages.vlm_qa import phase_factor
from edge_glass.training.vlm_qa.launch import Launch
from tiny_pixmo import PARAMS

Configure = Callable[..., Params]
StopAt = Callable[[int], AbstractContextManager[None]]

pytestmark = pytest.mark.usefixtures("restore_torch")

RULES = {"colour": "anls", "color": "anls"}
FIRST = {"caption_steps": 5, "steps": 6, "log_steps": 1, "checkpoint_steps": 2}


def written() -> dict[str, bytes]:
    folders = (Path("models/vlm_qa"), Path("plots/vlm_qa"))
    return {str(f): f.read_bytes() for d in folders for f in sorted(d.rglob("*")) if f.is_file()}


@pytest.mark.parametrize("launch", ["tree", pytest.param("ddp", marks=pytest.mark.slow)])
def test_captions_train_the_projector_and_leave_the_decoder(
    configure: Configure, monkeypatch: pytest.MonkeyPatch, launch: str
) -> None:
    params = configure({"launch": launch}, **FIRST, validation_steps=0)
    original, seen = Run.log, dict[int, dict[str, torch.Tensor]]()
    averages, ages = dict[int, dict[str, torch.Tensor]](), dict[int, set[float]]()

    def spy(self: Run, values: Any, **more: float) -> None:
        seen[self.state.step] = {name: each.detach().clone() for name, each in self.trained.items()}
        seen[self.state.step]["logged"] = torch.tensor("caption_loss" in values)
        averages[self.state.step] = {name: each.clone() for name, each in self.others.items()}
        assert isinstance(self.saver, Launch)
        ages[self.state.step] = {
            float(each["step"]) for each in self.saver.optimizer.state.values() if each
        }
        original(self, values, **more)

    monkeypatch.setattr(Run, "log", spy)
    vlm_qa.run(params)
    assert [bool(seen[step]["logged"]) for step in range(1, 12)] == [True] * 5 + [False] * 6
    changed = {
        (name.split(".")[0], step > 5)
        for step in range(2, 12)
        for name, value in seen[step].items()
        if name != "logged" and not torch.equal(value, seen[step - 1][name])
    }
    assert changed == {
        ("visual_tokens", False), ("fusion", False),
        ("visual_tokens", True), ("fusion", True), ("decoder", True),
    }  # fmt: skip
    # optimizer and average begin again with the questions
    assert [ages[step] for step in (5, 6, 7)] == [{5.0}, {1.0}, {2.0}]
    for name in set(seen[5]) - {"logged"}:
        expected = seen[5][name].lerp(seen[6][name], 1 - params.vlm_qa.ema_decay)
        torch.testing.assert_close(averages[6][f"ema.{name}"], expected)  # of one float32 update


def test_captions_and_questions_have_a_schedule_each(configure: Configure) -> None:
    optim = {"learning_rate": 0.003, "weight_decay": 0.1, "warmup_steps": 4}
    config = configure(caption_steps=6, steps=20, optim=optim).vlm_qa
    alone = dataclasses.replace(config, caption_steps=0)
    factors = [phase_factor(config, step) for step in range(26)]
    assert factors[6:] == [phase_factor(alone, step) for step in range(20)]
    # of 6 steps at most 3 warm up
    captions = dataclasses.replace(
        alone, steps=6, optim=OptimConfig(**{**optim, "warmup_steps": 3})
    )
    assert factors[:6] == [phase_factor(captions, step) for step in range(6)]


@pytest.mark.parametrize("stop", [5, *(pytest.param(at, marks=pytest.mark.slow) for at in (3, 6))])
def test_a_run_that_is_stopped_around_the_border_writes_the_same_bytes(
    configure: Configure, stop_at: StopAt, stop: int
) -> None:
    params = configure(**FIRST, mixture={"questions": 1.0, "captions": 0.5}, validation_steps=4)
    vlm_qa.run(params)
    expected = written()
    with stop_at(stop):
        vlm_qa.run(params)
    vlm_qa.run(params)
    assert written() == expected
    steps = load_checkpoint(Path("models/vlm_qa"))[0]
    assert steps["max_description_tokens"] == 64


def test_captions_change_what_follows_and_none_change_nothing(configure: Configure) -> None:
    found = []
    for options in ({}, {"caption_steps": 0}, {"caption_steps": 3}, {"mixture": {"captions": 1.0}}):
        vlm_qa.run(configure(**{"steps": 3, "validation_steps": 0, "caption_steps": 0,
                                "mixture": {}, **options}))  # fmt: skip
        model = VisionLanguageModel.from_pretrained("models/vlm_qa")
        found.append(torch.cat([each.flatten()[:50] for each in model.fusion.parameters()]))
        trained = options.get("mixture") is not None
        assert (model.config.max_description_tokens is not None) == trained
    assert torch.equal(found[0], found[1])
    assert not any(torch.equal(found[0], other) for other in found[2:])


def test_a_model_that_learned_to_describe_is_scored(
    configure: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    params = configure(
        {"evaluate_vlm_qa": {"tiny": {**PARAMS["evaluate_vlm_qa"]["tiny"], "rules": RULES}}},
        steps=3, mixture={"captions": 1.0}, validation_steps=0,
    )  # fmt: skip
    vlm_qa.run(params)
    evaluate_vlm_qa.run(params)
    line = "rules names color, and no question has such a type; found colour, exists"
    assert line in capsys.readouterr().out
    assert "anls" in evaluate_vlm_qa.METRICS.read_text()
    (scores,) = json.loads(evaluate_vlm_qa.DESCRIPTIONS.read_text()).values()
    words = {"bleu", "rouge_l", "agreement", "agreement_of_captions", "agreement_shuffled"}
    assert words <= set(scores)
    assert all(-1 <= scores[name] <= 1 for name in words)
    lines = Path("predictions/vlm_qa/descriptions_val.jsonl").read_text().splitlines()
    first = json.loads(lines[0])
    assert first["captions"][0].startswith("a ")
    assert len(lines) == len(vision_features("captions", "val"))
    vlm_qa.run(configure(steps=3, mixture={}, validation_steps=0))
    evaluate_vlm_qa.run(params)
    assert json.loads(evaluate_vlm_qa.DESCRIPTIONS.read_text()) == {}
    assert not Path("predictions/vlm_qa/descriptions_val.jsonl").exists()


def test_captions_that_are_not_there_are_refused(configure: Configure) -> None:
    with pytest.raises(
        ConfigError, match=r"trains on captions \(caption_steps 2, mixture\.captions"
    ):
        configure(
            {"datasets": {"tiny": {"questions": "questions"}}}, caption_steps=2,
            visual_tokens={"kind": "grid", "width": 24, "dropout": 0.0, "train_pooling": False},
        )  # fmt: skip
