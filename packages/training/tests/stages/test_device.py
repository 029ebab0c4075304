"""The evaluations run on the device of params.yaml, and features and tokens follow the model."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from edge_glass.encoders.dual_encoder import DualEncoder
from edge_glass.fusion import read_images
from edge_glass.fusion.vlm import VisionLanguageModel
from edge_glass.training.evaluation.answers.controls import answer_with_controls
from edge_glass.training.features.cache import prepared_rows, vision_features
from edge_glass.training.features.captions import caption_rows
from edge_glass.training.folders import ALIGNED, PREPARED, VLM
from edge_glass.training.stages import evaluate_align, evaluate_vlm_qa, vlm_qa

META = torch.device("meta")  # a device that every machine has and that is not the CPU


@pytest.fixture(autouse=True)
def _restore_torch() -> Any:
    threads = torch.get_num_threads()
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)


def test_image_and_text_features_follow_the_model(configure: Callable[..., Any]) -> None:
    configure()
    seen: list[torch.device] = []

    class Recording(DualEncoder):
        """Computes on the meta device; only what comes back has numbers again."""

        def image_embeddings(self, features: Tensor) -> Tensor:
            seen.append(features.device)
            return torch.zeros(super().image_embeddings(features).shape)

        def text_embeddings(self, features: Tensor) -> Tensor:
            seen.append(features.device)
            return torch.zeros(super().text_embeddings(features).shape)

    model = Recording.from_pretrained(ALIGNED, load_encoders=False).to(META)
    split = evaluate_align.embed_split(model, "val", caption_rows("train", PREPARED))
    assert set(seen) == {META}
    assert split.image.shape == (16, 16)
    assert split.image.device == split.text.device == split.candidates.device == torch.device("cpu")


def test_features_and_tokens_of_questions_follow_the_model(
    configure: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    vlm_qa.run(configure(steps=2, validation_steps=0))
    model = VisionLanguageModel.from_pretrained(VLM, load_vision_encoder=False).to(META)
    rows = prepared_rows("questions", "val", PREPARED)[:5]
    seen: list[torch.device] = []

    def generate(**arguments: Any) -> Tensor:
        """What comes after the prefix; its choice of words needs numbers."""
        inputs, mask = arguments["inputs_embeds"], arguments["attention_mask"]
        seen.extend((inputs.device, mask.device, arguments["cache"]._keys[0].device))
        model.decoder(inputs, mask, cache=arguments["cache"], use_cache=True)
        return torch.zeros(len(inputs), 1, dtype=torch.long)

    monkeypatch.setattr(model, "autocast", nullcontext)  # there is none for the meta device
    monkeypatch.setattr(read_images, "generate", generate)
    answers = answer_with_controls(model, rows, vision_features("questions", "val"), 2, "val")
    assert set(seen) == {META}
    assert {name: len(given) for name, given in answers.items()} == {
        "model": 5,
        "blind": 5,
        "shuffled": 5,
    }


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize("stage", [evaluate_align, evaluate_vlm_qa])
def test_a_device_that_is_not_there_is_not_ignored(
    configure: Callable[..., Any], stage: Any
) -> None:
    params = configure(steps=2, validation_steps=0)
    if stage is evaluate_vlm_qa:
        vlm_qa.run(params)
    with pytest.raises(ValueError, match="device is cuda:0, but torch sees no GPU"):
        stage.run(dataclasses.replace(params, device="cuda:0"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_figures_on_a_gpu_are_those_of_the_cpu(configure: Callable[..., Any]) -> None:
    params = configure()
    vlm_qa.run(params)
    figures = []
    for device in ("cpu", "cuda:0"):
        torch.cuda.reset_peak_memory_stats()
        evaluate_align.run(dataclasses.replace(params, device=device))
        evaluate_vlm_qa.run(dataclasses.replace(params, device=device))
        used = torch.cuda.max_memory_allocated() > 0
        assert used == (device != "cpu")
        retrieval = json.loads(Path("metrics/evaluate_align.json").read_text())["val"]
        answers = json.loads(Path("metrics/evaluate_vlm_qa.json").read_text())["val"]
        figures.append((retrieval["untruncated"]["i2t"]["R@1"], answers["accuracy"]))
    # a near tie can fall differently
    assert figures[1] == pytest.approx(figures[0], abs=0.1)
