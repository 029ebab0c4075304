from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_glass.training.evaluation.figures.sheets import (
    Answered,
    Retrieval,
    Retrieved,
    answers_sheet,
    retrieval_sheet,
)

GREEN, RED, BLUE = (46, 125, 50), (198, 40, 40), (0, 0, 255)


def blue(width: int = 40, height: int = 40) -> Image.Image:
    return Image.new("RGB", (width, height), "blue")


def drawn(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        assert not picture.info
        return np.asarray(picture.convert("RGB")).astype(int)


def count(pixels: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((pixels == colour).all(-1).sum())


def framed(right: bool) -> list[Retrieval]:
    result = Retrieved(content=blue(), score=0.5, right=right)
    return [Retrieval(query="a red car", results=[result], note="rank 3")]


def answered(right: bool, text: str = "How many dogs are there?") -> Answered:
    return Answered(image=blue(), question=text, answer="two", truth="three", right=right)


def test_right_and_wrong_have_their_frames(tmp_path: Path) -> None:
    for right, shown, other in ((True, GREEN, RED), (False, RED, GREEN)):
        retrieval_sheet(tmp_path / "r.png", framed(right), "Text to image")
        answers_sheet(tmp_path / "a.png", [answered(right)], "Answers")
        for pixels in (drawn(tmp_path / "r.png"), drawn(tmp_path / "a.png")):
            assert count(pixels, shown) > 1000
            assert count(pixels, other) == 0


def test_the_mark_tells_without_colour(tmp_path: Path) -> None:
    """In grey and with the frames' brightness taken out, the two still differ."""
    pictures = []
    for right, colour in ((True, GREEN), (False, RED)):
        retrieval_sheet(tmp_path / "r.png", framed(right), "Text to image")
        pixels = drawn(tmp_path / "r.png")
        pictures.append((pixels == colour).all(-1))
    assert (pictures[0] != pictures[1]).any()


def test_pictures_keep_their_aspect(tmp_path: Path) -> None:
    wide = Retrieved(content=blue(80, 20), score=0.5, right=True)
    retrieval_sheet(tmp_path / "r.png", [Retrieval(query=blue(10, 30), results=[wide])], "Wide")
    rows, columns = np.nonzero((drawn(tmp_path / "r.png") == BLUE).all(-1))
    left = columns < 150  # the query stands left of the rule
    assert np.ptp(columns[left]) + 1 == pytest.approx((np.ptp(rows[left]) + 1) / 3, abs=1)
    assert np.ptp(columns[~left]) + 1 == pytest.approx(4 * (np.ptp(rows[~left]) + 1), abs=4)


def test_transparent_pictures_and_captions_are_drawn(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (30, 30), (255, 0, 0, 0))
    results = [
        Retrieved(content=clear, score=0.4, right=False),
        Retrieved(content="a caption " * 50, score=0.3, right=True),
    ]
    retrieval_sheet(tmp_path / "r.png", [Retrieval(query="a " * 900, results=results)], "x" * 500)
    assert count(drawn(tmp_path / "r.png"), (255, 0, 0)) == 0


def test_long_texts_stay_in_their_cells(tmp_path: Path) -> None:
    answers_sheet(tmp_path / "short.png", [answered(False, "?"), answered(False)], "Answers")
    long = answered(False, "verylongwordwithoutanyspace" * 40)
    answers_sheet(tmp_path / "long.png", [long, answered(False)], "Answers")
    short, longer = drawn(tmp_path / "short.png"), drawn(tmp_path / "long.png")
    assert short.shape == longer.shape
    neighbour = slice(14 + 208 + 14, None)  # the second cell, which must not change
    np.testing.assert_array_equal(short[:, neighbour], longer[:, neighbour])


def test_notes_of_query_and_candidate_are_drawn(tmp_path: Path) -> None:
    for name, note, of_candidate in (("a", "", ""), ("b", "rank 3", ""), ("c", "", "rank 3")):
        found = [Retrieved(content=blue(), score=0.5, right=True, note=of_candidate)]
        retrieval_sheet(
            tmp_path / name, [Retrieval(query="a car", results=found, note=note)], "Notes"
        )
    pictures = {(tmp_path / name).read_bytes() for name in "abc"}
    assert len(pictures) == 3


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    for name in ("one.png", "new folder/two.png"):
        answers_sheet(tmp_path / name, [answered(place > 2) for place in range(6)], "Answers")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "new folder/two.png").read_bytes()


def test_nothing_to_draw_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"found no retrievals for r\.png"):
        retrieval_sheet(tmp_path / "r.png", [], "Text to image")
    with pytest.raises(ValueError, match=r"found no answers for a\.png"):
        answers_sheet(tmp_path / "a.png", [], "Answers")
