"""Images with captions and questions are encoded once, and every feature keeps its bits."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from edge_glass.encoders.files import DataError
from edge_glass.training.features.cache import verify_features, vision_features
from edge_glass.training.features.live import LiveFeatures
from edge_glass.training.features.shared_array import SharedArray, find_places, own_rows
from edge_glass.training.params import load_params
from edge_glass.training.stages import encode
from tiny_pixmo import PARAMS

pytestmark = pytest.mark.usefixtures("restore_torch")
PREPARED = Path("artifacts/prepared")


def parameters(features: str) -> Any:
    raw: dict[str, Any] = copy.deepcopy(PARAMS) | {"features": features}
    Path("params.yaml").write_text(yaml.safe_dump(raw))
    return load_params(Path("params.yaml"))


@pytest.fixture
def mixed(encoded: Path) -> Path:
    """48 images of questions in random order, 24 of which have captions too, 16 in train."""
    path = PREPARED / "questions/train.images.parquet"
    rows = pq.read_table(path).to_pylist()[:24]
    rows += pq.read_table(PREPARED / "captions/train.images.parquet").to_pylist()[:16]
    rows += pq.read_table(PREPARED / "captions/val.images.parquet").to_pylist()[:8]
    order = np.random.default_rng(3).permutation(len(rows))
    pq.write_table(pa.Table.from_pylist([rows[n] for n in order], pq.read_schema(path)), path)
    shutil.rmtree("artifacts/features")
    return encoded


@pytest.mark.usefixtures("mixed")
def test_shared_features_are_those_of_a_cache_without_sharing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    encode.run(parameters("live"))
    live = vision_features("questions", "train")
    assert isinstance(live, LiveFeatures)
    expected = live[:]
    encode.run(parameters("cache"))
    found = vision_features("questions", "train")
    assert isinstance(found, SharedArray)
    assert (len(found), found.shape, found.dtype) == (48, expected.shape, expected.dtype)
    np.testing.assert_array_equal(found[:], expected)
    for rows in ([47], [3, 3, 0], [-1, 12], range(5, 30)):
        np.testing.assert_array_equal(found[np.array(rows)], expected[np.array(rows)])
    np.testing.assert_array_equal(found[7], expected[7])
    assert len(found.arrays[0]) == 28  # 24 of its own and a few that fill batches of 5
    assert "; 20 more have those of captions" in capsys.readouterr().out
    shards, _ = verify_features()
    files = list(Path("artifacts/features").rglob("*.npy"))
    assert shards == len(files) - 1  # shared.npy has its own checksum
    path = Path("artifacts/features/questions/train/shared.npy")
    data = bytearray(path.read_bytes())
    data[-8] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"shared\.npy: found SHA-256 .*dvc repro encode"):
        vision_features("questions", "train")


def write(path: Path, identities: range) -> Path:
    pq.write_table(pa.table({"image_id": [str(number) for number in identities]}), path)
    return path


@pytest.mark.parametrize(
    ("own", "other", "num_own"),
    [
        (range(20), range(20), 5),  # never an array without rows
        (range(23), range(23), 3),  # the last, smaller batch is its own
        (range(20), range(7), 15),  # row 5 and 6 of 7 have no full batch
        (range(20), range(3, 11), 15),  # 5 of 8; the other 15 fill batches
        (range(20), range(4), 20),
        (range(3), range(20), 3),  # fewer images than a batch
    ],
)
def test_own_images_fill_batches(tmp_path: Path, own: range, other: range, num_own: int) -> None:
    file = write(tmp_path / "own.parquet", own)
    places = find_places(file, {"captions/train": write(tmp_path / "o.parquet", other)}, 5)
    if num_own == len(own):
        assert places is None
        return
    assert places is not None
    rows = own_rows(places)
    assert len(rows) == num_own
    assert places[rows, 1].tolist() == list(range(num_own))
    for row in set(range(len(own))) - set(rows):
        assert own[row] == other[places[row, 1]]
