"""`params.yaml`: everything is checked before any work, and errors name the place and the value."""

from __future__ import annotations

import copy
import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edge_glass.encoders.components import ConfigError
from edge_glass.training.params import load_params, parse_params

ROOT = Path(__file__).parents[3]


def test_the_repository_s_own_file_is_valid() -> None:
    params = load_params(ROOT / "params.yaml")
    assert params.scale == "sample"
    assert params.align.matryoshka_dims == (512, 256, 128, 64, 32, 16)
    assert params.fusion.name == "cross_attention"


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
            "fusions: fusion is 'gatd', which is not there .did you mean gated..; choose one of ",
        ),
        (
            {"fusions": {"concat": {}, "gatd": {}}},
            "fusions.gatd: fusion is 'gatd', which is not know",
        ),
        (
            {"fusions": {"concat": {"width": 3}}},
            "fusions.concat: unknown field 'width'; allowed are",
        ),
        ({"seed": "0"}, "seed is '0', expected a whole number"),
        ({"seed": True}, "seed is True, expected a whole number"),
        ({"num_threads": 0}, "num_threads is 0, expected 1 to 1024"),
        ({"device": "gpu"}, "device is 'gpu', expected cpu, cuda or one GPU by its number"),
        ({"device": "cuda:"}, "device is 'cuda:', expected cpu, cuda or"),
        ({"features": "none"}, "features is 'none', expected cache or live"),
        ({"reproducibility": "exact"}, "reproducibility is 'exact', expected portable or native"),
        ({"scale": "huge"}, "prepare: scale is 'huge', which is not there; choose one of tiny"),
        ({"data": "other"}, "datasets: data is 'other', which is not there; choose one of tiny"),
        ({"num_threads": 100_000}, "num_threads is 100000, expected 1 to 1024"),
        ({"sede": 1}, r"unknown sede \(did you mean seed\?\); allowed: seed"),
        (
            {"align": None},
            "align: found nothing, expected a table with the options of scale 'tiny'",
        ),
        ({"extra": 1}, "unknown extra; allowed: seed, scale"),
        ({1: 1}, "unknown 1; allowed: seed, scale"),
        (
            {"align": {"tiny": {"steps": 1}}},
            "align.tiny: batch_size, optim, .*, head missing; add it",
        ),
        (
            {"poolings": {"attention": {"num_heads": 5}}},
            "poolings.attention: width is 384, expected a multiple of num_heads, 5$",
        ),
    ],
)
def test_mistakes_are_named(params: dict[str, Any], change: dict[Any, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^p: {message}"):
        parse_params({**params, **change}, where="p")


def changed(params: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    result = copy.deepcopy(params)
    *folders, last = path.split(".")
    table = result
    for name in folders:
        table = table[name]
    table[last] = value
    return result


CLIP = {"model": "openai/clip-vit-large-patch14-336", "revision": "0" * 40}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"encode.tiny.question_image_size": 336},
            "encode.tiny.question_image_size with vision_encoder efficientnet_lite0: "
            ".*336, expected a multiple of 32",
        ),
        (
            {"vision_encoders.efficientnet_lite0.grid": 4},
            "encode.tiny.caption_image_size with .*: grid is 4, expected a divisor of 2",
        ),
        (
            {
                "vision_encoder": "clip_vit_l14_336",
                "vision_encoders.clip_vit_l14_336": CLIP,
                "encode.tiny.caption_image_size": 336,
            },
            "encode.tiny.question_image_size with vision_encoder clip_vit_l14_336: "
            "image_size is 64, expected a multiple of 14",
        ),
        (
            {"encode.tiny.pool": 3},
            "encode.tiny.caption_image_size with .*: encode.tiny.pool is 3, expected a divisor of "
            "the encoder's 2 x 2 patches",
        ),
        (
            {"poolings.attention": {"width": None, "num_heads": 7}},
            "poolings.attention: width is 320, expected a multiple of num_heads, 7",
        ),
        (
            {"fusion": "gated", "fusions.gated.num_heads": 5},
            "fusions.gated with decoders.trm: num_heads is 5, which does not divide .* width 32",
        ),
        (
            {"align.tiny.matryoshka_dims": [8, 16]},
            r"align.tiny: matryoshka_dims are \[8, 16\], expected positive numbers that strictly",
        ),
        (
            {"align.tiny.matryoshka_weights": [1.0]},
            "align.tiny: found 1 matryoshka_weights for 2 matryoshka_dims, expected one per dim$",
        ),
        (
            {"align.tiny.head.image_dropout": 1.5},
            "align.tiny.head: image_dropout is 1.5, expected at least 0 and",
        ),
        ({"fusions.concat.hidden_dim": -1}, "fusions.concat: hidden_dim is -1, expected a number"),
        ({"fusions.gated.num_heads": 0}, "fusions.gated: num_heads is 0, expected a number"),
        ({"poolings.attention.width": 10**12}, "poolings.attention: width is 1000000000000, exp"),
        ({"vlm_qa.tiny.visual_tokens.width": 0}, "vlm_qa.tiny.visual_tokens: width is 0, expec"),
        ({"evaluate_align.tiny.ks": []}, r"evaluate_align.tiny: ks is \[\], expected numbers of 1"),
        (
            {"prepare.tiny.shares": {"tain": 0.7, "val": 0.3}},
            "prepare.tiny: shares are .*tain.*, expected one above 0 for train",
        ),
        (
            {"prepare.tiny.shares": {"train": 1.0, "../x": 0.0}},
            r"prepare.tiny: shares name the splits \['../x'\], expected letters",
        ),
        ({"datasets.other": {"captions": 3}}, "datasets.other: captions is 3, expected a text or"),
        ({"datasets.other": {}}, "datasets.other: found neither captions nor questions, expected"),
        ({"datasets.other": {"questions": ""}}, "datasets.other: questions is '', expected the p"),
        (
            {"datasets.tiny": {"questions": "questions"}},
            "vlm_qa.tiny.visual_tokens.kind is both, which uses the pooling .* datasets.tiny has "
            "none: set kind: grid, or add captions",
        ),
        (
            {
                "launch": "deepspeed_zero2",
                "launches.deepspeed_zero2": {"config": "nothing.json"},
            },
            "launches.deepspeed_zero2.config is 'nothing.json', and there is no such file",
        ),
        (
            {"launch": "ddp", "launches.ddp": {"num_processes": 4}},
            "launch ddp runs 4 processes, which do not divide vlm_qa.tiny.num_.*, 2",
        ),
    ],
)
def test_sections_that_do_not_fit_each_other(
    params: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    for path, value in changes.items():
        params = changed(params, path, value)
    with pytest.raises(ConfigError, match=f"^p: {message}"):
        parse_params(params, where="p")


def test_a_model_that_only_its_weights_know_is_left_to_the_stage(
    params: dict[str, Any], tmp_path: Path
) -> None:
    """A hub id that is not in the cache passes; a folder's config.json is read."""
    hub = {"model": "someone/some-clip", "revision": "0" * 40}
    params = changed(params, "vision_encoders.clip_vit_l14_336", hub)
    params = changed(params, "vision_encoder", "clip_vit_l14_336")
    assert parse_params(params, where="p").vision_encoder.name == "clip_vit_l14_336"
    vision = {"model_type": "clip_vision_model", "patch_size": 24, "hidden_size": 8}
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "clip", "vision_config": vision})
    )
    local = {"model": str(tmp_path), "revision": None}
    with pytest.raises(ConfigError, match="image_size is 64, expected a multiple of 24"):
        parse_params(changed(params, "vision_encoders.clip_vit_l14_336", local), where="p")


def test_the_paper_s_sizes_do_not_fit_the_sample_s_encoder(tmp_path: Path) -> None:
    """This was refused only after `prepare` had run; now before any stage does."""
    text = (ROOT / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(text.replace("scale: sample", "scale: paper", 1))
    command = "from edge_glass.fusion.app.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", command, "prepare"],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "caption_image_size with vision_encoder efficientnet_lite0" in done.stderr
    assert "336, expected a multiple of 32" in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["params.yaml"]


def test_a_missing_part_is_named(params: dict[str, Any]) -> None:
    del params["decoder"], params["encode"]
    with pytest.raises(ConfigError, match="decoder, encode missing; add it"):
        parse_params(params, where="p")
