from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from edge_glass.encoders.components import Component
from edge_glass.encoders.dual_encoder import DualEncoder
from edge_glass.encoders.towers.efficientnet import EfficientNetLite0Config
from edge_glass.fusion.search.files import (
    is_picture_name,
    model_stamp,
    picture_files,
    same_model,
    stamp_file,
)


def test_pictures_are_found_in_order_without_hidden_files(pictures: Path) -> None:
    for name in (".hidden.png", "notes.txt", ".edge_glass_index/x.png", "UPPER.JPG"):
        (pictures / name).parent.mkdir(exist_ok=True)
        (pictures / name).write_bytes(b"x")
    (pictures / "link.png").symlink_to(pictures / "red.png")
    (pictures / "round").symlink_to(pictures)  # a circle, were it followed
    found = list(picture_files(pictures))
    assert found == sorted(found)
    assert "UPPER.JPG" in found
    assert "link.png" in found
    assert "more/cyan.png" in found
    assert len(found) == 10
    with pytest.raises(NotADirectoryError, match="no such folder"):
        picture_files(pictures / "nowhere")


@pytest.mark.parametrize(("name", "expected"), [("a.JPeG", True), ("a.tiff", True), ("png", False)])
def test_picture_names(name: str, expected: bool) -> None:
    assert is_picture_name(name) is expected


def test_content_decides_where_size_or_time_differ(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one")
    first = stamp_file(path)
    os.utime(path, ns=(5, 5))
    touched = stamp_file(path, first)
    assert touched.sha256 == first.sha256
    assert touched.mtime_ns == 5 != first.mtime_ns
    path.write_bytes(b"two")
    assert stamp_file(path, touched).sha256 != first.sha256
    # size and time as they were seen: the content is taken as it was, unread
    os.utime(path, ns=(5, 5))
    assert stamp_file(path, touched) is touched


def test_a_model_is_known_by_weights_config_and_device(
    dual: DualEncoder, dual_folder: Path, tmp_path: Path
) -> None:
    stamp = model_stamp(dual_folder, dual.config, "cpu", {})
    assert any("efficientnet" in name for name in stamp["files"])
    assert same_model(stamp, model_stamp(dual_folder, dual.config, "cpu", stamp))
    assert not same_model(stamp, model_stamp(dual_folder, dual.config, "cuda", stamp))
    dual.save_pretrained(tmp_path)
    assert same_model(stamp, model_stamp(tmp_path, dual.config, "cpu", {}))
    (tmp_path / "config.json").write_text("{}")
    assert not same_model(stamp, model_stamp(tmp_path, dual.config, "cpu", stamp))


def test_frozen_weights_at_a_path_count_too(
    dual: DualEncoder, dual_folder: Path, tmp_path: Path
) -> None:
    weights = tmp_path / "weights.pth"
    config = replace(
        dual.config,
        vision_encoder=Component(
            name="efficientnet_lite0", config=EfficientNetLite0Config(weights=str(weights))
        ),
    )
    stamps = []
    for content in (b"one", b"two"):
        weights.write_bytes(content)
        stamps.append(model_stamp(dual_folder, config, "cpu", {}))
    assert not same_model(*stamps)
