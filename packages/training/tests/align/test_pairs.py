"""Training pairs: which rows a step has, and classes of the vision encoder's classifier."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from edge_glass.encoders.components import ConfigError
from edge_glass.encoders.files import sha256_of, write_json
from edge_glass.encoders.towers.classifier import ClassifierRows
from edge_glass.training.align.pairs import TrainingPairs, check_recycle, with_classes
from edge_glass.training.features.cache import CLASSES, read_index, text_features
from edge_glass.training.features.captions import caption_rows
from edge_glass.training.features.shards import ShardIndex, write_shard
from edge_glass.training.folders import FEATURES, PREPARED
from edge_glass.training.params import Params, load_params
from edge_glass.training.stages import align, encode

pytestmark = pytest.mark.usefixtures("restore_torch")
# the second text of class 1 equals a caption of training: the two are not negatives of each other
TEXTS = (("an owl", "a bird"), ("a ruby", "A red disc"), ("a boat", "a bird"))


def configured(folder: Path, params: dict[str, Any], **options: Any) -> Params:
    params["align"]["tiny"].update(options)
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    return load_params(folder / "params.yaml")


@pytest.fixture
def classes(encoded: Path) -> ClassifierRows:
    """Three classes whose texts have random features beside those of the tiny project."""
    texts = sorted({text for each in TEXTS for text in each})
    folder = FEATURES / "captions" / CLASSES
    folder.mkdir()
    write_json(folder / "texts.json", texts)
    features = np.random.default_rng(0).normal(size=(len(texts), 384))
    path = folder / "text-00000.npy"
    entry = write_shard(path, encoded / "scratch", features.shape, "float32", [features])
    index = ShardIndex(
        shape=features.shape, dtype="float32", rows_per_shard=len(texts), shards=(entry,)
    )
    index.save(folder / "text.json")
    cache = json.loads((FEATURES / "index.json").read_text())
    cache["texts_sha256"][CLASSES] = sha256_of(folder / "texts.json")
    write_json(FEATURES / "index.json", cache)
    rows = torch.randn(3, read_index().vision_width, generator=torch.Generator().manual_seed(0))
    return ClassifierRows(tokens=rows, texts=TEXTS)


def pairs_of(params: Params, classes: ClassifierRows) -> TrainingPairs:
    rows = with_classes(caption_rows("train", PREPARED), classes)
    return TrainingPairs(rows=rows, class_rows=classes.tokens, config=params.align, seed=0)


def test_each_microbatch_has_its_share_of_classes(
    encoded: Path, params: dict[str, Any], classes: ClassifierRows
) -> None:
    pairs = pairs_of(configured(encoded, params, recycle=2), classes)
    seen = set()
    for step in range(6):
        batch = pairs.batch(step)
        assert torch.equal(batch, pairs.batch(step))
        assert len(batch) == len(set(batch.tolist())) == 8
        # in each of the two microbatches three images, then one class
        assert (batch.reshape(2, 4) >= pairs.num_images).tolist() == [[False] * 3 + [True]] * 2
        assert pairs.images(batch).tolist() == pairs.rows.images[batch[batch < 24]].tolist()
        seen.update((batch[batch >= pairs.num_images] - pairs.num_images).tolist())
    assert seen == {0, 1, 2}
    plain = dataclasses.replace(pairs, class_rows=None)
    plain = dataclasses.replace(plain, config=dataclasses.replace(plain.config, recycle=0))
    assert int(plain.batch(0).max()) < pairs.num_images


def test_classes_have_own_groups_and_texts(classes: ClassifierRows) -> None:
    plain = caption_rows("train", PREPARED)
    rows = with_classes(plain, classes)
    first = len(plain.images)
    index, features = text_features(CLASSES)
    drawn = rows.draw_texts(torch.tensor([first, first + 1, first + 2]), seed=0, step=0)
    for number, text in enumerate(drawn.tolist()):
        own = [features[index[each]] for each in TEXTS[number]]
        assert any(torch.equal(rows.features[text], each) for each in own)
    bird, ruby_red = index["a bird"] + len(plain.features), index["A red disc"]
    texts = torch.tensor([bird, ruby_red + len(plain.features), bird])
    numbers = rows.negatives(torch.tensor([first, first + 1, first + 2]), texts)
    assert len(set(numbers[:, 0].tolist())) == 3
    assert numbers[0, 1] == numbers[2, 1]  # the same text of two classes
    caption = text_features("train")[0]["a red disc"]
    assert numbers[1, 1] == rows.text_numbers[caption]  # equal but for the case
    assert not set(numbers[:, 0].tolist()) & set(plain.groups.tolist())


def test_the_image_head_reads_the_rows_behind_the_pooled_images(
    encoded: Path, params: dict[str, Any], classes: ClassifierRows
) -> None:
    params["poolings"]["attention"]["width"] = None
    tiny = configured(encoded, params, recycle=2)
    pairs = pairs_of(tiny, classes)
    model = align.build_model(tiny, read_index()).eval()
    pairs.check_model(model)
    features = torch.randn(3, 4, classes.tokens.shape[1])
    found = pairs.head_inputs(model, pairs.batch(0)[:4], features)
    assert torch.equal(found[:3], model.reduce(model.pool(features)))
    chosen = int(pairs.batch(0)[3]) - pairs.num_images
    # the mean of two equal visual tokens
    torch.testing.assert_close(found[3], classes.tokens[chosen], rtol=1e-6, atol=1e-6)

    params["poolings"]["attention"]["width"] = 16
    narrow = align.build_model(configured(encoded, params), read_index())
    with pytest.raises(ConfigError, match=r"recycle needs visual tokens of width \d+, .* have wid"):
        pairs.check_model(narrow)


def test_a_vision_encoder_without_classifier_goes_on_without(
    encoded: Path, params: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    align.run(configured(encoded, params, recycle=2, steps=2))
    assert "recycle is 2, but the features hold no classes" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="recycle is 3, expected 0 or a multiple"):
        configured(encoded, params, recycle=3)


def test_more_recycled_rows_than_classes_are_refused() -> None:
    check_recycle(1000, 1000)
    with pytest.raises(ConfigError, match=r"align\.recycle is 1001, expected at most the 1000"):
        check_recycle(1001, 1000)


@pytest.mark.slow
def test_encode_and_align_recycle_the_classes_of_the_sample(
    encoded: Path, params: dict[str, Any]
) -> None:
    params["vision_encoders"]["efficientnet_lite0"]["layers"] = ["stage7", "head"]
    params["poolings"]["attention"]["width"] = None
    params["encode"]["tiny"]["classifier_texts"] = True
    tiny = configured(encoded, params, recycle=2)
    encode.run(tiny)
    assert len(text_features(CLASSES)[0]) == 3691  # distinct texts of 1,000 classes
    align.run(tiny)
    first = Path("models/align/last/model.safetensors").read_bytes()
    align.run(configured(encoded, params, gradient_cache=False))
    assert Path("models/align/last/model.safetensors").read_bytes() == first
