from __future__ import annotations

import pytest
import torch

from edge_glass.decoders.masks import additive, check_mask, may_attend, rotary_positions


def rows(text: str) -> torch.Tensor:
    """'110 111' -> [[[True, True, False], [True, True, True]]]."""
    return torch.tensor([[[c == "1" for c in row] for row in text.split()]])


def allowed(
    mask: torch.Tensor, prefix_length: int = 0, positions: torch.Tensor | None = None
) -> torch.Tensor:
    queries = mask.shape[-1] if positions is None else positions.shape[1]
    positions = rotary_positions(mask, positions, mask.shape[0], queries)
    return may_attend(mask, positions, prefix_length)


@pytest.mark.parametrize(
    ("mask", "prefix_length", "expected"),
    [
        ([1, 1, 1], 0, "100 110 111"),
        ([0, 1, 1], 0, "100 010 011"),  # a padding row sees itself only, nobody sees it
        ([1, 1, 0], 0, "100 110 111"),
        ([1, 1, 1, 1], 2, "1100 1100 1110 1111"),
        ([1, 1, 0, 1], 2, "1100 1100 1110 1101"),  # padding between prefix and prompt
        ([0, 1, 1, 1], 2, "1110 0110 0110 0111"),  # prefix found behind padding on the left
    ],
)
def test_two_dimensional_mask(mask: list[int], prefix_length: int, expected: str) -> None:
    assert torch.equal(allowed(torch.tensor([mask]), prefix_length), rows(expected))


def test_packed_questions_see_the_prefix_and_themselves() -> None:
    packing = rows("11111 11111 11100 11011 11011")  # prefix 0-1, first question 2, second 3-4
    positions = torch.tensor([[0, 1, 2, 2, 3]])
    expected = rows("11000 11000 11100 11010 11011")
    assert torch.equal(allowed(packing, 2, positions), expected)


def test_cached_positions_come_before_the_new_ones() -> None:
    mask = torch.tensor([[1, 0, 1, 1]])
    positions = rotary_positions(mask, None, 1, 2)
    assert positions.tolist() == [[1, 2]]
    assert torch.equal(may_attend(mask, positions), rows("1010 1011"))


@pytest.mark.parametrize(
    ("mask", "expected"), [([0, 0, 1, 1], [0, 0, 0, 1]), ([1, 1, 0, 1], [0, 1, 1, 2])]
)
def test_positions_count_the_kept_columns(mask: list[int], expected: list[int]) -> None:
    assert rotary_positions(torch.tensor([mask]), None, 1, 4).tolist() == [expected]


def test_additive_mask_is_zero_or_the_lowest_number() -> None:
    bias = additive(rows("10 11"), torch.bfloat16)
    lowest = torch.finfo(torch.bfloat16).min
    assert bias.shape == (1, 1, 2, 2)
    assert bias.flatten().tolist() == [0.0, lowest, 0.0, 0.0]


def test_errors_name_found_and_expected() -> None:
    with pytest.raises(ValueError, match=r"shape \(2, 4\), expected \(2, 5\) or \(2, 3, 5\)"):
        check_mask(torch.ones(2, 4), batch=2, queries=3, cached=2)
    with pytest.raises(ValueError, match="needs position_ids"):
        rotary_positions(torch.ones(1, 2, 2), None, 1, 2)
    with pytest.raises(ValueError, match=r"position_ids has shape \(1, 3\), expected \(1, 2\)"):
        rotary_positions(torch.ones(1, 2), torch.zeros(1, 3, dtype=torch.long), 1, 2)
