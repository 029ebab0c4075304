"""Features that are encoded as training runs: the numbers and the models of the cache."""

from __future__ import annotations

import copy
import dataclasses
import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml

from edge_glass.encoders.files import DataError
from edge_glass.training.align.image_features import LiveTrainingFeatures
from edge_glass.training.align.pairs import TrainingPairs
from edge_glass.training.engine.order import step_batch
from edge_glass.training.engine.processes import Processes
from edge_glass.training.features.cache import vision_features
from edge_glass.training.features.captions import caption_rows
from edge_glass.training.features.live import LiveFeatures
from edge_glass.training.features.read_ahead import read_ahead
from edge_glass.training.params import load_params
from edge_glass.training.stages import align, encode, evaluate_align, evaluate_vlm_qa, vlm_qa
from tiny_pixmo import PARAMS

pytestmark = pytest.mark.usefixtures("restore_torch")


def parameters(features: str, **changes: dict[str, Any]) -> Any:
    """The tiny configuration, written to the current folder."""
    raw: dict[str, Any] = copy.deepcopy(PARAMS) | {"features": features}
    for stage, options in changes.items():
        raw[stage]["tiny"] |= options
    Path("params.yaml").write_text(yaml.safe_dump(raw))
    return load_params(Path("params.yaml"))


@pytest.fixture
def live(encoded: Path) -> LiveFeatures:
    """The training images of captions, in a project that has a cache of them too."""
    shutil.copytree(encoded / "artifacts/features", encoded / "artifacts/cached")
    encode.run(parameters("live"))
    features = vision_features("captions", "train")
    assert isinstance(features, LiveFeatures)
    return features


def test_live_features_are_those_of_the_cache(live: LiveFeatures) -> None:
    """Bit for bit, in any batch: 24 images, encoded 5 at a time, the last 4."""
    assert not list(Path("artifacts/features").glob("*/*/vision*"))
    cached = vision_features("captions", "train", Path("artifacts/cached"))
    assert (live.shape, live.dtype) == (cached.shape, cached.dtype) == ((24, 4, 320), np.float16)
    for rows in ([3], [23], [3, 3, 0], [20, 1, 7, 12, 5, 9, 23], range(24)):
        np.testing.assert_array_equal(live[np.array(rows)], cached[np.array(rows)])
    np.testing.assert_array_equal(live[-2:], cached[-2:])
    assert live[2].shape == cached[2].shape


