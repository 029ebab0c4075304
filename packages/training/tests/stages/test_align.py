"""What `align` guarantees beyond learning: sources of images, best weights, alarms, processes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from edge_glass.encoders.checkpoint import load_checkpoint
from edge_glass.encoders.dual_encoder import DualEncoder
from edge_glass.encoders.images import decode_image
from edge_glass.training.align.augmentation import AugmentationConfig, augment
from edge_glass.training.align.image_features import AugmentedFeatures
from edge_glass.training.engine.determinism import generator
from edge_glass.training.features.cache import gather, read_index, vision_features
from edge_glass.training.params import Params, load_params
from edge_glass.training.stages import align, encode, prepare

CPU = torch.device("cpu")


def no_images(step: int) -> Iterator[list[int]]:
    """The plan of images, which only live features read."""
    return iter(())


pytestmark = pytest.mark.usefixtures("restore_torch")


def configured(project: Path, params: dict[str, Any], **options: Any) -> Params:
    """The tiny configuration with other options of `align`."""
    params["align"]["tiny"].update(options)
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    return load_params(project / "params.yaml")


def outputs() -> dict[str, bytes]:
    return {
        str(path): path.read_bytes()
        for folder in ("models/align", "plots/align")
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


def test_encoding_on_line_gives_the_numbers_of_the_cache(
    encoded: Path, params: dict[str, Any]
) -> None:
    online = configured(encoded, params, augmentation={})
    rows = torch.tensor([5, 0, 7])
    found = align.open_image_features(online, read_index(), CPU, no_images).at(rows, step=3)
    cached = gather(vision_features("captions", "train"), rows)
    # a unit in the last place of float16: convolutions of other batches add in another order
    torch.testing.assert_close(found, cached, rtol=2e-3, atol=2e-3)
    align.run(online)
    _, first = load_checkpoint("models/align/last")
    align.run(configured(encoded, params, augmentation=None))
    _, second = load_checkpoint("models/align/last")
    for name, value in first.items():
        # AdamW divides by the gradient's own size, so that a small entry may move by a part of
        # twelve steps of 3e-3
        torch.testing.assert_close(value, second[name], rtol=0, atol=3e-3)


def test_augmented_pictures_are_a_function_of_seed_step_and_row(
    encoded: Path, params: dict[str, Any]
) -> None:
    options: dict[str, Any] = {"min_area": 0.5, "brightness": 0.3, "rotation": 10.0}
    pictures = align.open_image_features(
        configured(encoded, params, augmentation=options), read_index(), CPU, no_images
    )
    assert isinstance(pictures, AugmentedFeatures)
    rows = torch.tensor([2, 4])
    first = pictures.at(rows, step=1)
    assert torch.equal(first, pictures.at(rows, step=1))
    assert not torch.equal(first, pictures.at(rows, step=2))
    config = AugmentationConfig(**options)
    expected = [
        augment(decode_image(data), config, generator(0, "augmentation", 1, row))
        for row, data in zip((2, 4), pictures.bytes.take(rows.numpy()).to_pylist(), strict=True)
    ]
    found = pictures.encoder(pictures.encoder.preprocess(expected)).half().float()
    assert torch.equal(first, found)
    # the other pictures of a batch don't matter, up to float16 as above
    alone = pictures.at(rows[1:], step=1)
    torch.testing.assert_close(alone, first[1:], rtol=2e-3, atol=2e-3)


def test_the_best_weights_are_handed_on(
    encoded: Path, params: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    align.run(configured(encoded, params, validation_steps=1))
    curve = Path("plots/align/plots/metrics/recall_mean.tsv").read_text().split()[2:]
    scores = dict(zip(map(int, curve[0::2]), map(float, curve[1::2]), strict=True))
    assert sorted(scores) == list(range(1, 13))
    best = max(scores, key=lambda step: (scores[step], step))  # of equal ones the last
    _, kept = load_checkpoint("models/align")
    original, found = align.validation_recall, []

    def spy(model: DualEncoder, *arguments: Any) -> dict[str, float]:
        found.append({name: value.clone() for name, value in model.saved_state().items()})
        return original(model, *arguments)

    monkeypatch.setattr(align, "validation_recall", spy)
    align.run(load_params(encoded / "params.yaml"))
    assert all(torch.equal(kept[name], value) for name, value in found[best - 1].items())


def test_training_stops_early(encoded: Path, params: dict[str, Any]) -> None:
    frozen = {"learning_rate": 1e-12, "weight_decay": 0.0, "warmup_steps": 2}
    align.run(configured(encoded, params, validation_steps=2, patience=2, optim=frozen))
    lines = Path("plots/align/plots/metrics/recall_mean.tsv").read_text().splitlines()[1:]
    # the first score is the best, two more are no better
    assert [int(line.split()[0]) for line in lines] == [2, 4, 6]


def test_a_collapsed_run_is_stopped(encoded: Path, params: dict[str, Any]) -> None:
    head = {"init_logit_scale": -9.0}  # all logits are 0: nothing is told apart
    frozen = {"learning_rate": 1e-12, "weight_decay": 0.0, "warmup_steps": 2}
    with pytest.raises(ValueError, match=r"align has collapsed: after 5 steps the loss is"):
        align.run(configured(encoded, params, collapse_steps=5, head=head, optim=frozen))
    assert not Path("models/align").exists()


def test_bad_input_is_named(encoded: Path, params: dict[str, Any]) -> None:
    tiny = configured(encoded, params)

    index = Path("artifacts/features/index.json")
    whole = index.read_text()
    index.write_text(whole.replace("all_minilm_l6_v2", "all_mpnet_base_v2"))
    with pytest.raises(ValueError, match=r"all_mpnet_base_v2 \(width 384\) made the feature cache"):
        align.run(tiny)
    index.write_text(json.dumps({**json.loads(whole), "text_width": 768}))
    with pytest.raises(ValueError, match=r"shape \(\d+, 384\), expected \(\d+, 768\)"):
        align.run(tiny)
    index.write_text(whole)
    vision = np.load("artifacts/features/captions/train/vision-00000.npy")
    vision[3] = np.nan
    np.save("artifacts/features/captions/train/vision-00000.npy", vision)
    with pytest.raises(ValueError, match="features of image 3 are not finite"):
        align.run(tiny)


def test_augmentation_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="min_area is 0"):
        AugmentationConfig(min_area=0)


@pytest.mark.slow
def test_clip_from_a_folder_goes_through_encode_and_align(
    project: Path, params: dict[str, Any]
) -> None:
    from transformers import CLIPVisionConfig, CLIPVisionModel

    shape = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3}
    shape.update(num_attention_heads=2, image_size=28, patch_size=7)
    CLIPVisionModel(CLIPVisionConfig(**shape)).save_pretrained(project / "clip")
    options = {"model": "clip", "revision": None, "image_size": 28}
    params.update(vision_encoder="clip_vit_l14_336", vision_encoders={"clip_vit_l14_336": options})
    params["encode"]["tiny"].update(caption_image_size=28, question_image_size=28)
    clip = configured(project, params)
    prepare.run(clip)
    encode.run(clip)
    assert (read_index().vision_width, read_index().grids["captions"]) == (16, (4, 4))
    align.run(load_params(project / "params.yaml"))
    model = DualEncoder.from_pretrained("models/align")
    picture = Image.new("RGB", (30, 20), "red")
    assert model.encode_image([picture]).shape == (1, 16)


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 4])
def test_torchrun_gives_the_bytes_of_one_process(
    size: int, encoded: Path, params: dict[str, Any]
) -> None:
    configured(encoded, params, num_microbatches=4)
    command = str(Path(sys.executable).parent / "edge-glass")
    subprocess.run([command, "align"], check=True)
    alone = outputs()
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--no-python"]
    subprocess.run([*torchrun, f"--nproc_per_node={size}", command, "align"], check=True)
    assert outputs() == alone
