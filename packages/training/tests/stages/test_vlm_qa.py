"""What `vlm_qa` guarantees: the loss of the whole batch, microbatches, best weights, bad input."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from edge_glass.decoders.tokenizer import word_tokenizer
from edge_glass.encoders.checkpoint import CheckpointError, load_checkpoint
from edge_glass.encoders.components import ConfigError
from edge_glass.fusion.vlm import VisionLanguageModel
from edge_glass.training.features.cache import gather, prepared_rows, vision_features
from edge_glass.training.folders import PREPARED
from edge_glass.training.params import Params
from edge_glass.training.stages import vlm_qa
from edge_glass.training.vlm_qa.answer_loss import AnswerLoss
from edge_glass.training.vlm_qa.batches import QuestionSet
from edge_glass.training.vlm_qa.model import build_model
from edge_glass.training.vlm_qa.packing import Padding, pack_questions
from tiny_pixmo import PARAMS

ROWS = Path("artifacts/prepared/questions/train.rows.parquet")
Configure = Callable[..., Params]
StopAt = Callable[[int], AbstractContextManager[None]]


pytestmark = pytest.mark.usefixtures("restore_torch")


NO_DROPOUT = {
    "decoders": {"trm": {"width": 32, "num_heads": 2, "intermediate_dim": 48}},
    "poolings": {"attention": {**PARAMS["poolings"]["attention"], "dropout": 0.0}},
}
NO_VISUAL_DROPOUT = {"kind": "both", "width": 24, "dropout": 0.0, "train_pooling": True}


def change_rows(change: Callable[[int, dict[str, Any]], dict[str, Any]]) -> None:
    table = pq.read_table(ROWS)
    rows = [change(number, row) for number, row in enumerate(table.to_pylist())]
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), ROWS)


def curve(name: str) -> dict[int, float]:
    path = Path(f"plots/vlm_qa/plots/metrics/{name}.tsv")
    lines = [line.split("\t") for line in path.read_text().splitlines()[1:]]
    return {int(step): float(value) for step, value in lines}


def test_four_by_two_equals_eight(configure: Configure) -> None:
    # answers of unequal length: a mean of the microbatches' means would weight tokens differently
    configure()
    change_rows(lambda number, row: {**row, "answer": " ".join([row["answer"]] * (number % 5 + 1))})
    found = {}
    for launch, num_microbatches in (("tree", 1), ("tree", 2), ("ddp", 2), ("tree", 8)):
        params = configure(
            {**NO_DROPOUT, "launch": launch},
            batch_size=8, num_microbatches=num_microbatches, steps=3, log_steps=1, ema_decay=0.0,
            visual_tokens=NO_VISUAL_DROPOUT, checkpoint="last",
        )  # fmt: skip
        vlm_qa.run(params)
        found[launch, num_microbatches] = curve("loss"), curve("grad_norm")
    whole_loss, whole_norm = found["tree", 1]
    for loss, norm in found.values():
        # float32 sums in another order, carried through three steps
        assert list(loss.values()) == pytest.approx(list(whole_loss.values()), rel=1e-4)
        assert list(norm.values()) == pytest.approx(list(whole_norm.values()), rel=1e-3)


def test_the_loss_is_divided_by_all_labelled_tokens(configure: Configure) -> None:
    configure()
    change_rows(lambda number, row: {**row, "answer": " ".join([row["answer"]] * (number % 5 + 1))})
    params = configure(
        NO_DROPOUT, num_microbatches=2, batch_size=8, visual_tokens=NO_VISUAL_DROPOUT
    )
    rows = prepared_rows("questions", "train", PREPARED)
    tokenizer = params.decoder.config.build_tokenizer(
        [text for row in rows for text in (row["question"], row["answer"])]
    )
    samples, _ = pack_questions(rows, tokenizer, 2, 100)
    plan = vlm_qa.BatchPlan(samples, 8, 2, seed=0)
    questions = QuestionSet(samples, vision_features("questions", "train"), 0)
    model = build_model(params, vlm_qa.read_index(), tokenizer)
    objective = AnswerLoss(model, label_smoothing=0.0)

    def gradient(numbers: list[int], divisor: int) -> torch.Tensor:
        model.zero_grad()
        (objective(**questions.collate([samples[n] for n in numbers])) / divisor).backward()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    whole = gradient(plan.batch(0), plan.num_labelled(0))
    microbatches = [plan.microbatch(0, 0), plan.microbatch(0, 1)]
    ours = sum(gradient(microbatch, plan.num_labelled(0)) for microbatch in microbatches)
    # float32 sums in another order
    torch.testing.assert_close(ours, whole, rtol=1e-4, atol=1e-6)
    own = [sum(plan.labelled[n] for n in microbatch) for microbatch in microbatches]
    assert own[0] != own[1]
    means = sum(
        gradient(microbatch, 2 * count) for microbatch, count in zip(microbatches, own, strict=True)
    )
    assert (means - whole).norm() > 0.01 * whole.norm()


def test_padding_for_a_gpu_changes_no_loss(configure: Configure) -> None:
    params = configure(NO_DROPOUT, visual_tokens=NO_VISUAL_DROPOUT)
    rows = prepared_rows("questions", "train", PREPARED)
    tokenizer = word_tokenizer([row["question"] + " " + row["answer"] for row in rows], 100)
    samples, _ = pack_questions(rows, tokenizer, 2, 100)
    objective = AnswerLoss(build_model(params, vlm_qa.read_index(), tokenizer), label_smoothing=0.0)
    losses, features = [], vision_features("questions", "train")
    for padding in (Padding(), Padding(multiple=64, prefix_length=4)):
        batch = QuestionSet(samples, features, 0, padding).collate(samples)
        losses.append(objective(**batch))
    # float32 sums over longer rows, in which the padding adds zeros
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-6, atol=0.0)


def test_bfloat16_keeps_weights_and_gradients_in_float32(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = configure(NO_DROPOUT, visual_tokens=NO_VISUAL_DROPOUT)
    rows = prepared_rows("questions", "train", PREPARED)
    tokenizer = word_tokenizer([row["question"] + " " + row["answer"] for row in rows], 100)
    samples, _ = pack_questions(rows, tokenizer, 2, 100)
    model = build_model(params, vlm_qa.read_index(), tokenizer)
    batch = QuestionSet(samples, vision_features("questions", "train"), 0).collate(samples)
    whole = AnswerLoss(model, label_smoothing=0.0)(**batch)
    monkeypatch.setattr(type(model.decoder), "dtype", torch.bfloat16)
    losses = [whole, AnswerLoss(model, label_smoothing=0.0)(**batch)]
    assert losses[1].dtype == torch.float32
    assert not torch.equal(losses[0], losses[1])
    # bfloat16 has eight bits
    torch.testing.assert_close(losses[1], losses[0], rtol=0.02, atol=0.0)
    losses[1].backward()
    trained = [each for each in model.parameters() if each.requires_grad]
    assert all(each.grad is not None and each.grad.dtype == torch.float32 for each in trained)


def test_the_best_averaged_weights_are_handed_on(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = configure(
        steps=36, validation_steps=3, validation_questions=32, ema_decay=0.5, log_steps=6,
        optim={"learning_rate": 0.01, "weight_decay": 0.0, "warmup_steps": 2},
    )  # fmt: skip
    original, seen = vlm_qa.validation_scores, []

    def spy(model: VisionLanguageModel, *arguments: Any) -> dict[str, dict[str, float]]:
        seen.append({name: value.clone() for name, value in model.saved_state().items()})
        return original(model, *arguments)

    monkeypatch.setattr(vlm_qa, "validation_scores", spy)
    vlm_qa.run(params)
    scores = curve("accuracy_mean")
    assert sorted(scores) == list(range(3, 37, 3))
    best = max(scores, key=lambda step: (scores[step], step))  # of equal ones the last
    assert scores[best] >= 0.5  # "is it a disc?" is always yes
    _, kept = load_checkpoint("models/vlm_qa")
    place = sorted(scores).index(best)
    assert all(torch.equal(kept[name], value) for name, value in seen[place].items())
    assert not all(torch.equal(kept[name], value) for name, value in seen[0].items())

    # and the score is what the saved model reaches by the public way to answer
    model = VisionLanguageModel.from_pretrained("models/vlm_qa", load_vision_encoder=False)
    rows = prepared_rows("questions", "val", PREPARED)
    features = gather(vision_features("questions", "val"), torch.tensor([r["image"] for r in rows]))
    answers = model.answer_features(features, [row["question"] for row in rows])
    right = sum(given == row["answer"] for given, row in zip(answers, rows, strict=True))
    assert right / 32 == pytest.approx(scores[best], abs=1e-6)


def test_what_repeats_and_what_does_not(
    configure: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    vlm_qa.run(configure(num_microbatches=1, num_workers=0))
    said = capsys.readouterr().out
    assert "learns  red <eos> yes <eos>" in said
    assert "launch tree: 1 of 1 possible processes" in said
    assert "peak memory" in said
    logs = {path.stem for path in Path("logs/vlm_qa").rglob("*.tsv")}
    assert logs == {"samples_per_second", "tokens_per_second", "peak_memory_gb"}
    curves = {path.stem for path in Path("plots/vlm_qa").rglob("*.tsv")}
    assert {"loss", "grad_norm", "learning_rate", "useful_token_share"} <= curves
    assert not logs & curves
    assert curve("useful_token_share")[12] == 1.0


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_any_number_of_loader_workers(configure: Configure) -> None:
    found = []
    for num_workers in (0, 2):
        params = configure(num_workers=num_workers, steps=7)
        vlm_qa.run(params)
        _, tensors = load_checkpoint("models/vlm_qa")
        found.append(({name: value.tolist() for name, value in tensors.items()}, curve("loss")))
    assert found[0] == found[1]


def test_bad_rows_are_left_out_and_counted(
    configure: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    params = configure(max_length=20)

    def spoil(number: int, row: dict[str, Any]) -> dict[str, Any]:
        changes = {1: {"answer": "  "}, 4: {"question": "what " * 30}, 7: {"answer": ""}}
        return {**row, **changes.get(number, {})}

    change_rows(spoil)
    vlm_qa.run(params)
    said = capsys.readouterr().out
    assert "2 of 48 questions left out: empty answer" in said
    assert "1 of 48 questions left out: longer than max_length" in said
    assert "45 questions over" in said
    with pytest.raises(ValueError, match=r"no question is left of 48 .*raise vlm_qa\.max_length"):
        vlm_qa.run(configure(max_length=3))


def test_a_pooling_of_another_configuration_is_refused(configure: Configure) -> None:
    pooling = {**PARAMS["poolings"]["attention"], "num_queries": 3}
    with pytest.raises(CheckpointError, match=r"models/align: pooling does not fit .*\n.*shape of"):
        vlm_qa.run(configure({"poolings": {"attention": pooling}}))


def test_launches_that_cannot_run_are_refused(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        ValueError, match=r"decoder is 'trn', which is not there \(did you mean trm"
    ):
        configure({"decoder": "trn"})
    with pytest.raises(ValueError, match=r"launches\.fsdp is not known; known: tree, ddp, deepsp"):
        configure({"decoder": "trm", "launches": {"tree": {}, "fsdp": {}}})
    zero = {"deepspeed_zero2": {"num_processes": 2, "config": "ds.json"}}
    with pytest.raises(ConfigError, match=r"config is 'ds\.json', and there is no such file"):
        configure({"launches": zero, "launch": "deepspeed_zero2"})
    Path("ds.json").write_text("{}")
    params = configure({"launches": zero, "launch": "deepspeed_zero2"})
    with pytest.raises(ValueError, match="deepspeed_zero2 needs two processes"):
        vlm_qa.run(params)
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    with pytest.raises(ValueError, match="started for DeepSpeed"):
        vlm_qa.run(configure({"launches": {"tree": {}}, "launch": "tree"}))


def test_four_bit_without_bitsandbytes_is_refused(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure()
    word_tokenizer(["what colour is it? red", "is it a disc? yes"], 50).save_pretrained("qwen")
    Path("qwen/config.json").write_text("{}")
    decoder = {"model": "qwen", "quantization": "4bit", "lora": {"rank": 2, "alpha": 2}}
    params = configure({"decoder": "qwen2_5_7b", "decoders": {"qwen2_5_7b": decoder}})
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(ValueError, match=r"'4bit' needs bitsandbytes.*or set quantization: none"):
        vlm_qa.run(params)
    wrong = {"config": {"hidden_size": 8}, "quantization": "4bit"}
    with pytest.raises(ValueError, match="nothing to quantise"):
        configure({"decoders": {"qwen2_5_7b": wrong}})


def test_a_saved_state_of_a_different_launch_is_an_error_and_stays(
    configure: Configure, stop_at: StopAt
) -> None:
    with stop_at(8):
        vlm_qa.run(configure())
    state = Path("artifacts/state/vlm_qa/model.safetensors")
    saved = state.read_bytes()
    expected = "of launch tree, float32, and this run is of launch ddp in 1 processes, float32: set"
    with pytest.raises(ValueError, match=expected):
        vlm_qa.run(configure({"launch": "ddp"}))
    assert state.read_bytes() == saved


@pytest.mark.parametrize("launch", ["tree", pytest.param("ddp", marks=pytest.mark.slow)])
def test_lora_trains_adapters_and_projector_alone(
    configure: Configure, tiny_qwen: dict[str, Any], launch: str
) -> None:
    top = {"decoder": "qwen2_5_7b", "decoders": {"qwen2_5_7b": tiny_qwen}, "launch": launch}
    base = Path("qwen/model.safetensors").read_bytes()
    params = configure(top, steps=24, log_steps=1, ema_decay=0.0, checkpoint="last", max_length=60)
    vlm_qa.run(params)
    losses = list(curve("loss").values())
    assert sum(losses[-6:]) < sum(losses[:6])  # little: the frozen vocabulary is random
    _, tensors = load_checkpoint("models/vlm_qa")
    own = {name for name in tensors if name.startswith("decoder.")}
    assert own
    assert all(".lora_A." in name or ".lora_B." in name for name in own)
    assert all(tensors[name].any() for name in own if ".lora_B." in name)  # zeros at the start
    assert Path("qwen/model.safetensors").read_bytes() == base
    VisionLanguageModel.from_pretrained("models/vlm_qa", load_vision_encoder=False)