def test_a_batch_has_the_size_that_it_has_in_the_cache(encoded: Path) -> None:
    """24 images, encoded 23 at a time: the last one is alone, and kernels differ in last bits."""
    options = {"batch_size": 23, "rows_per_shard": 23}
    cached = {}
    for kind in ("cache", "live"):
        encode.run(parameters(kind, encode=options))
        features = vision_features("captions", "train")
        cached[kind] = [features[np.array(rows)] for rows in ([23], [22], [22, 23], [0, 1, 23])]
    for one, other in zip(cached["cache"], cached["live"], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_batches_of_two_sources_come_in_order(live: LiveFeatures, num_workers: int) -> None:
    second = vision_features("questions", "train")
    assert isinstance(second, LiveFeatures)
    batches = [[0, 24, 3], [47, 46], [5]]
    state = torch.get_rng_state()
    found = list(read_ahead([live, second], batches, num_workers))
    assert torch.equal(torch.get_rng_state(), state)  # the noise of training is not touched
    for rows, features in zip(batches, found, strict=True):
        parts = [live[row] if row < 24 else second[row - 24] for row in rows]
        np.testing.assert_array_equal(features.numpy(), np.stack(parts).astype(np.float32))


def test_microbatches_of_the_same_image_get_its_features(live: LiveFeatures) -> None:
    """Pairs of one image, in microbatches of one pair, embedded twice each."""
    rows = caption_rows("train", Path("artifacts/prepared"))
    rows = dataclasses.replace(rows, images=torch.arange(len(rows.images)) // 3)
    config = dataclasses.replace(
        load_params(Path("params.yaml")).align, recycle=0, batch_size=8, num_microbatches=8, steps=4
    )
    pairs = TrainingPairs(rows=rows, class_rows=None, config=config, seed=0)
    planned = partial(pairs.own_images, Processes())
    features, repeated = LiveTrainingFeatures(live, planned, 0), 0
    for step in range(config.steps):
        batch = step_batch(len(rows.images), config.batch_size, seed=0, step=step)
        repeated += len(batch) - len(rows.images[batch].unique())
        for number in (*range(8), *range(8)):
            wanted = rows.images[batch[number : number + 1]]
            expected = live[wanted.numpy()].astype(np.float32)
            np.testing.assert_array_equal(features.at(wanted, step=step).numpy(), expected)
    assert repeated > 0


def test_features_that_do_not_fit_name_the_image(
    live: LiveFeatures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live.encoder, "forward", lambda pixels: pixels.new_full((5, 4, 320), 1e6))
    with pytest.raises(DataError, match=r"train\.images\.parquet, row 7: .*dtype float32"):
        live[np.array([7])]


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_image_that_cannot_be_read_is_named(live: LiveFeatures, num_workers: int) -> None:
    path = Path("artifacts/prepared/captions/train.images.parquet")
    table = pq.read_table(path)
    images = table["bytes"].to_pylist()
    images[9] = b"no image"
    pq.write_table(table.set_column(1, "bytes", pa.array(images)), path)
    features = vision_features("captions", "train")
    assert isinstance(features, LiveFeatures)
    with pytest.raises(DataError, match=r"^\S*train\.images\.parquet, row 9: .* Pillow") as caught:
        list(read_ahead([features], [[1], [2, 9]], num_workers))
    assert "Traceback" not in str(caught.value)


def test_captions_that_were_prepared_later_are_one_line(encoded: Path) -> None:
    path = encoded / "artifacts/prepared/captions/train.rows.parquet"
    table = pq.read_table(path)
    place = table.schema.get_field_index("caption")
    captions = pa.array(["a new one", *table["caption"].to_pylist()[1:]])
    pq.write_table(table.set_column(place, "caption", captions), path)
    with pytest.raises(DataError, match=r"no features of the caption 'a new one', .*dvc repro enc"):
        caption_rows("train", encoded / "artifacts/prepared")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"encoder": 3}', '{"encoder": {"name": 1}}'])
def test_a_damaged_description_is_named(encoded: Path, content: str) -> None:
    (encoded / "artifacts/features/live.json").write_text(content)
    with pytest.raises(DataError, match=r"live\.json: does not describe .*`dvc repro encode`"):
        vision_features("captions", "train")


@pytest.mark.slow
def test_live_and_cached_training_give_the_same_bytes(project: Path) -> None:
    from edge_glass.training.stages import prepare

    captions = {"caption_steps": 2, "mixture": {"questions": 0.5, "captions": 0.5}}
    results = []
    for kind, workers in (("cache", 0), ("live", 0), ("live", 2)):
        params = parameters(
            kind, align={"num_workers": workers}, vlm_qa={"num_workers": workers, **captions}
        )
        if not results:
            prepare.run(params)
        for stage in (encode, align, evaluate_align, vlm_qa, evaluate_vlm_qa):
            stage.run(params)
        chains = [
            json.loads(Path(f"models/{m}/chain.json").read_text()) for m in ("align", "vlm_qa")
        ]
        files = ["models/align/model.safetensors", "models/vlm_qa/model.safetensors"]
        files += sorted(map(str, Path("predictions").rglob("*.jsonl")))
        results.append((chains, {name: Path(name).read_bytes() for name in files}))
    (chains, files), *others = results
    assert len(files) == 4
    for other_chains, other_files in others:
        for chain, other in zip(chains, other_chains, strict=True):
            assert chain["steps"] == other["steps"]
        assert files == other_files
