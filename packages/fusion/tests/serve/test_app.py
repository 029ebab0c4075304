"""The application: its models, its state, and unknown paths."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("fastapi")

from edge_glass.fusion.serve.app import create_app
from edge_glass.fusion.serve.served import Served, load_served, model_name


def test_a_hash_depends_on_the_files_of_a_model(dual_folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / dual_folder.name
    copy.mkdir()
    for path in dual_folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    assert model_name(copy) == model_name(dual_folder)
    config = copy / "config.json"
    config.write_bytes(config.read_bytes() + b" ")
    assert model_name(copy).sha256 != model_name(dual_folder).sha256


@pytest.mark.parametrize("name", ["onnx/vision.onnx", "executorch/vision.pte"])
def test_a_hash_depends_on_graphs_in_a_subfolder(name: str, tmp_path: Path) -> None:
    """`edge-glass export` writes them there."""
    graph, state = tmp_path / name, tmp_path / "last" / "state.json"
    for path in (graph, state):
        path.parent.mkdir()
        path.write_bytes(b"one")
    before = model_name(tmp_path).sha256
    state.write_bytes(b"two")
    assert model_name(tmp_path).sha256 == before
    graph.write_bytes(b"two")
    assert model_name(tmp_path).sha256 != before


def test_no_schema_lists_the_files_of_the_page() -> None:
    paths = {getattr(route, "path", "") for route in create_app(Served()).routes}
    assert not paths & {"/openapi.json", "/docs", "/redoc"}


def test_what_can_not_be_served(dual_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="runtime is tflite, expected one of torch, onnx"):
        load_served(vlm=None, align=dual_folder, runtime="tflite")
    with pytest.raises(ValueError, match="--images needs a dual encoder"):
        load_served(vlm=dual_folder, align=None, images=tmp_path)
    with pytest.raises(ValueError, match="--index needs the folder of its images"):
        load_served(vlm=None, align=dual_folder, index=tmp_path)
