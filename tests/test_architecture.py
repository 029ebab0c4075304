"""docs/architecture.md: the shapes in its brackets are the sample's, and its paths exist."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image

from edge_glass.encoders.matryoshka import MatryoshkaProjection
from edge_glass.fusion.visual_tokens import VisualTokens
from edge_glass.fusion.word_matches import AlignedPatches, AlignedSpace
from edge_glass.training.params import Params, parse_params

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
DIAGRAMS = re.findall(r"^```\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
RAW: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())


def brackets(name: str) -> set[str]:
    """The bracketed shapes on the diagrams' lines that name this step."""
    lines = [line for diagram in DIAGRAMS for line in diagram.splitlines() if f" {name} " in line]
    found = {shape for line in lines for shape in re.findall(r"\[(.+?)\]", line)}
    assert found, f"no line of the page has a shape of {name}"
    return found


def shape(tensor: torch.Tensor) -> str:
    """A tensor's shape without the batch, as the page writes it."""
    return ", ".join(map(str, tensor.shape[1:]))


@pytest.fixture(scope="module")
def params() -> Params:
    assert RAW["scale"] == "sample"
    return parse_params(RAW, where="params.yaml")


@pytest.fixture(scope="module")
def pixels(params: Params) -> torch.Tensor:
    encoder = params.vision_encoder.config.build(image_size=params.encode.caption_image_size)
    return torch.stack([encoder.transform(Image.new("RGB", (300, 200)))])


@pytest.fixture(scope="module")
def features(params: Params, pixels: torch.Tensor) -> torch.Tensor:
    encoder = params.vision_encoder.config.build(image_size=params.encode.caption_image_size)
    encoded: torch.Tensor = encoder(pixels)
    return encoded


def test_an_image_becomes_these_features(pixels: torch.Tensor, features: torch.Tensor) -> None:
    assert brackets("ImageTransform") == {shape(pixels)}
    assert brackets("VisionEncoder") == {shape(features)}
    # questions are encoded at a different size, to the same grid
    assert brackets("cached features") == {shape(features)}


def test_pooling_and_heads_have_these_widths(params: Params, features: torch.Tensor) -> None:
    pooling = params.pooling.config.build(features.shape[-1], (4, 4))
    assert brackets("Pooling") == {shape(pooling(features))}
    head = MatryoshkaProjection(features.shape[-1], tuple(params.align.matryoshka_dims))
    assert brackets("MatryoshkaProjection") == {shape(head(features.mean(dim=1)))}


def test_the_text_encoder_has_this_width() -> None:
    # read from its files: loading sentence-transformers takes longer than all else here
    package = RAW["text_encoders"][RAW["text_encoder"]]["model"].removeprefix("package:")
    config = json.loads((files(package) / "model" / "config.json").read_text())
    assert brackets("TextEncoder") == {str(config["hidden_size"])}


def test_the_decoder_reads_these_tokens(params: Params, features: torch.Tensor) -> None:
    config, width = params.vlm_qa.visual_tokens, features.shape[-1]
    space = AlignedSpace(dim=config.aligned_dim, projection="linear", hidden_width=None)
    aligned = AlignedPatches(space, width)
    tokens = VisualTokens(config, input_width=width, grid=(4, 4), pooling=None, aligned=aligned)
    assert brackets("VisualTokens") == {shape(tokens(features))}
    width = RAW["decoders"][RAW["decoder"]]["width"]
    assert brackets("embedding") == {f"T, {width}"}
    assert brackets("Fusion") == brackets("Decoder") == {f"S, {width}"}


def test_the_paths_exist() -> None:
    packages = {path.name for path in (ROOT / "packages").iterdir()}
    named = re.findall(r"`((?:encoders|decoders|fusion|training|tools)/[\w/.]+)`", PAGE)
    assert len(named) > 20
    for name in named:
        package = name.partition("/")[0]
        assert package in packages
        path = ROOT / "packages" / package / "src" / "edge_glass" / name
        assert path.exists(), f"there is no {name}"
