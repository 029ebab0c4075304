"""Decisions about whole arrays are those of a loop over rows with dictionaries."""

from __future__ import annotations

import numpy as np
import pytest

from edge_glass.training.prepare.decisions import decide
from edge_glass.training.prepare.filters import PrepareConfig
from edge_glass.training.prepare.inspection import Findings
from edge_glass.training.prepare.leaks import count_leaks

CONFIG = PrepareConfig(
    min_side=1, max_aspect=9, max_caption_length=9, shares={"a": 1.0}, near_duplicate_distance=None
)
SPLITS = ["train", "val", "test"]


def draw_findings(seed: int) -> tuple[list[Findings], list[str]]:
    """Row groups of both kinds that share pictures, each with names in its own order."""
    generator = np.random.default_rng(seed)
    findings = []
    for _ in range(8):
        names = ("", *generator.permutation([*SPLITS, "bad", "worse"]).tolist())
        local = generator.choice(40, 12, replace=False)
        texts = 30
        codes = {name: names.index(name) for name in names}
        problems = generator.choice([0, 0, 0, codes["bad"], codes["worse"]], texts)
        split_codes = [codes[name] for name in SPLITS]
        findings.append(
            Findings(
                num_rows=20,
                # ends in zeros, as one identity in 256 does
                digests=np.stack([np.arange(16) * int(n) % 251 * (np.arange(16) < 15)
                                  for n in local + 1]).astype(np.uint8),
                hashes=local.astype(np.uint64),
                names=names,
                pictures=generator.integers(0, 12, texts).astype(np.int32),
                problems=problems.astype(np.int16),
                splits=generator.choice(split_codes, texts, p=[0.9, 0.05, 0.05]).astype(np.int16),
            )
        )  # fmt: skip
    return findings, ["captions"] * 5 + ["questions"] * 3


@pytest.mark.parametrize("seed", range(5))
def test_arrays_decide_as_a_loop_does(seed: int) -> None:
    findings, kinds = draw_findings(seed)
    decisions = decide(findings, kinds, CONFIG)
    seen: dict[bytes, str] = {}
    numbers: dict[tuple[str, str], dict[bytes, int]] = {}
    dropped: dict[str, dict[str, int]] = {"captions": {}, "questions": {}}
    for each, kind, decision in zip(findings, kinds, decisions.of_groups, strict=True):
        for text, picture in enumerate(each.pictures):
            identity = each.digests[picture].tobytes()
            split, problem = each.names[each.splits[text]], each.names[each.problems[text]]
            if not problem and seen.setdefault(identity, split) != split:
                problem = "image_of_another_split"
            if problem:
                dropped[kind][problem] = dropped[kind].get(problem, 0) + 1
                assert decision.images[text] == -1
                assert not decision.fresh[text]
                continue
            own = numbers.setdefault((kind, split), {})
            assert decision.fresh[text] == (identity not in own)
            assert decision.images[text] == own.setdefault(identity, len(own))
            assert decision.names[decision.splits[text]] == split
    assert {kind: report["dropped"] for kind, report in decisions.reports.items()} == dropped
    for (kind, split), own in numbers.items():
        assert decisions.reports[kind]["images_kept"][split] == len(own)
    assert all(found["image_of_another_split"] for found in dropped.values())


def test_leaks_are_pictures_in_two_splits() -> None:
    one, two, three = (np.full((1, 16), n, dtype=np.uint8) for n in (1, 2, 3))
    both = np.concatenate([one, two])
    assert count_leaks(["train", "train", "val"], [both, one, three]) == 0
    assert count_leaks(["train", "val", "test"], [both, np.concatenate([two, three]), one]) == 2
