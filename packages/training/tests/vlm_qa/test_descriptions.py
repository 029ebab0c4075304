"""Captions as answers to instructions."""

from __future__ import annotations

import re
from collections import Counter

from edge_glass.fusion.describing import WORDINGS, describing_instruction
from edge_glass.training.vlm_qa.descriptions import describing_rows

ROWS = [
    {"image": number, "caption": " ".join(["word"] * (number % 60 + 1)), "transcripts": []}
    for number in range(1200)
]


def test_instructions_name_the_length_of_their_caption() -> None:
    made = describing_rows(ROWS, seed=0)
    assert [(row["image"], row["answer"]) for row in made] == [
        (row["image"], row["caption"]) for row in ROWS
    ]
    lengths = [re.search(r"\d+", row["question"]) for row in made]
    # 1,200 draws at 0.9: within five standard deviations (10) of 1,080
    assert abs(sum(found is not None for found in lengths) - 1080) < 52
    for row, found in zip(made, lengths, strict=True):
        if found is not None:
            true = len(row["answer"].split())
            # noise of four standard deviations, and rounding to multiples of 5
            assert abs(int(found[0]) - true) <= 0.4 * true + 2.5
    starts = Counter(row["question"].split(" in about")[0].split(" of about")[0] for row in made)
    assert len(starts) >= len(WORDINGS)


def test_wording_and_length_are_functions_of_seed_and_row() -> None:
    questions = [row["question"] for row in describing_rows(ROWS, seed=0)]
    assert questions == [row["question"] for row in describing_rows(ROWS, seed=0)]
    assert questions != [row["question"] for row in describing_rows(ROWS, seed=1)]


def test_a_wanted_length_is_rounded() -> None:
    asked = [describing_instruction(words) for words in (0, 3, 11, 13, 40)]
    found = [re.findall(r"\d+", text) for text in asked]
    assert found == [["1"], ["3"], ["10"], ["15"], ["40"]]
    assert describing_instruction() == "Describe this image."
