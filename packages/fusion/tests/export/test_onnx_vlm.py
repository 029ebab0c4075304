"""A vision-language model as ONNX graphs answers as it does in torch."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from export.prepared_data import QUESTIONS, image_bytes

from edge_glass.fusion.edge.folder import Graph
from edge_glass.fusion.edge.vlm import PAST, PRESENT, EdgeVlm
from edge_glass.fusion.export import onnx_vlm
from edge_glass.fusion.export.held_out import AskedImages
from edge_glass.fusion.export.onnx_graph import quantize_weights
from edge_glass.fusion.export.parity import ParityError
from edge_glass.fusion.prompt import prompt_ids
from edge_glass.fusion.vlm import VisionLanguageModel

BuildVlm = Callable[..., VisionLanguageModel]
FAST = [("trm", "concat"), ("qwen2_5_tiny", "gated")]
OTHERS = [
    pair
    for pair in itertools.product(
        ("trm", "qwen2_5_tiny"), ("concat", "cross_attention", "gated")
    )
    if pair not in FAST
]


def generated(folder: Path, model: VisionLanguageModel, features: torch.Tensor, question: str):
    """Continues a prompt greedily with the graphs; the words and the logits of the first."""
    prefix, prefill, decode = (
        Graph(folder / f"{name}.onnx") for name in ("prefix", "prefill", "decode")
    )
    visual = prefix({"features": features.numpy()})
    ids = np.array([prompt_ids(model.tokenizer, question)], np.int64)
    found = prefill({**visual, "input_ids": ids})
    first, words = found["logits"], []
    for _ in range(model.config.max_new_tokens):
        words.append(int(found["logits"][0].argmax()))
        if words[-1] == model.tokenizer.eos_token_id:
            break
        past = {
            PAST + name.removeprefix(PRESENT): value
            for name, value in found.items()
            if name.startswith(PRESENT)
        }
        found = decode({**visual, **past, "input_ids": np.array([[words[-1]]], np.int64)})
    return words, first


@pytest.mark.parametrize(
    ("decoder", "fusion"),
    [*FAST, *(pytest.param(*pair, marks=pytest.mark.slow) for pair in OTHERS)],
)
def test_graphs_continue_a_prompt_as_torch_does(
    tiny_vlm: BuildVlm, tmp_path: Path, decoder: str, fusion: str
) -> None:
    model = tiny_vlm(decoder, fusion, "both")
    onnx_vlm.write_decoder_graphs(model, torch.zeros(2, 9, 24), tmp_path)
    for question in QUESTIONS:
        features = torch.randn(1, 9, 24)
        words, logits = generated(tmp_path, model, features, question)
        expected = model.generate(
            features,
            torch.tensor([prompt_ids(model.tokenizer, question)]),
            torch.ones(1, len(prompt_ids(model.tokenizer, question)), dtype=torch.long),
        )[0].tolist()
        assert words == expected
        # float32 through a few layers of different kernels
        np.testing.assert_allclose(
            logits, onnx_vlm.first_logits(model, features, question).numpy(), atol=1e-5
        )


def test_prompts_of_one_length_run_as_a_batch(tiny_vlm: BuildVlm, tmp_path: Path) -> None:
    model = tiny_vlm("trm", "concat")
    onnx_vlm.write_decoder_graphs(model, torch.zeros(2, 9, 24), tmp_path)
    prefix, prefill = (Graph(tmp_path / f"{name}.onnx") for name in ("prefix", "prefill"))
    features = torch.randn(3, 9, 24)
    ids = np.array([prompt_ids(model.tokenizer, QUESTIONS[0])] * 3, np.int64)
    found = prefill({**prefix({"features": features.numpy()}), "input_ids": ids})["logits"]
    alone = [onnx_vlm.first_logits(model, features[at : at + 1], QUESTIONS[0]) for at in range(3)]
    np.testing.assert_allclose(found, torch.cat(alone).numpy(), atol=1e-5)  # as above


@pytest.mark.slow
def test_the_folder_answers_as_the_model(vlm_folder: Path, tmp_path: Path) -> None:
    model = VisionLanguageModel.from_pretrained(vlm_folder)
    onnx_vlm.write_graphs(model, tmp_path / "onnx")
    onnx_vlm.write_data(model, tmp_path, ["fp32"])
    held_out = AskedImages(
        images=[image_bytes(seed) for seed in range(3)], questions=list(QUESTIONS)
    )
    report = onnx_vlm.compare(model, tmp_path, ["fp32"], held_out)["fp32"]
    assert report["equal_answers"] == 1.0
    assert 0 < report["max_difference"] <= 1e-4
    with pytest.raises(ValueError, match="positions, but the model has 64; shorten the question"):
        EdgeVlm(tmp_path).first_logits(
            EdgeVlm(tmp_path).encode(onnx_vlm.open_image(image_bytes(0))), "dogs " * 60
        )
    # A graph whose weights have changed is refused.
    quantize_weights(tmp_path / "onnx" / "prefill.onnx", tmp_path / "onnx" / "prefill.onnx")
    with pytest.raises(ParityError, match="fp32: max_difference is .*, expected at most 0.0001"):
        onnx_vlm.compare(model, tmp_path, ["fp32"], held_out)
