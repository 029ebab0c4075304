"""A vision-language model as ONNX graphs answers as it does in torch."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("onnxruntime")

from edge_glass.fusion.edge.config import GraphError
from edge_glass.fusion.edge.folder import Graph
from edge_glass.fusion.edge.vlm import PAST, PRESENT, EdgeVlm
from edge_glass.fusion.export import onnx_graph
from edge_glass.fusion.export.formats import export_model
from edge_glass.fusion.export.held_out import asked_images
from edge_glass.fusion.export.onnx_graph import quantize_weights
from edge_glass.fusion.export.onnx_vlm import compare, first_logits, write_decoder_graphs
from edge_glass.fusion.export.parity import ParityError
from edge_glass.fusion.prompt import prompt_ids
from edge_glass.fusion.vlm import VisionLanguageModel

BuildVlm = Callable[..., VisionLanguageModel]
QUESTIONS = ("how many dogs are there?", "where is the cat?", "what colour is it?")
TRM = {
    "width": 32, "num_heads": 2, "intermediate_dim": 64, "num_layers": 1,
    "num_latent_updates": 1, "num_cycles": 1,
}  # fmt: skip
BOTH = list(itertools.product(("trm", "qwen2_5_tiny"), ("concat", "cross_attention", "gated")))


def generated(
    folder: Path, model: VisionLanguageModel, features: torch.Tensor, question: str
) -> tuple[list[int], np.ndarray]:
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


@pytest.mark.slow  # an export takes some ten seconds
@pytest.mark.parametrize(
    ("decoder", "fusion", "aligned_dim"),
    [*((*each, 0) for each in BOTH), ("trm", "concat", 4), ("qwen2_5_tiny", "gated", 4)],
)
def test_graphs_continue_a_prompt_as_torch_does(
    tiny_vlm: BuildVlm, tmp_path: Path, decoder: str, fusion: str, aligned_dim: int
) -> None:
    options = TRM if decoder == "trm" else None
    kind, norm = ("grid", "channel") if aligned_dim else ("both", "token")
    model = tiny_vlm(
        decoder,
        fusion,
        kind,
        decoder_options=options,
        aligned_dim=aligned_dim,
        num_names=3 if aligned_dim else 0,
        norm=norm,
    )
    if model.matches is not None:  # as after training: channels are scaled, a word is unknown
        model.visual_tokens.grid_tokens.norm.fit(torch.randn(50, 24) * 3 + 1, [8, 16])
        model.matches.known[prompt_ids(model.tokenizer, QUESTIONS[0])[4]] = False
    write_decoder_graphs(model, torch.zeros(2, 9, 24), tmp_path)
    features = torch.randn(3, 9, 24)
    alone = []
    for question in QUESTIONS:
        ids = torch.tensor([prompt_ids(model.tokenizer, question)])
        words, logits = generated(tmp_path, model, features[:1], question)
        assert words == model.generate(features[:1], ids, torch.ones_like(ids))[0].tolist()
        alone.append(first_logits(model, features[:1], question).numpy())
        # float32 through a few layers of different kernels
        np.testing.assert_allclose(logits, alone[-1], atol=1e-5)
    assert np.abs(alone[0] - alone[1]).max() > 1e-3  # the question changes the logits
    # prompts of one length run as a batch
    prefix, prefill = (Graph(tmp_path / f"{name}.onnx") for name in ("prefix", "prefill"))
    batch = np.array([prompt_ids(model.tokenizer, QUESTIONS[0])] * 3, np.int64)
    found = prefill({**prefix({"features": features.numpy()}), "input_ids": batch})["logits"]
    np.testing.assert_allclose(found[:1], alone[0], atol=1e-5)
    assert np.abs(found[1] - found[0]).max() > 1e-3  # the image changes the logits


@pytest.mark.slow
def test_the_folder_answers_as_the_model(
    vlm_folder: Path, prepared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, model = tmp_path / "out", VisionLanguageModel.from_pretrained(vlm_folder)
    for weight in (each for each in model.parameters() if each.requires_grad and each.ndim > 1):
        torch.nn.init.normal_(weight, std=0.1)  # logits of a trained model's scale
    model.save_pretrained(tmp_path / "model")
    export_model("onnx", tmp_path / "model", out, data=prepared_data, precisions=["fp32"])
    report = json.loads((out / "parity.json").read_text())["fp32"]
    assert report["equal_answers"] == 1.0
    assert 0 < report["max_difference"] <= 1e-4
    assert "/" not in (out / "tokenizer_config.json").read_text()  # no place of this machine
    edge, image = EdgeVlm(out), Image.new("RGB", (60, 40), "red")
    assert edge.answer([image] * 3, QUESTIONS) == model.answer([image] * 3, QUESTIONS)
    with pytest.raises(ValueError, match="but the model has 64; shorten the question"):
        edge.answer([image], ["dogs " * 90])
    with pytest.raises(ValueError, match="question 1 of 1 is empty"):
        edge.answer([image], [" "])
    edge.text |= {"cache_axis": 9, "stop_ids": []}
    with pytest.raises(GraphError, match="has the cache_axis 9; export"):
        edge.answer([image], QUESTIONS[:1])
    # a graph whose weights have changed is refused
    monkeypatch.setattr(onnx_graph, "SMALLEST", 0)  # the tiny model has no large weights
    quantize_weights(out / "onnx" / "prefill.onnx", out / "onnx" / "prefill.onnx")
    with pytest.raises(ParityError, match=r"fp32: max_difference is .*, expected at most 0.0001"):
        compare(model, out, ["fp32"], asked_images(prepared_data))
