"""The feature cache: shards, resume, pooled places, room on the disk."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml

from edge_glass.encoders.base import VisionEncoder
from edge_glass.encoders.components import ConfigError
from edge_glass.encoders.dual_encoder import DualEncoder
from edge_glass.encoders.files import DataError, sha256_of
from edge_glass.encoders.images import decode_image
from edge_glass.training.align.augmentation import AugmentationConfig
from edge_glass.training.align.image_features import AugmentedFeatures
from edge_glass.training.features.cache import (
    gather,
    read_index,
    text_features,
    verify_features,
    vision_features,
)
from edge_glass.training.features.config import pooled_grid
from edge_glass.training.features.encoding import image_batches
from edge_glass.training.params import load_params
from edge_glass.training.runtime.executor import SerialExecutor
from edge_glass.training.stages import align, encode
from tiny_pixmo import COLOURS

pytestmark = pytest.mark.usefixtures("restore_torch")


@pytest.fixture
def configure(encoded: Path, params: dict[str, Any]) -> Callable[..., Any]:
    shutil.rmtree("artifacts/features")  # prepared only

    def change(**options: Any) -> Any:
        params["encode"]["tiny"].update(options)
        (encoded / "params.yaml").write_text(yaml.safe_dump(params))
        return load_params(encoded / "params.yaml")

    return change


def cache(project: Path = Path()) -> dict[str, str]:
    # hashes, because pytest takes minutes to show how two arrays of bytes differ
    folder = project / "artifacts/features"
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): sha256_of(path) for path in files}


def test_cutting_in_shards_changes_no_value(configure: Callable[..., Any]) -> None:
    encode.run(configure(rows_per_shard=1000))
    arrays = {split: np.array(vision_features("captions", split)) for split in ("train", "val")}
    texts = text_features("train")
    assert len(vision_features("captions", "train").index.shards) == 1
    encode.run(configure(rows_per_shard=10))
    for split, expected in arrays.items():
        found = vision_features("captions", split)
        assert len(found.index.shards) == -(-len(expected) // 10)
        np.testing.assert_array_equal(np.array(found), expected)
    rows = torch.tensor([23, 0, 11])
    assert torch.equal(
        gather(vision_features("captions", "train"), rows),
        torch.from_numpy(arrays["train"][rows.numpy()]).float(),
    )
    index, features = text_features("train")
    assert index == texts[0]
    assert torch.equal(features, texts[1])


def test_threads_that_decode_ahead_change_no_byte(
    configure: Callable[..., Any], cached: Path
) -> None:
    # with a GPU two threads take turns at shards
    with ThreadPoolExecutor(2) as turns:
        encode.run(configure(num_workers=3), turns)
    assert cache() == cache(cached)


def test_threads_that_take_turns_never_encode_at_once(
    configure: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    running, most, real = [0], [0], VisionEncoder.encode

    def counted(encoder: VisionEncoder, pixels: torch.Tensor) -> torch.Tensor:
        running[0] += 1
        most[0] = max(most[0], running[0])
        time.sleep(0.02)  # long enough for the other thread to begin
        found = real(encoder, pixels)
        running[0] -= 1
        return found

    monkeypatch.setattr(VisionEncoder, "encode", counted)
    with ThreadPoolExecutor(2) as turns:
        encode.run(configure(rows_per_shard=10), turns)
    assert most == [1]


def test_a_restart_skips_whole_shards(
    configure: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    params = configure(texts_per_shard=20)
    encode.run(params)
    whole = cache()

    class Killed(SerialExecutor):
        def map(self, fn: Any, *iterables: Any, **_: Any) -> Any:
            for number, task in enumerate(*iterables):
                if number == 4:
                    raise KeyboardInterrupt
                yield fn(task)

    with pytest.raises(KeyboardInterrupt):
        encode.run(configure(dtype="float32"), Killed())
    params = configure(dtype="float16")
    capsys.readouterr()
    with pytest.raises(KeyboardInterrupt):
        encode.run(params, Killed())
    assert "are finished" not in capsys.readouterr().out  # of another configuration nothing is kept
    encode.run(params)
    assert "encode: 4 of 13 shards are finished already, 9 to do" in capsys.readouterr().out
    assert cache() == whole
    assert not Path("artifacts/state/encode").exists()


def test_pooled_places_are_means_and_models_fit(configure: Callable[..., Any]) -> None:
    encode.run(configure(caption_image_size=128, dtype="float32"))
    assert read_index().grids["captions"] == (4, 4)
    every = np.array(vision_features("captions", "val"), np.float64)
    pools: list[tuple[Any, int]] = [("mean", 1), (2, 2)]
    for pool, side in pools:
        encode.run(configure(pool=pool))
        assert read_index().grids == {"captions": (side, side), "questions": (side, side)}
        parts = every.reshape(len(every), side, 4 // side, side, 4 // side, -1)
        expected = parts.mean(axis=(2, 4)).reshape(len(every), side * side, -1)
        found = np.array(vision_features("captions", "val"))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)  # sums in float32

    # what is trained on pooled places takes pictures as they come
    params = load_params(Path("params.yaml"))
    align.run(params)
    model = DualEncoder.from_pretrained("models/align")
    assert model.config.grid == (2, 2)
    pictures = Path("artifacts/prepared/captions/val.images.parquet")
    images = [decode_image(each) for each in pq.read_table(pictures)["bytes"].to_pylist()[:3]]
    with torch.inference_mode():
        cached = model.image_embeddings(torch.from_numpy(found[:3]))
    live = model.encode_image(images)
    torch.testing.assert_close(live, torch.nn.functional.normalize(cached), rtol=1e-4, atol=1e-4)

    # and so do pictures that change at each step
    options = dataclasses.replace(params.align, augmentation=AugmentationConfig())
    changing = dataclasses.replace(params, align=options)
    source = align.open_image_features(
        changing, read_index(), torch.device("cpu"), lambda _: iter(())
    )
    assert isinstance(source, AugmentedFeatures)
    torch.testing.assert_close(
        source.at(torch.arange(5), step=3),
        gather(vision_features("captions", "train"), np.arange(5)),
        rtol=1e-4,
        atol=1e-4,
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"rows_per_shard": 12},
            r"rows_per_shard is 12, expected a multiple of batch_size 5, .* 10",
        ),
        ({"rows_per_shard": 0}, "rows_per_shard is 0"),
        ({"num_workers": -1}, "num_workers is -1, expected 0 or more"),
        ({"texts_per_shard": 0}, "texts_per_shard is 0, expected 1 or more"),
        ({"pool": 0}, "pool is 0, expected none, mean or tokens per side"),
        ({"pool": "max"}, "pool"),
    ],
)
def test_options_that_cannot_work(
    configure: Callable[..., Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        configure(**options)


def test_a_grid_that_does_not_divide_is_refused(configure: Callable[..., Any]) -> None:
    assert pooled_grid((24, 24), "none") == (24, 24)
    with pytest.raises(ConfigError, match=r"pool is 3, expected a divisor of the .* 2 x 2 patches"):
        configure(pool=3)


def test_features_that_are_not_finite_are_named() -> None:
    array = np.full((3, 2, 2), 3e38, np.float32)  # finite, though their sum is not
    assert torch.equal(gather(array, np.array([2, 0])), torch.from_numpy(array[:2]))
    for values in ((np.nan, 1.0), (np.inf, -np.inf)):
        array[1, 1] = values
        with pytest.raises(DataError, match="features of image 1 are not finite"):
            gather(array, np.array([2, 1]))


def test_too_little_room_is_said_before_the_work(tmp_path: Path) -> None:
    encode.check_room(tmp_path, 0)
    with pytest.raises(OSError, match=r"take 4294967296\.0 GiB, and .*free below .*encode\.pool"):
        encode.check_room(tmp_path, 2**62)


@pytest.mark.usefixtures("encoded")
def test_of_held_out_splits_only_what_retrieval_is_scored_with_is_encoded() -> None:
    assert set(text_features("val")[0]) == {f"a {colour} disc" for colour in COLOURS}
    own = {f"a {colour} disc, number {number}" for colour in COLOURS for number in range(3)}
    assert own | {f"disc in {colour}" for colour in COLOURS} < set(text_features("train")[0])


def test_damage_is_found(encoded: Path) -> None:
    shards, size = verify_features()
    files = list(Path("artifacts/features").rglob("*.npy"))
    assert (shards, size) == (len(files), sum(path.stat().st_size for path in files))
    texts = Path("artifacts/features/captions/val/texts.json")
    whole = texts.read_text()
    texts.write_text(json.dumps([*json.loads(whole)[1:], "another"]))
    with pytest.raises(DataError, match=r"texts\.json: found \d+ bytes with SHA-256"):
        text_features("val")
    texts.write_text(whole)
    shard = Path("artifacts/features/captions/val/text-00000.npy")
    data = bytearray(shard.read_bytes())
    data[-3] ^= 1
    shard.write_bytes(data)
    text_features("val")
    with pytest.raises(DataError, match=r"text-00000\.npy: found SHA-256"):
        verify_features()


def test_batches_of_pictures_do_not_depend_on_row_groups(tmp_path: Path) -> None:
    values = [bytes([number]) for number in range(50)]
    path = tmp_path / "val.images.parquet"
    with pq.ParquetWriter(path, pa.schema([("bytes", pa.binary())])) as writer:
        for start, end in ((0, 7), (7, 8), (8, 33), (33, 50)):
            writer.write_table(pa.table({"bytes": pa.array(values[start:end], pa.binary())}))
    for first, rows in ((0, 50), (0, 12), (12, 12), (24, 26), (36, 14), (8, 1)):
        batches = list(image_batches(path, first, rows, 5))
        assert [each for batch in batches for each in batch] == values[first : first + rows]
        assert [len(batch) for batch in batches[:-1]] == [5] * (len(batches) - 1)


def test_an_image_that_cannot_be_decoded_any_more_is_named_with_its_row(
    configure: Callable[..., Any],
) -> None:
    path = Path("artifacts/prepared/captions/train.images.parquet")
    rows = pq.read_table(path).to_pylist()
    rows[18]["bytes"] = b"of a format that only a plug-in reads"
    pq.write_table(pa.Table.from_pylist(rows, pq.read_schema(path)), path)
    # an error of one thread must not leave the other one waiting
    for threads in (SerialExecutor(), ThreadPoolExecutor(2)):
        with threads, pytest.raises(DataError, match=r"train\.images\.parquet, row 18: not_an_im"):
            encode.run(configure(rows_per_shard=10), threads)
