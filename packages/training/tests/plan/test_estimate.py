"""The plan: exact parts, what does not fit and the change with which it does."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edge_glass.encoders.components import ConfigError
from edge_glass.training.features.shards import shard_sizes, write_shard
from edge_glass.training.params import parse_params
from edge_glass.training.plan.alignment_memory import feature_index
from edge_glass.training.plan.answers_memory import answers_model, training_need
from edge_glass.training.plan.disk import feature_bytes
from edge_glass.training.plan.estimate import need_of, remedy
from edge_glass.training.plan.gpu_check import idle_gpus, too_small
from edge_glass.training.plan.hardware import Hardware, find_hardware, occupied, parse_size
from edge_glass.training.plan.networks import EmptyDecoder, empty_text
from edge_glass.training.plan.overrides import addition, overridden
from edge_glass.training.plan.report import too_many_processes
from edge_glass.training.plan.workload import TEXTS_PER_IMAGE, Workload, read_workload
from edge_glass.training.runtime.yaml_file import read_yaml

RAW = read_yaml(Path(__file__).parents[4] / "params.yaml")
TINY = overridden(
    RAW,
    ["decoder=qwen2_5_tiny", "decoders.qwen2_5_tiny.config.num_hidden_layers=5", "device=cuda",
     "vlm_qa.sample.validation_steps=0", "launch=ddp", "launches.ddp.num_processes=1",
     "align.sample.num_microbatches=2"],
)  # fmt: skip
WORK = Workload(captions=40, questions=30, asked=150, data_bytes=0, tokens=64, vocabulary=200)
CARD = Hardware(name="H100", memory=80 * 10**9, num_gpus=1, disk=10**12, speed=1e14)


def params(raw: Any = TINY) -> Any:
    return parse_params(raw, where="params.yaml")


@pytest.mark.slow
def test_layers_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The need of five layers from those of two and three is that of five layers."""
    chosen = params()
    index = feature_index(chosen)
    quick = training_need(chosen, index, WORK)
    monkeypatch.setattr(EmptyDecoder, "own_layers", lambda _: None)
    whole = training_need(chosen, index, WORK)
    assert replace(quick, peak=whole.peak) == whole
    # the largest moment may be in another place of the pass if there are more layers
    assert quick.peak == pytest.approx(whole.peak, rel=0.01)


@pytest.mark.slow
def test_checkpointing_and_smaller_microbatches_need_less() -> None:
    plain = need_of("vlm_qa", params(), WORK)
    changes = (
        ("decoders.qwen2_5_tiny.gradient_checkpointing=true",),
        ("vlm_qa.sample.num_microbatches=16",),
    )
    for change in changes:
        need = need_of("vlm_qa", params(overridden(TINY, change)), WORK)
        assert need.trained == plain.trained
        assert need.peak - need.rest < 0.9 * (plain.peak - plain.rest)


def test_the_recursive_decoder_is_planned() -> None:
    """It computes its last layer at labelled positions, of which a plan knows only the number."""
    chosen = params(overridden(TINY, ("decoder=trm",)))
    need = training_need(chosen, feature_index(chosen), WORK)
    assert need.peak > need.rest > need.trained > 0


def test_word_matches_are_counted() -> None:
    """Word vectors, the image head and the aligned dims of the visual tokens take memory."""
    index = feature_index(params())
    none, full = (
        answers_model(params(overridden(TINY, (change,))), index, WORK, layers=2)
        for change in (f"vlm_qa.sample.visual_tokens.aligned_dim={dim}" for dim in (0, 64))
    )
    sizes = {name: each.shape for name, each in full.saved_state().items()}
    wide, patches = index.vision_width, math.prod(index.grids["questions"])
    assert none.matches is None
    assert sizes["matches.words"] == (WORK.vocabulary, 64)
    assert sizes["matches.places.weight"] == (full.decoder.width, patches + 1)
    assert sizes["visual_tokens.aligned.head.mlp.1.weight"] == (1024, wide)
    head = (64 * (wide + 1)) + 2 * wide + 1024 * (wide + 1) + 64 * 1025
    assert sum(each.numel() for each in full.visual_tokens.aligned.parameters()) == head
    less, frozen, read = (
        training_need(params(overridden(TINY, (f"vlm_qa.sample.{change}",))), index, WORK)
        for change in ("visual_tokens.aligned_dim=0", "naming.weight=0", "naming.weight=1")
    )
    # frozen: the head's weights are held once, without gradients; the rest is small beside them
    assert 4 * head < frozen.rest - less.rest < 4 * head + 10**6
    assert frozen.trained > less.trained
    # patches that are read as names train it
    assert read.trained - frozen.trained > 4 * head
    # and first alone
    changed = params(overridden(TINY, ("vlm_qa.sample.naming.steps=0",)))
    naming = params().vlm_qa.naming
    expected = 6 * head * patches * naming.batch_size * naming.steps
    found = read.flops - training_need(changed, index, WORK).flops
    assert found == pytest.approx(expected, rel=1e-3)  # a small difference of large numbers


