"""Points in answers, as the data and as models write them."""

from __future__ import annotations

import pytest

from edge_glass.decoders.tokenizer import word_tokenizer
from edge_glass.fusion.points import find_points, without_points

ONE = '<point x="10.0" y="20.5" alt="a &quot;red&quot; cup">a &quot;red&quot; cup</point>'
TWO = '<points x1="10.0" y1="20.5" x2="30.1" y2="5" alt="cups">cups</points>'


def test_points_and_their_labels() -> None:
    (one,) = find_points(ONE)
    assert (one.label, one.points) == ('a "red" cup', ((10.0, 20.5),))
    (two,) = find_points(f"Here: {TWO}.")
    assert (two.label, two.points) == ("cups", ((10.0, 20.5), (30.1, 5.0)))
    assert [each.label for each in find_points(ONE + TWO)] == ['a "red" cup', "cups"]
    assert without_points(f"Here: {TWO}, {ONE}.") == 'Here: cups (2 points), a "red" cup (1 point).'


def test_a_decoder_of_whole_words_writes_spaces() -> None:
    tokenizer = word_tokenizer([TWO], 60)
    written = tokenizer.decode(tokenizer(TWO)["input_ids"])
    assert written != TWO
    assert find_points(str(written)) == find_points(TWO)


@pytest.mark.parametrize(
    ("answer", "points"),
    [
        ("There are none.", []),
        ("", []),
        ("x < y > z", []),
        ('<points x1="10" y1="20" x2="30', [(10.0, 20.0)]),  # the limit of tokens
        ('<points x1="10" y1="20" x2="30" alt="a">', [(10.0, 20.0)]),  # y2 is missing
        ('<point x="101" y="20">', []),
        ('<point x="-1" y="20">', []),
        ('<point y="1" x="2"/>', [(2.0, 1.0)]),
        ('<point x="one" y="2">', []),
    ],
)
def test_answers_that_are_not_complete(answer: str, points: list[tuple[float, float]]) -> None:
    assert [point for each in find_points(answer) for point in each.points] == points
    assert isinstance(without_points(answer), str)


def test_a_coordinate_needs_a_digit_on_one_side_of_its_point_only() -> None:
    (found,) = find_points('<point x=".5" y="7." alt="cup">cup</point>')
    assert found.points == ((0.5, 7.0),)
    assert find_points('<point x="." y="7">cup</point>') == []
