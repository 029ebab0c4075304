from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from edge_glass.encoders.components import Component
from edge_glass.encoders.dual_encoder import DualEncoder
from edge_glass.encoders.towers.efficientnet import EfficientNetLite0Config
from edge_glass.fusion.search.files import (
    folder_images,
    is_image_name,
    model_stamp,
    same_model,
    stamp_file,
)


def test_images_are_found_in_order_without_hidden_files(image_folder: Path) -> None:
    for name in (".hidden.png", "notes.txt", ".edge_glass_index/x.png", "UPPER.JPG"):
        (image_folder / name).parent.mkdir(exist_ok=True)
        (image_folder / name).write_bytes(b"x")
    (image_folder / "link.png").symlink_to(image_folder / "red.png")
    (image_folder / "round").symlink_to(image_folder)  # endless, if it were followed
    found = list(folder_images(image_folder).found)
    assert found == sorted(found)
    assert "UPPER.JPG" in found
    assert "link.png" in found
    assert "more/cyan.png" in found
    assert len(found) == 10
    with pytest.raises(NotADirectoryError, match="no such folder"):
        folder_images(image_folder / "nowhere")


@pytest.mark.parametrize(("name", "expected"), [("a.JPeG", True), ("a.tiff", True), ("png", False)])
def test_image_names(name: str, expected: bool) -> None:
    assert is_image_name(name) is expected


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
    # Size and time are unchanged: the content is not read.
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


def test_what_can_not_be_read_is_named(image_folder: Path) -> None:
    (image_folder / "loop.jpg").symlink_to("loop.jpg")
    (image_folder / "gone.png").symlink_to("nowhere.png")
    (image_folder / "folder.png").mkdir()
    (image_folder / "IMG_0001.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(64))
    images = folder_images(image_folder)
    assert images.left_out == {
        "loop.jpg": "a link that leads back to itself",
        "gone.png": "a link to a file that does not exist, or a file that was just deleted",
    }
    assert "IMG_0001.HEIC" in images.found  # decoding it then gives the reason
    assert len(images.found) == 9
