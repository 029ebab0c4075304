from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_glass.fusion.sheets.contact_sheet import (
    MARK,
    FoundImage,
    is_sheet,
    save_sheet,
    search_sheet,
)

BLUE = (0, 0, 255)


def found(number: int = 1, name: str = "car.png") -> list[FoundImage]:
    image = Image.new("RGB", (80, 20), "blue")
    return [FoundImage(image=image, name=name, score=0.5)] * number


def drawn(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.info == dict([MARK])  # no time
        return np.asarray(image.convert("RGB")).astype(int)


def test_images_keep_their_aspect_and_stand_in_rows_of_five(tmp_path: Path) -> None:
    search_sheet(tmp_path / "one.png", "a blue car", found())
    rows, columns = np.nonzero((drawn(tmp_path / "one.png") == BLUE).all(-1))
    # the thin frame covers a pixel at either side
    assert np.ptp(columns) + 3 == pytest.approx(4 * (np.ptp(rows) + 1), abs=4)
    search_sheet(tmp_path / "five.png", "a blue car", found(5))
    search_sheet(tmp_path / "six.png", "a blue car", found(6))
    five, six = drawn(tmp_path / "five.png"), drawn(tmp_path / "six.png")
    assert five.shape[1] == six.shape[1]
    assert five.shape[0] < six.shape[0]
    np.testing.assert_array_equal(five[:300], six[:300])


def test_query_name_and_score_are_drawn(tmp_path: Path) -> None:
    search_sheet(tmp_path / "a.png", "a car", found(), note="of 9")
    for place, (query, shown, note) in enumerate(
        [("a dog", found(), "of 9"), ("a car", found(name="b.png"), "of 9"), ("a car", found(), "")]
    ):
        path = tmp_path / f"{place}.png"
        search_sheet(path, query, shown, note=note)
        assert (drawn(path) != drawn(tmp_path / "a.png")).any()


def test_an_image_as_query_is_shown(tmp_path: Path) -> None:
    search_sheet(tmp_path / "a.png", Image.new("RGB", (9, 9), "red"), found())
    assert ((drawn(tmp_path / "a.png") == (255, 0, 0)).all(-1)).sum() > 1000


def test_long_names_and_queries_stay_inside(tmp_path: Path) -> None:
    long = found(2, "x" * 500 + " " + "y " * 300)
    search_sheet(tmp_path / "a.png", "word " * 400, long, note="z" * 900)
    search_sheet(tmp_path / "b.png", "word", found(2))
    assert drawn(tmp_path / "a.png").shape == drawn(tmp_path / "b.png").shape


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    for name in ("one.png", "new folder/two.png"):
        search_sheet(tmp_path / name, "a car", found(7))
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "new folder/two.png").read_bytes()


def test_nothing_to_draw_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no images for r\.png"):
        search_sheet(tmp_path / "r.png", "a car", [])


def test_a_sheet_that_may_lie_among_images_is_known_as_one(tmp_path: Path) -> None:
    search_sheet(tmp_path / "marked.png", "a car", found())
    save_sheet(Image.new("RGB", (9, 9)), tmp_path / "plain.png")
    assert is_sheet((tmp_path / "marked.png").read_bytes())
    assert not is_sheet((tmp_path / "plain.png").read_bytes())


def test_an_image_that_is_gone_leaves_its_place_empty(tmp_path: Path) -> None:
    search_sheet(tmp_path / "a.png", "a car", [FoundImage(image=None, name="gone.png", score=0.5)])
    assert not (drawn(tmp_path / "a.png") == BLUE).all(-1).any()
