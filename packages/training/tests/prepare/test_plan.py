"""The plan made from arrays equals that of a loop over rows with dictionaries."""

from __future__ import annotations

import numpy as np
import pytest

from edge_glass.training.prepare.filters import PrepareConfig
from edge_glass.training.prepare.inspection import Inspection
from edge_glass.training.prepare.plan import make_plan

CONFIG = PrepareConfig(
    min_side=1,
    max_aspect=9,
    max_caption_length=9,
    shares={"train": 1.0},
    near_duplicate_distance=None,
)
SPLITS = ["train", "val", "test"]


def draw_inspections(seed: int) -> tuple[list[Inspection], list[str]]:
    """Row groups of both kinds that share images, each with names in its own order."""
    generator = np.random.default_rng(seed)
    results = []
    for _ in range(8):
        names = ("", *generator.permutation([*SPLITS, "bad", "worse"]).tolist())
        local = generator.choice(40, 12, replace=False)
        texts = 30
        codes = {name: names.index(name) for name in names}
        problems = generator.choice([0, 0, 0, codes["bad"], codes["worse"]], texts)
        split_codes = [codes[name] for name in SPLITS]
        results.append(
            Inspection(
                num_rows=20,
                # ends in zeros, as one identity in 256 does
                digests=np.stack([np.arange(16) * int(n) % 251 * (np.arange(16) < 15)
                                  for n in local + 1]).astype(np.uint8),
                hashes=local.astype(np.uint64),
                names=names,
                rows=np.arange(texts, dtype=np.int32),
                images=generator.integers(0, 12, texts).astype(np.int32),
                problems=problems.astype(np.int16),
                splits=generator.choice(split_codes, texts, p=[0.9, 0.05, 0.05]).astype(np.int16),
                captions=generator.integers(1, 60, texts).astype(np.uint64),
            )
        )  # fmt: skip
    return results, ["captions"] * 5 + ["questions"] * 3


@pytest.mark.parametrize("seed", range(5))
def test_the_plan_equals_that_of_a_loop(seed: int) -> None:
    results, kinds = draw_inspections(seed)
    plan = make_plan(results, kinds, CONFIG)
    seen: dict[bytes, str] = {}
    numbers: dict[tuple[str, str], dict[bytes, int]] = {}
    dropped: dict[str, dict[str, int]] = {"captions": {}, "questions": {}}
    images_of: dict[int, set[bytes]] = {}
    for result, kind, group in zip(results, kinds, plan.groups, strict=True):
        for text, image in enumerate(result.images):
            identity = result.digests[image].tobytes()
            split, problem = result.names[result.splits[text]], result.names[result.problems[text]]
            if not problem and seen.setdefault(identity, split) != split:
                problem = "image_of_another_split"
            if problem:
                dropped[kind][problem] = dropped[kind].get(problem, 0) + 1
                assert group.image_rows[text] == -1
                assert not group.first[text]
                continue
            if kind == "captions":
                images_of.setdefault(int(result.captions[text]), set()).add(identity)
            own = numbers.setdefault((kind, split), {})
            assert group.first[text] == (identity not in own)
            assert group.image_rows[text] == own.setdefault(identity, len(own))
            assert group.names[group.splits[text]] == split
    assert {kind: report["dropped"] for kind, report in plan.reports.items()} == dropped
    shared = sum(len(images) > 1 for images in images_of.values())
    assert plan.reports["captions"]["captions_of_several_images"] == shared > 0
    assert "captions_of_several_images" not in plan.reports["questions"]
    for (kind, split), own in numbers.items():
        assert plan.reports[kind]["images_kept"][split] == len(own)
    assert all(found["image_of_another_split"] for found in dropped.values())
