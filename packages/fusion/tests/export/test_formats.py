"""`edge-glass export`: what is refused, and that nothing is left half-written."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_glass.fusion.export.formats import FORMATS, export_model


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("sentence_transformers", "did you mean sentence-transformers"),
        ("tensorflow", "choose one of sentence-transformers"),
    ],
)
def test_an_unknown_format_lists_the_known(name: str, remedy: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=remedy):
        export_model(name, tmp_path, tmp_path / "out")


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder; give the folder of a"):
        export_model("sentence-transformers", tmp_path / "nowhere", tmp_path / "out")


def test_precisions_are_refused_if_there_are_none(dual_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="peft has no precisions to choose"):
        export_model("peft", dual_folder, tmp_path / "out", precisions=["int8"])


def test_a_model_of_a_different_kind_leaves_no_folder(vlm_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not the config of a dual_encoder"):
        export_model("sentence-transformers", vlm_folder, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_content_is_left_alone(dual_folder: Path, tmp_path: Path) -> None:
    kept = tmp_path / "out" / "thesis.txt"
    kept.parent.mkdir()
    kept.write_text("mine")
    with pytest.raises(FileExistsError, match="exists and is not empty"):
        export_model("sentence-transformers", dual_folder, tmp_path / "out")
    assert kept.read_text() == "mine"


def test_a_folder_that_can_not_be_new_is_refused_before_any_work(
    dual_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "to_file").symlink_to("file")
    (tmp_path / "model").symlink_to(dual_folder)
    before = sorted(path.name for path in (*tmp_path.iterdir(), *dual_folder.iterdir()))
    for name, message in {
        "file": "is a file, expected a folder",
        "to_file": "is a link to no folder",
        "link": "is a link to no folder",
        "loop": "is a link to no folder",
        "model/out": "lies in .*, which would then hold more than its model",
        "model/a/b": "lies in .*, which would then hold more than its model",
    }.items():
        with pytest.raises(FileExistsError, match=message):
            export_model("sentence-transformers", dual_folder, tmp_path / name)
    after = sorted(path.name for path in (*tmp_path.iterdir(), *dual_folder.iterdir()))
    assert before == after


def test_every_writer_can_be_imported() -> None:
    import importlib.util

    for name, each in FORMATS.items():
        module, _, function = each.writer.partition(":")
        if each.extra == "onnx" and importlib.util.find_spec("onnxruntime") is None:
            continue  # CI installs the extra
        assert callable(getattr(importlib.import_module(module), function)), name