def test_a_cpu_keeps_the_text_encoder_that_gave_the_vectors_of_words() -> None:
    with_words, without = (
        params(overridden(TINY, ("device=cpu", f"vlm_qa.sample.visual_tokens.aligned_dim={dim}")))
        for dim in (64, 0)
    )
    text, _ = empty_text(with_words.text_encoder)
    loaded = 2 * 4 * sum(each.numel() for each in text.parameters())  # and the pages of its file
    needs = [training_need(each, feature_index(each), WORK).rest for each in (with_words, without)]
    assert 0 < needs[0] - needs[1] - loaded < 10**8  # the rest: image head, matches and moments


def test_a_gpu_that_is_too_small_is_refused_with_a_remedy() -> None:
    chosen = params()
    assert too_small("align", chosen, WORK, CARD) is None
    peak = occupied(need_of("align", chosen, WORK).peak, CARD)
    small = replace(CARD, memory=peak - 10**6)
    found = too_small("align", chosen, WORK, small)
    assert found is not None
    assert "\n" not in found
    change = "align.sample.gradient_cache=true"
    assert found.endswith(f": add -S {change} to `dvc exp run`")
    changed = params(overridden(TINY, [change]))
    assert too_small("align", changed, WORK, small) is None


@pytest.mark.parametrize("recycle", [0, 24, 32])
def test_without_a_remedy_it_is_stated(recycle: int) -> None:
    # all options are tried: recycle must stay a multiple of the number of microbatches
    chosen = params(overridden(TINY, [f"align.sample.recycle={recycle}"]))
    none = remedy("align", chosen, WORK, replace(CARD, memory=10**6))
    assert none.startswith("no option of params.yaml makes it fit")


def test_features_take_the_bytes_of_real_files(tmp_path: Path) -> None:
    # at two sizes no image is shared by captions and questions
    chosen = params(overridden(TINY, ("encode.sample.question_image_size=128",)))
    index = feature_index(chosen)
    written = 0
    for kind, number in (("captions", WORK.captions), ("questions", WORK.questions)):
        rows, columns = index.grids[kind]
        for part, size in enumerate(shard_sizes(number, chosen.encode.rows_per_shard)):
            shape = (size, rows * columns, index.vision_width)
            path = tmp_path / kind / f"{part}.npy"
            path.parent.mkdir()
            write_shard(path, tmp_path, shape, chosen.encode.dtype, [np.zeros(shape, np.float16)])
            written += path.stat().st_size
    texts = WORK.captions * TEXTS_PER_IMAGE * index.text_width * 4
    assert feature_bytes(chosen, index, WORK) == written + texts
    live = params(overridden(TINY, ["features=live"]))
    assert feature_bytes(live, index, WORK) == texts


def test_sizes_are_read() -> None:
    assert parse_size("24GB", "--gpu") == 24 * 10**9
    assert parse_size("1.5 TiB", "--gpu") == 3 * 2**39
    for text in ("24", "GB", "0GB", "24XB", "-1GB", "", "9" * 400 + "GB"):
        with pytest.raises(ValueError, match=r"--gpu is .{,50}, expected .* such as 24GB"):
            parse_size(text, "--gpu")


