"""The folder of an exported model: what is broken is named in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnxruntime")

from edge_glass.fusion.edge.config import DUAL_ENCODER, FORMAT, VLM, refuse_exported
from edge_glass.fusion.edge.folder import ExportedFolder

CONFIG: dict[str, Any] = {
    "format": FORMAT,
    "kind": DUAL_ENCODER,
    "graphs": {"int8": {"vision_model": "vision_model.onnx", "text_model": "text_model.onnx"}},
    "image": {},
    "matryoshka_dims": [8],
    "text": {"max_tokens": 8},
}


def written(folder: Path, **changes: Any) -> Path:
    (folder / "config.json").write_text(json.dumps(CONFIG | changes))
    return folder


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"config\.json is broken \(Expecting"),
        ("[]", "format is None, expected 'edge-glass-onnx/1'"),
        ('{"format": "other"}', "format is 'other'"),
        (
            json.dumps({**CONFIG, "kind": VLM}),
            "kind is 'vision_language_model', expected 'dual_enc",
        ),
        (json.dumps({**CONFIG, "graphs": {}}), r"has no fp32 or int8 graphs, only \[\]"),
    ],
)
def test_a_broken_config_is_named(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ValueError, match=message) as error:
        ExportedFolder(tmp_path, kind=DUAL_ENCODER)
    assert "\n" not in str(error.value)


def test_a_missing_precision_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no fp32 graphs, only \['int8'\]"):
        ExportedFolder(written(tmp_path), kind=DUAL_ENCODER, precision="fp32")


@pytest.mark.parametrize("content", [b"torn", b""])
def test_a_broken_graph_or_tokenizer_is_named(content: bytes, tmp_path: Path) -> None:
    folder = ExportedFolder(written(tmp_path), kind=DUAL_ENCODER)
    with pytest.raises(FileNotFoundError, match=r"text_model\.onnx does not exist"):
        folder.graph("text_model")
    for name in ("text_model.onnx", "tokenizer.json"):
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=r"text_model\.onnx is broken") as error:
        folder.graph("text_model")
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=r"tokenizer\.json is broken") as error:
        folder.tokenizer()
    assert "\n" not in str(error.value)


def test_a_tokenizer_without_unknown_words_is_named(tmp_path: Path) -> None:
    """It would fail only for texts that its vocabulary lacks."""
    model = {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "[UNK]"}
    (tmp_path / "tokenizer.json").write_text(json.dumps({"version": "1.0", "model": model}))
    with pytest.raises(ValueError, match=r"tokenizer\.json is broken \(WordLevel error"):
        ExportedFolder(written(tmp_path), kind=DUAL_ENCODER).tokenizer()


def test_an_exported_folder_is_not_loaded_in_torch(tmp_path: Path) -> None:
    refuse_exported(tmp_path)  # what reads the model reports that there is none
    with pytest.raises(ValueError, match="run it with --runtime onnx"):
        refuse_exported(written(tmp_path))
    refuse_exported(written(tmp_path, format="edge-glass-dual-encoder/1"))
