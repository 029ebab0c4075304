from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from edge_glass.decoders.causal_lm_config import CausalLmConfig
from edge_glass.decoders.model_source import ModelSource, find_source
from edge_glass.decoders.pretrained import load_model

COMMIT = "a09a35458c702b33eeacc393d103063234e8bc28"


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_a_hub_id_is_returned_with_its_commit() -> None:
    assert find_source("org/model", COMMIT) == ModelSource(place="org/model", revision=COMMIT)


def test_a_folder_a_file_and_a_package_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = touch(tmp_path / "model", "config.json", "model.safetensors")
    assert find_source(str(folder), None) == ModelSource(place=str(folder))
    weights = touch(tmp_path / "gguf", "a.gguf")
    expected = ModelSource(place=str(weights), gguf_file="a.gguf")
    assert find_source(str(weights), None) == expected
    assert find_source(str(weights / "a.gguf"), None) == expected
    touch(tmp_path / "weights_of_a_model", "__init__.py", "data/b.gguf")
    monkeypatch.syspath_prepend(tmp_path)
    package = find_source("package:weights_of_a_model", None)
    assert package.place == str(tmp_path / "weights_of_a_model" / "data")
    assert package.gguf_file == "b.gguf"


def test_config_json_wins_over_a_gguf_file(tmp_path: Path) -> None:
    folder = touch(tmp_path, "config.json", "a.gguf", "b.gguf")
    assert find_source(str(folder), None).gguf_file is None


def test_missing_and_ambiguous_places_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="'no_such' of 'package:no_such' is not installed"):
        find_source("package:no_such", None)
    for name in ("", "../x", "Two-words"):
        with pytest.raises(FileNotFoundError, match="names no Python package; give the name that"):
            find_source(f"package:{name}", None)
    with pytest.raises(FileNotFoundError, match="is in no known home folder; give its path"):
        find_source("~nobody-of-this-name/model", None)
    with pytest.raises(FileNotFoundError, match=r"holds no config\.json and no \.gguf file"):
        find_source(str(tmp_path), None)
    with pytest.raises(FileNotFoundError, match=r"absent\.gguf is not a folder or a \.gguf file"):
        find_source(str(tmp_path / "absent.gguf"), None)
    with pytest.raises(ValueError, match=r"several \*\.gguf: \['a\.gguf', 'b\.gguf'\]; give the"):
        find_source(str(touch(tmp_path, "a.gguf", "b.gguf")), None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "org/model"}, "revision of org/model is None, expected a commit"),
        ({"model": "org/model", "revision": "main"}, "revision of org/model is 'main'"),
        ({"model": "org/model", "revision": COMMIT[:7]}, "expected a commit of 40 hexadecimal"),
        ({"model": "org/model", "revision": COMMIT}, "license of org/model is missing; copy it"),
        ({"model": "org/model", "revision": COMMIT, "license": " "}, "license of org/model is mis"),
        ({"model": "model"}, r"not a folder, a \.gguf file, package:NAME or a hub id"),
        ({"model": ""}, "model is '', expected a hub id, a folder"),
        (
            {"model": "weights.gguf", "quantization": "4bit"},
            r"'4bit', but weights\.gguf is a GGUF file, which is dequantised .*; set quantization",
        ),
        ({"model": ".", "chat_template": "turns"}, "chat_template is 'turns', expected null, mod"),
    ],
)
def test_options_that_cannot_work_are_refused_with_the_remedy(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        CausalLmConfig(**options)


def test_a_gguf_file_of_a_package_is_not_quantised_again(tmp_path: Path) -> None:
    source = ModelSource(place=str(tmp_path), gguf_file="a.gguf")
    with pytest.raises(ValueError, match=r"but a\.gguf is a GGUF file, which is dequantised"):
        load_model(source, torch.float32, "8bit")