def test_a_gpu_must_be_described_if_there_is_none() -> None:
    for device, gpu, message in (("cuda", None, "--gpu 24GB"), ("cpu", "24GB", "device=cuda")):
        with pytest.raises(ValueError, match=message):
            find_hardware(device, gpu=gpu)
    found = find_hardware("cuda", gpu="80GB", gpus=8, disk="1TB")
    assert (found.name, found.num_gpus, found.disk) == ("H100", 8, 10**12)
    for gpu, name in (("24GB", "RTX 4090"), ("24GiB", "RTX 4090"), ("48GB", "L40S")):
        assert find_hardware("cuda", gpu=gpu).name == name


def test_more_processes_than_gpus_are_refused_with_a_number_that_runs() -> None:
    four = "vlm_qa.sample.num_microbatches=4"
    chosen = params(overridden(TINY, [four, "launches.ddp.num_processes=4"]))
    (line,) = too_many_processes(chosen, replace(CARD, num_gpus=3))
    assert line.endswith(": add -S launches.ddp.num_processes=2 to `dvc exp run`")
    assert params(overridden(TINY, ["launches.ddp.num_processes=2"]))


def test_a_remedy_is_an_argument_that_dvc_takes() -> None:
    """An odd batch can be made smaller too; DVC needs a + for what the file does not have."""
    odd = overridden(TINY, ["encode.sample.batch_size=3", "encode.sample.rows_per_shard=1023"])
    odd = overridden(odd, ["text_encoders.all_minilm_l6_v2.batch_size=1"])
    need = occupied(need_of("encode", params(odd), WORK).peak, CARD)
    found = remedy("encode", params(odd), WORK, replace(CARD, memory=need - 1))
    assert found == "add -S encode.sample.batch_size=1 to `dvc exp run`"
    assert "-S +vlm_qa.sample.max_length=9" in addition(TINY, ["vlm_qa.sample.max_length=9"])
    assert overridden(TINY, ["+vlm_qa.sample.max_length=9"])["vlm_qa"]["sample"]["max_length"] == 9


def test_prepared_images_of_other_data_are_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "artifacts/prepared/questions"
    folder.mkdir(parents=True)
    columns = {"image": pa.array([], pa.int64()), "question": pa.array([], pa.string())}
    pq.write_table(
        pa.table({**columns, "answer": columns["question"]}), folder / "train.rows.parquet"
    )
    pq.write_table(pa.table({"image_id": ["a", "b"]}), folder / "train.images.parquet")
    read = partial(read_workload, params(RAW), questions=None, tokens=None)
    assert read(images=None).questions == 2  # and no question is learned
    with pytest.raises(ValueError, match="give --images N"):
        read(images=None, use_prepared=False)
    (folder / "train.images.parquet").write_bytes(b"PAR1" + b"x" * 20 + b"PAR1")
    with pytest.raises(ValueError, match=r"train\.images\.parquet: not a Parquet file"):
        read(images=None)


@pytest.mark.parametrize("change", ["seed", "nothing.here=1", "=1", "seed.deeper=1"])
def test_a_change_needs_a_name_of_the_file(change: str) -> None:
    with pytest.raises(ConfigError, match="expected NAME=VALUE"):
        overridden(RAW, [change])


def test_idle_gpus_are_named() -> None:
    chosen = params(overridden(TINY, ["vlm_qa.sample.num_microbatches=4"]))
    line = idle_gpus("vlm_qa", chosen, 8, 0)
    assert line is not None
    assert "1 of 8 GPUs" in line
    assert "launches.ddp.num_processes: 4" in line
    assert idle_gpus("vlm_qa", chosen, 8, 8) is None
    assert idle_gpus("vlm_qa", chosen, 1, 0) is None
    assert "--scheduler processes:2" in (idle_gpus("encode", chosen, 2, 0) or "")
    assert idle_gpus("encode", chosen, 2, 2) is None
    assert "--nproc_per_node=4" in (idle_gpus("vlm_qa", chosen, 8, 2) or "")
    # a number of processes must divide the microbatches
    assert "num_processes: 2" in (idle_gpus("align", chosen, 3, 0) or "")
    two = params(overridden(TINY, ["launches.ddp.num_processes=2"]))
    assert idle_gpus("vlm_qa", two, 3, 0) is None
    one = params(overridden(TINY, ["device=cuda:1"]))
    assert idle_gpus("vlm_qa", one, 8, 0) is None
