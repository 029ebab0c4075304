"""`params.yaml`: everything is checked before any work, and errors say where and what."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from edge_glass.encoders.components import ConfigError
from edge_glass.training.engine.fingerprint import fingerprint
from edge_glass.training.params import load_params, parse_params


def test_the_repository_s_own_file_is_valid() -> None:
    params = load_params(Path(__file__).parents[3] / "params.yaml")
    assert params.scale == "sample"
    assert params.align.matryoshka_dims == (512, 256, 128, 64, 32, 16)
    assert params.fusion.name == "concat"


def test_choices_bring_their_options(params: dict[str, Any]) -> None:
    parsed = parse_params(params, where="p")
    assert parsed.pooling.config.num_queries == 2
    saved = parsed.pooling.saved()
    assert saved["name"] == "attention"
    assert saved["options"] == {
        "key_dim": None,  # defaults are saved too
        "positions": True,
        **params["poolings"]["attention"],
    }
    with pytest.raises(dataclasses.FrozenInstanceError):
        parsed.seed = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"fusion": "gatd"},
            "fusions: fusion is 'gatd', which is not there; choose one of concat, g",
        ),
        (
            {"fusions": {"concat": {}, "gatd": {}}},
            "fusions.gatd: fusion is 'gatd', which is not know",
        ),
        (
            {"fusions": {"concat": {"width": 3}}},
            "fusions.concat: unknown field 'width'; allowed are",
        ),
        ({"seed": "0"}, "seed is '0' .str., expected int"),
        ({"seed": True}, "seed is True .bool., expected int"),
        ({"num_threads": 0}, "num_threads is 0, expected 1 or more"),
        ({"reproducibility": "exact"}, "reproducibility is 'exact', expected portable or native"),
        ({"scale": "huge"}, "prepare: scale is 'huge', which is not there; choose one of tiny"),
        ({"data": "other"}, "datasets: data is 'other', which is not there; choose one of tiny"),
        ({"extra": 1}, "unknown extra; allowed: seed, scale"),
        ({"align": {"tiny": {"steps": 1}}}, r"align.tiny: .*batch_size.*required"),
        ({"poolings": {"attention": {"num_heads": 5}}}, "poolings.attention: .*num_heads"),
    ],
)
def test_mistakes_are_named(params: dict[str, Any], change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^p: {message}"):
        parse_params({**params, **change}, where="p")


def test_a_missing_part_is_named(params: dict[str, Any]) -> None:
    del params["decoder"], params["encode"]
    with pytest.raises(ConfigError, match="decoder, encode missing; add it"):
        parse_params(params, where="p")


def test_files_that_are_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_params(tmp_path / "params.yaml")
    (tmp_path / "broken.yaml").write_text("a: [1")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_params(tmp_path / "broken.yaml")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(ConfigError, match="expected a table, found list"):
        load_params(tmp_path / "list.yaml")


def test_fingerprint_tells_parts_apart(params: dict[str, Any]) -> None:
    first = parse_params(params, where="p")
    params["align"]["tiny"]["steps"] = 13
    second = parse_params(params, where="p")
    assert fingerprint(first, "align") != fingerprint(second, "align")
    assert fingerprint(first, "vlm_qa") == fingerprint(second, "vlm_qa")
