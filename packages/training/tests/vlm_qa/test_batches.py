"""Which samples a step takes, and which process gets which microbatch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from edge_glass.fusion.packing import PADDING
from edge_glass.fusion.prompt import IGNORED
from edge_glass.training.engine.processes import Processes
from edge_glass.training.vlm_qa.batches import BatchPlan, MicrobatchSampler, QuestionSet
from edge_glass.training.vlm_qa.packing import Padding, collate_questions
from edge_glass.training.vlm_qa.token_arrays import PackedQuestions, TokenArrays, token_arrays


def samples(number: int) -> TokenArrays:
    lengths = torch.randint(2, 40, (number,), generator=torch.Generator().manual_seed(0)).tolist()
    return token_arrays(
        PackedQuestions(
            image=place,
            input_ids=tuple(range(1, length + 1)),
            labels=(IGNORED, *range(2, length + 1)),
            segment_ids=(0,) * length,
        )
        for place, length in enumerate(lengths)
    )


def test_microbatches_make_up_the_batch_and_epochs_hold_all() -> None:
    plan = BatchPlan(samples(320), 16, 4, seed=3)
    for step in (0, 7, 25):
        parts = [plan.microbatch(step, number) for number in range(4)]
        assert [sample for part in parts for sample in part] == plan.batch(step)
    assert sorted(n for step in range(20, 40) for n in plan.batch(step)) == list(range(320))
    assert plan.batch(5) == BatchPlan(samples(320), 16, 1, seed=3).batch(5)
    assert plan.batch(5) != BatchPlan(samples(320), 16, 4, seed=4).batch(5)


def test_counts_are_those_of_the_padded_microbatches() -> None:
    rows = samples(64)
    plan = BatchPlan(rows, 16, 4, seed=0)
    microbatches = [
        collate_questions([rows[n] for n in plan.microbatch(2, s)], 0) for s in range(4)
    ]
    assert plan.num_labelled(2) == sum(int((each.labels != IGNORED).sum()) for each in microbatches)
    assert plan.num_useful(2) == sum(int((each.segment_ids >= 0).sum()) for each in microbatches)
    assert plan.num_padded(2) == sum(each.input_ids.numel() for each in microbatches)


@pytest.mark.parametrize(("device", "multiple"), [("cuda", 64), ("cpu", 8)])
def test_prefix_and_text_together_have_one_of_few_lengths(device: str, multiple: int) -> None:
    rows = samples(64)
    plan, prefix = BatchPlan(rows, 16, 4, seed=0), 580
    padding = Padding.on(torch.device(device), prefix, None)
    questions = QuestionSet(rows, np.zeros((64, 1, 1), np.float16), 0, padding)
    lengths = []
    for number in range(4):
        microbatch = [rows[n] for n in plan.microbatch(2, number)]
        batch, plain = questions.collate(microbatch), collate_questions(microbatch, 0)
        length = batch["input_ids"].shape[1]
        shortest = plain.input_ids.shape[1]
        assert (prefix + length) % multiple == 0
        assert 0 <= length - shortest < multiple
        assert torch.equal(batch["input_ids"][:, :shortest], plain.input_ids)
        assert (batch["labels"][:, shortest:] == IGNORED).all()
        assert (batch["segment_ids"][:, shortest:] == PADDING).all()
        lengths.append(length)
    assert plan.num_padded(2, padding) == 4 * sum(lengths)


@pytest.mark.parametrize("multiple", [8, 64])
def test_padding_ends_at_the_decoders_last_position(multiple: int) -> None:
    padding = Padding(multiple=multiple, prefix_length=4, max_positions=multiple + 3)
    assert padding.length(1) == multiple - 4
    for longest in (multiple - 3, multiple - 1):
        assert padding.length(longest) == multiple - 1  # 4 + this is max_positions


def test_buckets_keep_nine_tenths_useful() -> None:
    plan = BatchPlan(samples(640), 16, 4, seed=0)
    steps = range(40)
    useful = sum(map(plan.num_useful, steps))
    assert useful / sum(map(plan.num_padded, steps)) > 0.9


@pytest.mark.parametrize("size", [1, 2, 4])
def test_every_process_gets_its_own_consecutive_microbatches(size: int) -> None:
    from accelerate.data_loader import prepare_data_loader

    rows = samples(64)
    plan = BatchPlan(rows, 16, 4, seed=0)
    questions = QuestionSet(rows, np.zeros((64, 1, 1), np.float16), pad_token_id=0)
    for rank in range(size):
        processes = Processes(rank=rank, size=size)
        loader = DataLoader(
            questions,
            batch_sampler=MicrobatchSampler(plan, 2, 6, processes),
            collate_fn=lambda part: [sample.image for sample in part],
        )
        dealt = prepare_data_loader(loader, num_processes=size, process_index=rank)
        expected = [
            plan.microbatch(step, s) for step in range(2, 6) for s in processes.own_microbatches(4)
        ]
        assert list(dealt) == expected


def test_a_batch_of_more_images_than_there_are_is_refused() -> None:
    with pytest.raises(ValueError, match="only 8 images"):
        BatchPlan(samples(8), 16, 1, seed=0)
