"""The page shows the pictures as the encoder gets them, always the same ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from edge_glass.encoders.files import DataError
from edge_glass.encoders.towers.preprocessing import ImageTransform
from edge_glass.fusion.sheets.sample_sheet import Sample, sample_sheet
from edge_glass.training.params import load_params
from edge_glass.training.stages import prepare, prepare_samples
from edge_glass.training.stages.prepare_samples import (
    PLOTS,
    as_seen,
    choose_images,
    notes,
    split_samples,
)
from tiny_pixmo import caption_rows, write_parquet


def test_the_page_is_drawn_and_twice_the_same(project: Path) -> None:
    params = load_params(project / "params.yaml")
    with pytest.raises(DataError, match=r"metrics/prepare.json is missing; run `dvc repro prep"):
        prepare_samples.run(params)
    prepare.run(params)
    prepare_samples.run(params)
    first = {path.name: path.read_bytes() for path in PLOTS.iterdir()}
    assert sorted(first) == ["captions.png", "questions.png"]
    prepare_samples.run(params)
    assert {path.name: path.read_bytes() for path in PLOTS.iterdir()} == first
    with Image.open(PLOTS / "captions.png") as page:
        colours = page.convert("RGB").resize((64, 128)).getcolors(64 * 128) or []
    assert len(colours) > 100  # pictures and texts, no empty page


def test_a_picture_is_shown_as_the_encoder_gets_it() -> None:
    image = Image.effect_noise((60, 30), 90).convert("RGB")
    transform = ImageTransform(
        image_size=60, fit="pad", mean=(0.48, 0.46, 0.41), std=(0.27, 0.26, 0.28), pad_color="white"
    )
    seen = np.asarray(as_seen(image, transform))
    np.testing.assert_array_equal(seen[15:45], np.asarray(image))  # its own size: nothing resampled
    assert (seen[:15] == 255).all()
    assert (seen[45:] == 255).all()


def test_samples_stay_and_have_their_own_texts(project: Path) -> None:
    prepare.run(load_params(project / "params.yaml"))
    folder = project / "artifacts/prepared"
    path = folder / "questions/val.images.parquet"
    chosen = choose_images(path, seed=0, number=4)
    stored = pq.read_table(path)["bytes"].to_pylist()
    assert all(data == stored[place] for place, data in chosen.items())
    assert list(chosen) != list(choose_images(path, seed=1, number=4))

    transform = ImageTransform(image_size=8, fit="pad", mean=(0.5,) * 3, std=(0.5,) * 3)
    samples = split_samples(path, "questions", transform, seed=0, number=4)
    rows = pq.read_table(folder / "questions/val.rows.parquet").to_pylist()
    for sample, place in zip(samples, chosen, strict=True):
        own = [(row["question"], row["answer"]) for row in rows if row["image"] == place]
        assert list(sample.texts) == own
        assert sample.note.startswith(f"val, picture {place}: 56 x 40 PNG, 0.")

    # other pictures die, the drawn ones stay
    gone = min(place for place in range(len(stored)) if place not in chosen)
    kept = [row for row in pq.read_table(path).to_pylist() if row["bytes"] != stored[gone]]
    write_parquet(path, kept)
    assert list(choose_images(path, seed=0, number=4).values()) == list(chosen.values())


def test_the_notes_say_what_was_counted(project: Path) -> None:
    rows = [*caption_rows("train", range(3)), {**caption_rows("train", range(1))[0], "caption": ""}]
    write_parquet(project / "data/captions/train.parquet", rows)
    prepare.run(load_params(project / "params.yaml"))
    lines = notes(json.loads(prepare.METRICS.read_text()), "captions")
    assert lines[0] == "Read: 41. Kept: train 24 (24 pictures), val 16 (16 pictures)."
    assert lines[1] == "Dropped: empty_caption 1."
    assert lines[2].startswith("Pictures in two splits, of all sub-sets: 0. Pictures that look")


def test_long_texts_stay_inside_their_card(tmp_path: Path) -> None:
    image = Image.new("RGB", (8, 8), "red")
    long = Sample(image=image, note="n" * 200, texts=[("word " * 400, "answer " * 90)] * 4)
    short = Sample(image=image, note="n", texts=[("word", "answer")])
    for name, samples in (("a", [short, short, short]), ("b", [long, short, short])):
        sample_sheet(tmp_path / f"{name}.png", samples, "title", ["note"])
    a, b = (np.asarray(Image.open(tmp_path / f"{name}.png")) for name in "ab")
    differ = np.argwhere((a != b).any(axis=2))
    # the first card alone: left of the second, above the third
    assert differ[:, 1].max() < a.shape[1] // 2
    assert differ[:, 0].max() < a.shape[0] // 2 + 30
    with pytest.raises(ValueError, match=r"no samples for c\.png"):
        sample_sheet(tmp_path / "c.png", [], "title", [])
