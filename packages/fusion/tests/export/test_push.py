"""`edge-glass push`: what must not be published is refused before a request is sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edge_glass.fusion.export.model_card import results_text
from edge_glass.fusion.export.push import FORBIDDEN, push_model


def changed(source: Path, target: Path, change: Any) -> Path:
    """A copy of a checkpoint with a different config."""
    target.mkdir()
    for file in source.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    config = json.loads((source / "config.json").read_text())
    change(config)
    (target / "config.json").write_text(json.dumps(config))
    return target


def test_what_must_not_be_published_is_one_line(
    dual_folder: Path, vlm_folder: Path, tmp_path: Path
) -> None:
    def research(config: dict[str, Any]) -> None:
        model = {"model": "Qwen/Qwen2.5-3B-Instruct", "license": "Qwen Research License"}
        config["decoder"] = {"name": "qwen2_5_3b", "options": model}

    def local(config: dict[str, Any]) -> None:
        config["text_encoder_config"]["model"] = "/models/minilm"

    def different(config: dict[str, Any]) -> None:
        config["model"] = "retriever"

    cases = [
        (changed(vlm_folder, tmp_path / "a", research), "forbids publishing"),
        (changed(dual_folder, tmp_path / "b", local), "on this machine only"),
        (changed(dual_folder, tmp_path / "c", different), "neither a dual encoder nor"),
        (tmp_path, "is not a checkpoint"),
    ]
    for folder, message in cases:
        with pytest.raises(ValueError, match=message) as error:
            push_model(folder, "me/model", project=tmp_path)
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="expected owner/name"):
        push_model(dual_folder, "model", project=tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        "stages: [1, 2",
        "stages: [1, 2]",
        "{}",
        "stages: {align: {outs: 5}}",
        "stages: {align: {outs: [models/align]}}",
        "stages: {align: {params: 5}}",
    ],
)
def test_a_broken_lock_file_is_named(content: str, dual_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "dvc.lock").write_text(content)
    with pytest.raises(ValueError, match=r"dvc\.lock is not a lock file of DVC"):
        push_model(dual_folder, "me/model", project=tmp_path)


def test_an_option_that_the_hub_would_refuse_is_one_line(dual_folder: Path, tmp_path: Path) -> None:
    for name in ("Apache 2.0", "mit\nx: y", "Größe"):
        with pytest.raises(ValueError, match=r"--license is .*, expected the hub's name"):
            push_model(dual_folder, "me/model", project=tmp_path, license_name=name)
    for repo in ("me", "mé/modèle", "me/a/b", "me/", "me/.model", "me/a model"):
        with pytest.raises(ValueError, match="is not a hub id: expected owner/name"):
            push_model(dual_folder, repo, project=tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder; give the one with dvc"):
        push_model(dual_folder, "me/model", project=tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("model", "licence"),
    [
        ("Qwen/Qwen2.5-3B-Instruct", None),
        ("qwen/qwen2.5-vl-3b", None),
        ("me/decoder", "cc-by-nc-4.0"),
        ("me/decoder", "CC BY-NC-SA"),
        ("me/decoder", "cc_by_nc_4.0"),
        ("me/decoder", "Non Commercial use"),
        ("me/decoder", "for academic purposes"),
    ],
)
def test_each_licence_that_forbids_publishing_is_found(
    model: str, licence: str | None, vlm_folder: Path, tmp_path: Path
) -> None:
    def change(config: dict[str, Any]) -> None:
        config["decoder"] = {"name": "causal_lm", "options": {"model": model, "license": licence}}

    with pytest.raises(ValueError, match="which forbids publishing a model made of it"):
        push_model(changed(vlm_folder, tmp_path / "a", change), "me/model", project=tmp_path)


def test_the_licence_of_an_encoder_counts_too(dual_folder: Path, tmp_path: Path) -> None:
    def change(config: dict[str, Any]) -> None:
        options = {"model": "apple/mobileclip_s0_timm", "license": "apple-amlr"}
        config["vision_encoder_config"] = options

    with pytest.raises(ValueError, match=r"vision_encoder apple/.* train with a different one$"):
        push_model(changed(dual_folder, tmp_path / "a", change), "me/model", project=tmp_path)


@pytest.mark.parametrize("licence", ["apache-2.0", "Academic Free License v3.0", "mit", "ncsa"])
def test_a_licence_that_allows_publishing_is_not_taken_for_one_that_forbids(licence: str) -> None:
    assert not FORBIDDEN.search(licence)


@pytest.mark.parametrize("value", [[], {"val": {"chance": []}}, {"val": {"512": {"i2t": 3}}}, "x"])
def test_damaged_metrics_are_named(value: Any, tmp_path: Path) -> None:
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics/evaluate_align.json").write_text(json.dumps(value))
    with pytest.raises(ValueError, match=r"evaluate_align\.json"):
        results_text(tmp_path, "dual_encoder")
