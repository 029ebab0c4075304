from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge_glass.encoders.checkpoint import CheckpointError, load_arrays, save_checkpoint
from edge_glass.fusion.codes import encode_rows
from edge_glass.fusion.search.files import FileStamp
from edge_glass.fusion.search.index import ImageIndex, IndexedImage


def unit(*shape: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal(shape)
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def index_of(rows: np.ndarray) -> ImageIndex:
    index = ImageIndex(model={"device": "cpu", "files": {}})
    for place, row in enumerate(rows):
        stamp = FileStamp(size=place, mtime_ns=place, sha256=f"hash{place}")
        index.images[f"{place:06}.png"] = IndexedImage(stamp=stamp)
        index.vectors[stamp.sha256] = row
    return index


@pytest.mark.parametrize("dim", [None, 64, 7, 1])
def test_scores_are_cosines(dim: int | None) -> None:
    rows, query = unit(50, 64), unit(64, seed=1)
    left, right = rows[:, :dim].astype(np.float64), query[:dim].astype(np.float64)
    expected = left @ right / np.linalg.norm(left, axis=1) / np.linalg.norm(right)
    # The same float64 sums of at most 64 products, in a different order.
    np.testing.assert_allclose(index_of(rows).scores(query, dim), expected, atol=1e-14)


def test_a_score_is_the_same_bits_alone_and_among_others() -> None:
    rows, query = unit(8200, 96), unit(96, seed=1)
    whole = index_of(rows).scores(query, 48)
    backwards = index_of(rows[::-1]).scores(query, 48)
    np.testing.assert_array_equal(backwards[::-1], whole)
    for place in (0, 5, 8191, 8199):  # inside and behind a block
        assert index_of(rows[place : place + 1]).scores(query, 48)[0] == whole[place]
    # A matrix product sums in an order that depends on the number of rows.
    left, right = rows[:, :48].astype(np.float64), query[:48].astype(np.float64)
    assert (left @ right != np.array([row @ right for row in left])).any()


def test_a_vector_of_zeros_scores_nothing() -> None:
    rows = np.zeros((1, 4), np.float32)
    assert index_of(rows).scores(unit(4)) == [0.0]


def test_what_was_saved_is_loaded_and_equal_indexes_are_equal_bytes(tmp_path: Path) -> None:
    index = index_of(unit(5, 8))
    stamp = FileStamp(size=1, mtime_ns=2, sha256="bad")
    index.images["broken.png"] = IndexedImage(stamp=stamp, fault="not an image")
    copy = IndexedImage(stamp=index.images["000002.png"].stamp)
    index.images["a copy.png"] = copy
    index.save(tmp_path / "one")
    loaded = ImageIndex.load(tmp_path / "one")
    assert loaded is not None
    assert loaded.images == index.images
    assert loaded.faults() == {"broken.png": "not an image"}
    assert loaded.paths() == [*(f"{place:06}.png" for place in range(5)), "a copy.png"]
    np.testing.assert_array_equal(loaded.scores(unit(8)), index.scores(unit(8)))
    backwards = ImageIndex(
        model=index.model, images=dict(reversed(index.images.items())), vectors=index.vectors
    )
    backwards.save(tmp_path / "two")
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_no_index_is_none_and_a_broken_one_is_refused(tmp_path: Path) -> None:
    assert ImageIndex.load(tmp_path) is None
    index_of(unit(5, 8)).save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    first = config["images"].pop("000000.png")
    for change, message in (
        (config, r"shape \(5, 8\) and type float32, expected 4 rows of some finite"),
        ({**config, "format": "edge-glass-image-index/0"}, "expected edge-glass-image-index/3"),
        ({**config, "format": "edge-glass-picture-index/1"}, "expected edge-glass-image-index/3"),
        ({**config, "images": {"a.png": {"size": 1}}}, "broken image index"),
        ({**config, "images": {"a.png": first}, "model": None}, "broken image index"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(change))
        with pytest.raises(CheckpointError, match=message):
            ImageIndex.load(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: np.array(rows[0, 0]),
        lambda rows: rows[:, 0],
        lambda rows: rows[:, :, None],
        lambda rows: rows[:, :0],
        lambda rows: rows[:, :4],  # the model has 8 numbers
        lambda rows: rows.astype(np.float64),
        lambda rows: rows * np.float32(np.nan),
        lambda rows: np.full_like(rows, 3e38),
        lambda rows: np.where(rows > 0, np.inf, -np.inf).astype(np.float32),
    ],
)
def test_embeddings_of_a_wrong_form_are_refused(
    change: Callable[[np.ndarray], np.ndarray], tmp_path: Path
) -> None:
    index_of(unit(5, 8)).save(tmp_path)
    config, tensors = load_arrays(tmp_path)
    save_checkpoint(tmp_path, config, {"embeddings": change(tensors["embeddings"])})
    with pytest.raises(CheckpointError, match="embeddings of shape"):
        ImageIndex.load(tmp_path, 8)


@pytest.mark.parametrize("files", [5, None, [1], {"a": 5}, {"a": {}}, {"a": {"sha256": 5}}])
def test_a_broken_stamp_of_the_model_is_refused(files: object, tmp_path: Path) -> None:
    index_of(unit(5, 8)).save(tmp_path)
    config, tensors = load_arrays(tmp_path)
    save_checkpoint(tmp_path, config | {"model": {"files": files}}, tensors)
    with pytest.raises(CheckpointError, match="broken image index"):
        ImageIndex.load(tmp_path)


@pytest.mark.parametrize(("name", "value"), [("sha256", []), ("sha256", 5), ("fault", 5)])
def test_a_broken_entry_of_an_image_is_refused(name: str, value: object, tmp_path: Path) -> None:
    index_of(unit(5, 8)).save(tmp_path)
    config, tensors = load_arrays(tmp_path)
    config["images"]["000000.png"][name] = value
    save_checkpoint(tmp_path, config, tensors)
    with pytest.raises(CheckpointError, match="broken image index"):
        ImageIndex.load(tmp_path)


def test_codes_of_a_wrong_form_are_not_used(tmp_path: Path) -> None:
    codes = {name: encode_rows(unit(5, 8), 8, name) for name in ("int8", "1bit")}
    good = {f"codes.8.{name}": each for name, each in codes.items()}
    wrong = {
        "codes.4.int8": codes["int8"],  # too wide
        "codes.7.int8": codes["int8"][:, :5],
        "codes.6.int8": codes["int8"][:, 0],
        "codes.5.int8": codes["int8"][:, :5].astype(np.float32),
        "codes.6.1bit": codes["1bit"].astype(np.int64),
        "codes.3.int8": codes["int8"][:4, :3],
        "codes.8.int4": codes["int8"],
        "codes.x.int8": codes["int8"],
        "notes": codes["int8"],
    }
    index_of(unit(5, 8)).save(tmp_path)
    config, tensors = load_arrays(tmp_path)
    save_checkpoint(tmp_path, config, tensors | good | wrong)
    loaded = ImageIndex.load(tmp_path, 8)
    assert loaded is not None
    assert loaded.codes.keys() == good.keys()
