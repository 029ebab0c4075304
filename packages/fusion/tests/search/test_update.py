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
from edge_glass.fusion.search.index import PictureIndex
from edge_glass.fusion.search.update import IndexUpdater, one_torch_thread


def update(
    pictures: Path, model: DualEncoder, place: Path, num_workers: int = 2
) -> tuple[PictureIndex, IndexUpdater]:
    index = PictureIndex.load(place) or PictureIndex(model={"device": "cpu", "files": {}})
    updater = IndexUpdater(
        index, pictures, model, lambda changed: changed.save(place), num_workers=num_workers
    )
    updater.run()
    return index, updater


def contents(place: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in place.iterdir()}


def test_embeddings_are_those_of_encode_image(
    pictures: Path, dual: DualEncoder, tmp_path: Path
) -> None:
    index, updater = update(pictures, dual, tmp_path / "index")
    assert updater.num_encoded == len(index.paths()) == 8
    images = [Image.open(pictures / path) for path in index.paths()]
    with one_torch_thread():
        expected = dual.encode_image(images).numpy()
    found = [index.vectors[index.pictures[path].stamp.sha256] for path in index.paths()]
    np.testing.assert_array_equal(found, expected)


def test_only_what_is_new_or_changed_is_encoded(
    pictures: Path, dual: DualEncoder, tmp_path: Path
) -> None:
    place = tmp_path / "index"
    update(pictures, dual, place)
    before = (place / "model.safetensors").stat().st_mtime_ns
    assert update(pictures, dual, place)[1].num_encoded == 0
    assert (place / "model.safetensors").stat().st_mtime_ns == before  # not even written

    os.utime(pictures / "red.png")  # touched: read, and found unchanged
    shutil.move(pictures / "blue.png", pictures / "moved.png")
    shutil.copy(pictures / "green.png", pictures / "copy.png")
    (pictures / "black.png").unlink()
    index, updater = update(pictures, dual, place)
    assert updater.num_encoded == 0
    assert index.paths() == sorted(
        path.relative_to(pictures).as_posix() for path in pictures.rglob("*.png")
    )
    Image.new("RGB", (9, 9), "orange").save(pictures / "red.png")
    Image.new("RGB", (9, 9), "pink").save(pictures / "new.png")
    index, updater = update(pictures, dual, place)
    assert updater.num_encoded == 2
    shutil.rmtree(place)
    fresh, _ = update(pictures, dual, place)
    np.testing.assert_array_equal(
        fresh.scores(np.eye(24, dtype=np.float32)[0]), index.scores(np.eye(24, dtype=np.float32)[0])
    )


def test_broken_pictures_are_named_and_left_out(
    pictures: Path, dual: DualEncoder, tmp_path: Path
) -> None:
    whole = (pictures / "red.png").read_bytes()
    (pictures / "page.png").write_text("<html>not found</html>")
    (pictures / "cut.png").write_bytes(whole[: len(whole) // 2])
    (pictures / "empty.jpg").touch()
    Image.new("F", (3, 3)).save(pictures / "float.tiff")
    (pictures / "gone.png").symlink_to("nowhere.png")
    expected = {"page.png", "cut.png", "empty.jpg", "float.tiff"}
    index, updater = update(pictures, dual, tmp_path / "index")
    assert set(updater.unreadable) == expected
    assert updater.unreadable["empty.jpg"] == "no bytes: the file is empty"
    assert "mode 'F'" in updater.unreadable["float.tiff"]
    assert len(index.paths()) == 8
    index, updater = update(pictures, dual, tmp_path / "index")  # remembered, and still told
    assert set(updater.unreadable) == expected
    assert updater.num_encoded == 0
    (pictures / "cut.png").write_bytes(whole)
    assert set(update(pictures, dual, tmp_path / "index")[1].unreadable) == expected - {"cut.png"}


def test_the_encoder_is_built_only_where_a_picture_needs_it(
    pictures: Path, dual_folder: Path, tmp_path: Path
) -> None:
    model = DualEncoder.from_pretrained(dual_folder, load_encoders=False)
    update(pictures, model, tmp_path / "index")
    assert model.vision is not None
    model = DualEncoder.from_pretrained(dual_folder, load_encoders=False)
    os.utime(pictures / "red.png")
    update(pictures, model, tmp_path / "index")
    assert model.vision is None


@pytest.mark.parametrize("num_workers", [1, 5])
def test_any_number_of_workers_gives_the_same_bytes(
    pictures: Path, dual: DualEncoder, tmp_path: Path, num_workers: int
) -> None:
    threads = torch.get_num_threads()
    update(pictures, dual, tmp_path / "two")
    update(pictures, dual, tmp_path / "other", num_workers)
    assert contents(tmp_path / "two") == contents(tmp_path / "other")
    assert torch.get_num_threads() == threads


KILLED = """
import os, signal, sys
from pathlib import Path
from edge_glass.encoders.dual_encoder import DualEncoder
from edge_glass.fusion.search.update import IndexUpdater
from edge_glass.fusion.search.index import PictureIndex
model, pictures, place = map(Path, sys.argv[1:])

def save(index):
    index.save(place)
    os.kill(os.getpid(), signal.SIGKILL)

index = PictureIndex(model={"device": "cpu", "files": {}})
dual = DualEncoder.from_pretrained(model, load_encoders=False)
IndexUpdater(index, pictures, dual, save, save_seconds=0.0, num_workers=1).run()
"""


def test_killed_while_indexing_it_goes_on(
    pictures: Path, dual: DualEncoder, dual_folder: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(dual_folder), str(pictures), str(tmp_path / "index")],
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == -signal.SIGKILL
    partial = PictureIndex.load(tmp_path / "index")
    assert partial is not None
    assert 1 <= len(partial.paths()) < 8
    goes_on = update(pictures, dual, tmp_path / "index")[1]
    assert goes_on.num_encoded == 8 - len(partial.paths())
    update(pictures, dual, tmp_path / "whole")
    assert contents(tmp_path / "index") == contents(tmp_path / "whole")
