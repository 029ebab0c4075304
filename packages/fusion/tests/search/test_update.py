from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from edge_glass.encoders.dual_encoder import DualEncoder
from edge_glass.fusion.search.index import ImageIndex
from edge_glass.fusion.search.torch_embedder import TorchEmbedder, one_torch_thread
from edge_glass.fusion.search.update import IndexUpdater


def update(
    image_folder: Path, model: DualEncoder, place: Path, num_workers: int = 2
) -> tuple[ImageIndex, IndexUpdater]:
    index = ImageIndex.load(place) or ImageIndex(model={"device": "cpu", "files": {}})
    updater = IndexUpdater(
        index,
        image_folder,
        TorchEmbedder(place, model),
        lambda changed: changed.save(place),
        num_workers=num_workers,
    )
    updater.run()
    return index, updater


def contents(place: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in place.iterdir()}


def test_embeddings_are_those_of_encode_image(
    image_folder: Path, dual: DualEncoder, tmp_path: Path
) -> None:
    index, updater = update(image_folder, dual, tmp_path / "index")
    assert updater.num_encoded == len(index.paths()) == 8
    images = [Image.open(image_folder / path) for path in index.paths()]
    with one_torch_thread():
        expected = dual.encode_image(images).numpy()
    found = [index.vectors[index.images[path].stamp.sha256] for path in index.paths()]
    np.testing.assert_array_equal(found, expected)


def test_only_what_is_new_or_changed_is_encoded(
    image_folder: Path, dual: DualEncoder, tmp_path: Path
) -> None:
    place = tmp_path / "index"
    update(image_folder, dual, place)
    before = (place / "model.safetensors").stat().st_mtime_ns
    assert update(image_folder, dual, place)[1].num_encoded == 0
    assert (place / "model.safetensors").stat().st_mtime_ns == before  # not even written

    os.utime(image_folder / "red.png")  # touched: read, and found unchanged
    shutil.move(image_folder / "blue.png", image_folder / "moved.png")
    shutil.copy(image_folder / "green.png", image_folder / "copy.png")
    (image_folder / "black.png").unlink()
    index, updater = update(image_folder, dual, place)
    assert updater.num_encoded == 0
    assert index.paths() == sorted(
        path.relative_to(image_folder).as_posix() for path in image_folder.rglob("*.png")
    )
    Image.new("RGB", (9, 9), "orange").save(image_folder / "red.png")
    Image.new("RGB", (9, 9), "pink").save(image_folder / "new.png")
    index, updater = update(image_folder, dual, place)
    assert updater.num_encoded == 2
    shutil.rmtree(place)
    fresh, _ = update(image_folder, dual, place)
    np.testing.assert_array_equal(
        fresh.scores(np.eye(24, dtype=np.float32)[0]), index.scores(np.eye(24, dtype=np.float32)[0])
    )


def test_broken_images_are_named_and_left_out(
    image_folder: Path, dual: DualEncoder, tmp_path: Path
) -> None:
    whole = (image_folder / "red.png").read_bytes()
    (image_folder / "page.png").write_text("<html>not found</html>")
    (image_folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (image_folder / "empty.jpg").touch()
    Image.new("F", (3, 3), float("nan")).save(image_folder / "float.tiff")
    (image_folder / "gone.png").symlink_to("nowhere.png")
    expected = {"page.png", "cut.png", "empty.jpg", "float.tiff", "gone.png"}
    index, updater = update(image_folder, dual, tmp_path / "index")
    assert set(updater.left_out) == expected
    assert updater.left_out["empty.jpg"] == "no bytes: the file is empty"
    assert "mode 'F'" in updater.left_out["float.tiff"]
    assert len(index.paths()) == 8
    index, updater = update(image_folder, dual, tmp_path / "index")  # remembered, and still told
    assert set(updater.left_out) == expected
    assert updater.num_encoded == 0
    (image_folder / "cut.png").write_bytes(whole)
    assert set(update(image_folder, dual, tmp_path / "index")[1].left_out) == expected - {"cut.png"}


def test_the_encoder_is_built_only_where_an_image_needs_it(
    image_folder: Path, dual_folder: Path, tmp_path: Path
) -> None:
    model = DualEncoder.from_pretrained(dual_folder, load_encoders=False)
    update(image_folder, model, tmp_path / "index")
    assert model.vision is not None
    model = DualEncoder.from_pretrained(dual_folder, load_encoders=False)
    os.utime(image_folder / "red.png")
    update(image_folder, model, tmp_path / "index")
    assert model.vision is None


@pytest.mark.parametrize("num_workers", [1, 5])
def test_any_number_of_workers_gives_the_same_bytes(
    image_folder: Path, dual: DualEncoder, tmp_path: Path, num_workers: int
) -> None:
    threads = torch.get_num_threads()
    update(image_folder, dual, tmp_path / "two")
    update(image_folder, dual, tmp_path / "other", num_workers)
    assert contents(tmp_path / "two") == contents(tmp_path / "other")
    assert torch.get_num_threads() == threads


KILLED = """
import os, signal, sys
from pathlib import Path
from edge_glass.encoders.dual_encoder import DualEncoder
from edge_glass.fusion.search.torch_embedder import TorchEmbedder
from edge_glass.fusion.search.update import IndexUpdater
from edge_glass.fusion.search.index import ImageIndex
model, image_folder, place = map(Path, sys.argv[1:])

def save(index):
    index.save(place)
    os.kill(os.getpid(), signal.SIGKILL)

index = ImageIndex(model={"device": "cpu", "files": {}})
dual = DualEncoder.from_pretrained(model, load_encoders=False)
embedder = TorchEmbedder(model, dual)
IndexUpdater(index, image_folder, embedder, save, save_seconds=0.0, num_workers=1).run()
"""


def test_killed_while_indexing_it_goes_on(
    image_folder: Path, dual: DualEncoder, dual_folder: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            KILLED,
            str(dual_folder),
            str(image_folder),
            str(tmp_path / "index"),
        ],
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == -signal.SIGKILL
    partial = ImageIndex.load(tmp_path / "index")
    assert partial is not None
    assert 1 <= len(partial.paths()) < 8
    goes_on = update(image_folder, dual, tmp_path / "index")[1]
    assert goes_on.num_encoded == 8 - len(partial.paths())
    update(image_folder, dual, tmp_path / "whole")
    assert contents(tmp_path / "index") == contents(tmp_path / "whole")
